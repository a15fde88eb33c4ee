#!/usr/bin/env bash
# What saliency gives in texts, by mixtext-hf compare; each line of work resumes where it stopped, and its runs.csv goes to docs/results.
#
#   scripts/saliency_study.sh choice  DATA OUTPUT SET   settings of puzzle_tmix on rows of train that are held out (ag_news, trec)
#   scripts/saliency_study.sh compare DATA OUTPUT SET [LABELS]   the methods at equal steps and at equal cost, on rows that no choice has seen
#     (ag_news, trec, sst2, hurricane; mrpc and rte, pairs, on validation), with 10 labels of each class; ag_news also 50 and 200, mrpc and rte 200
#   scripts/saliency_study.sh guesses DATA OUTPUT ag_news        mixtext with each mixing it can have, 10 labels and 1,000 unlabelled texts a class
#
# DATA is a folder with the data sets: ag_news/{train,test}.parquet and so on, {sst2,mrpc,rte} or glue_{sst2,mrpc,rte}.
set -euo pipefail

part=$1 data=$2 output=$3 set=$4 labels=${5:-10}
folder=$data/$set
[[ -d $folder ]] || folder=$data/glue_$set
common=(--labeled_per_class "$labels" --model_name_or_path minilm --max_seq_length 64 --per_device_train_batch_size 8
  --per_device_eval_batch_size 64 --learning_rate 5e-5 --use_cpu True --bf16 True --max_predict_samples 1000)

choice() {
  mkdir -p "$output"
  python "$(dirname "$0")/hold_out.py" "$folder/train.parquet" "$output/$set-rest.parquet" "$output/$set-held-out.parquet"
  # PuzzleMix's own seam and prior, and what is changed of them.
  mixtext-hf compare text --seeds 0 1 2 --max_steps 80 "${common[@]}" --output_dir "$output/choice-$set" \
    --train_file "$output/$set-rest.parquet" --test_file "$output/$set-held-out.parquet" \
    --methods erm tmix tmix_clean=tmix ssmix random_spans=ssmix as_puzzlemix=puzzle_tmix saliency_weight=puzzle_tmix \
    beta_0=puzzle_tmix beta_0.3=puzzle_tmix eta_0=puzzle_tmix eta_1=puzzle_tmix calm=puzzle_tmix random=puzzle_tmix \
    two_levels=puzzle_tmix five_levels=puzzle_tmix gamma_0.5=puzzle_tmix moved=puzzle_tmix own_special=puzzle_tmix \
    alpha_0.2=puzzle_tmix layer_0=puzzle_tmix layer_2=puzzle_tmix layer_3=puzzle_tmix layer_5=puzzle_tmix \
    --method_arguments "$(python - <<'PYTHON'
import json

own = {"beta": 0.075, "eta": 0.2}
changed = {
    "as_puzzlemix": {}, "saliency_weight": {"label_weight": "saliency"}, "beta_0": {"beta": 0.0}, "beta_0.3": {"beta": 0.3},
    "eta_0": {"eta": 0.0}, "eta_1": {"eta": 1.0}, "calm": {"beta": 0.3, "eta": 1.0}, "random": {"saliency": "random"},
    "two_levels": {"n_labels": 2}, "five_levels": {"n_labels": 5}, "gamma_0.5": {"gamma": 0.5}, "moved": {"xi": 0.1},
    "own_special": {"special": "own"}, "alpha_0.2": {}, "layer_0": {}, "layer_2": {}, "layer_3": {}, "layer_5": {},
}
told = {name: {"mix_kwargs": {**own, **settings}} for name, settings in changed.items()}
told["alpha_0.2"]["mix_alpha"] = 0.2
for layer in (0, 2, 3, 5):
    told[f"layer_{layer}"]["mix_layers"] = [layer]
told["tmix_clean"] = {"mix_kwargs": {"clean_lam": 1.0}}
told["random_spans"] = {"mix_kwargs": {"saliency": "random"}}
print(json.dumps(told))
PYTHON
)"
}

# Steps, and seeds.
declare -A steps=([ag_news-10]=80 [ag_news-50]=160 [ag_news-200]=320 [trec-10]=200 [sst2-10]=80 [hurricane-10]=160 [mrpc-200]=200 [rte-200]=200)
declare -A seeds=([ag_news-10]="0 1 2 3 4" [trec-10]="0 1 2 3 4" [sst2-10]="0 1 2 3 4")

compare() {
  local setting=$set-$labels rows=test
  case $set in
    mrpc | rte) rows=validation common+=(--max_seq_length 128) ;;
  esac
  # A step of ssmix, puzzle_tmix and tmix_clean costs two: those that are called longer take twice the steps.
  # shellcheck disable=SC2086
  mixtext-hf compare text --seeds ${seeds[$setting]:-0 1 2} --max_steps "${steps[$setting]}" "${common[@]}" --output_dir "$output/compare-$setting" \
    --train_file "$folder/train.parquet" --test_file "$folder/$rows.parquet" \
    --methods erm erm_longer=erm embed_mixup tmix tmix_longer=tmix tmix_clean=tmix ssmix puzzle_tmix \
    --step_costs '{"erm_longer": 0.5, "tmix_longer": 0.5}' --method_arguments '{"tmix_clean": {"mix_kwargs": {"clean_lam": 1.0}}}'
}

guesses() {
  # A step of ssmix and puzzle_tmix costs two: longer takes twice the steps.
  mixtext-hf compare text --seeds 0 1 2 --max_steps 120 "${common[@]}" --output_dir "$output/guesses-$set" \
    --train_file "$folder/train.parquet" --test_file "$folder/test.parquet" \
    --methods mixtext mixtext_longer=mixtext with_embed_mixup=mixtext with_ssmix=mixtext with_puzzle_tmix=mixtext --unlabeled_per_class 1000 \
    --per_device_unlabeled_batch_size 12 --step_costs '{"mixtext_longer": 0.5}' --method_arguments '{
      "with_embed_mixup": {"mix_kwargs": {"mix_with": "embed_mixup"}}, "with_ssmix": {"mix_kwargs": {"mix_with": "ssmix"}},
      "with_puzzle_tmix": {"mix_alpha": 0.2, "mix_kwargs": {"mix_with": "puzzle_tmix"}}}'
}

"$part"
