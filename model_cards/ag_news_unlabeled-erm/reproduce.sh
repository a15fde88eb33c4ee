#!/usr/bin/env bash
# Trains the model of this card. Run it in an empty folder with ag_news/train.parquet and ag_news/test.parquet (columns text, label).
set -euo pipefail
mixtext-hf train-text --train_file ag_news/train.parquet --test_file ag_news/test.parquet \
  --model_name_or_path minilm --labeled_per_class 10 --max_seq_length 64 --mix_method erm \
  --per_device_train_batch_size 4 --max_steps 400 --learning_rate 5e-5 \
  --head_learning_rate 1e-3 --per_device_eval_batch_size 64 \
  --logging_steps 50 --save_strategy no --use_cpu True --bf16 True --do_train --do_predict \
  --card_language en --seed 0 --output_dir ag_news_unlabeled-erm
