#!/usr/bin/env bash
# Trains the model of this card. Run it in an empty folder with cifar10/train.parquet and cifar10/test.parquet (columns img, label).
set -euo pipefail
cards=$(cd "$(dirname "$0")/.." && pwd)
[ -f cifar10-erm/run.json ] || bash "$cards/cifar10-erm/reproduce.sh"
mixtext-hf train-image --train_file cifar10/train.parquet --test_file cifar10/test.parquet \
  --model_name_or_path small-resnet --labeled_per_class 200 --image_augmentations flip crop:4 \
  --mix_method puzzlemix --per_device_train_batch_size 64 --num_train_epochs 15 --learning_rate 2e-3 \
  --lr_scheduler_type cosine --logging_steps 50 --metrics accuracy top_2_accuracy nll ece \
  --fgsm_epsilon 2 --save_strategy no --use_cpu True --do_train --do_predict --seed 0 \
  --baseline_dir cifar10-erm --output_dir cifar10-puzzlemix
