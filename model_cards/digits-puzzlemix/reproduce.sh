#!/usr/bin/env bash
# Trains the model of this card. Run it in an empty folder; it needs no data.
set -euo pipefail
cards=$(cd "$(dirname "$0")/.." && pwd)
[ -f digits-erm/run.json ] || bash "$cards/digits-erm/reproduce.sh"
mixtext-hf train-image --mix_method puzzlemix --seed 0 --baseline_dir digits-erm \
  --output_dir digits-puzzlemix
