#!/usr/bin/env bash
# Trains the model of this card. Run it in an empty folder with hurricane/train.parquet, hurricane/validation.parquet and hurricane/test.parquet (columns text, label, back_translation_de, back_translation_ru).
set -euo pipefail
cards=$(cd "$(dirname "$0")/.." && pwd)
[ -f hurricane-erm/run.json ] || bash "$cards/hurricane-erm/reproduce.sh"
mixtext-hf train-text --train_file hurricane/train.parquet \
  --validation_file hurricane/validation.parquet --test_file hurricane/test.parquet \
  --model_name_or_path minilm --labeled_per_class 10 --max_seq_length 64 --mix_method uda \
  --view_columns back_translation_de back_translation_ru \
  --guesser model \
  --mix_kwargs '{"temperature": 1, "ramp_steps": 0, "align": "off"}' --per_device_train_batch_size 4 --max_steps 1000 \
  --learning_rate 3e-5 --head_learning_rate 1e-3 --logging_steps 50 --save_strategy no --use_cpu True \
  --bf16 True --do_train --do_eval --do_predict --card_language en --seed 0 --baseline_dir hurricane-erm \
  --output_dir hurricane-uda
