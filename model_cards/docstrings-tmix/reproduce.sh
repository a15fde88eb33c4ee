#!/usr/bin/env bash
# Trains the model of this card. Run it in an empty folder; it needs no data.
set -euo pipefail
cards=$(cd "$(dirname "$0")/.." && pwd)
[ -f docstrings-erm/run.json ] || bash "$cards/docstrings-erm/reproduce.sh"
mixtext-hf train-text --mix_method tmix --card_language en --seed 0 \
  --baseline_dir docstrings-erm --output_dir docstrings-tmix
