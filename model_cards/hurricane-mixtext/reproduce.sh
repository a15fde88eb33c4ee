#!/usr/bin/env bash
# Trains the model of this card. Run it in an empty folder with hurricane/train.parquet, hurricane/validation.parquet and hurricane/test.parquet (columns text, label).
set -euo pipefail
cards=$(cd "$(dirname "$0")/.." && pwd)
[ -f hurricane-erm/run.json ] || bash "$cards/hurricane-erm/reproduce.sh"
mixtext-hf train-text --train_file hurricane/train.parquet \
  --validation_file hurricane/validation.parquet --test_file hurricane/test.parquet \
  --model_name_or_path minilm --labeled_per_class 10 --max_seq_length 64 --mix_method mixtext \
  --per_device_train_batch_size 4 --per_device_unlabeled_batch_size 12 --max_steps 300 --learning_rate 5e-5 \
  --per_device_eval_batch_size 64 \
  --logging_steps 50 --save_strategy no --use_cpu True --bf16 True --do_train --do_eval --do_predict \
  --card_language en --seed 0 --baseline_dir hurricane-erm --output_dir hurricane-mixtext
