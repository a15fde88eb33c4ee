#!/usr/bin/env bash
# Trains the model of this card. Run it in an empty folder; it needs no data.
set -euo pipefail
mixtext-hf train-text --mix_method erm --card_language en --seed 0 \
  --output_dir docstrings-erm
