#!/usr/bin/env bash
# Trains the model of this card. Run it in an empty folder with fashion_mnist/train.parquet and fashion_mnist/test.parquet (columns image, label).
set -euo pipefail
cards=$(cd "$(dirname "$0")/.." && pwd)
[ -f fashion_mnist-erm/run.json ] || bash "$cards/fashion_mnist-erm/reproduce.sh"
mixtext-hf train-image --train_file fashion_mnist/train.parquet --test_file fashion_mnist/test.parquet \
  --model_name_or_path small-resnet --labeled_per_class 50 --image_size 32 \
  --image_augmentations flip crop:2 --mix_method puzzlemix --per_device_train_batch_size 50 \
  --num_train_epochs 60 --learning_rate 2e-3 --lr_scheduler_type cosine --logging_steps 50 \
  --metrics accuracy top_2_accuracy nll ece --fgsm_epsilon 8 --save_strategy no --use_cpu True \
  --do_train --do_predict --seed 0 --baseline_dir fashion_mnist-erm --output_dir fashion_mnist-puzzlemix
