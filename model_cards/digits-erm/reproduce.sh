#!/usr/bin/env bash
# Trains the model of this card. Run it in an empty folder; it needs no data.
set -euo pipefail
mixtext-hf train-image --mix_method erm --seed 0 --output_dir digits-erm
