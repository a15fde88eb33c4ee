"""What a reader copies of the page of a method: a run, a comparison, and the same in Python."""

from __future__ import annotations

from dataclasses import fields

from mixtext_hf.methods import MixMethod

from .markdown import block, page, paragraph


_TEXT = "--model_name_or_path bert-base-uncased"
_IMAGES = "--train_file train.parquet --test_file test.parquet"
_TRAIN = {
    "texts": "mixtext-hf train-text --train_file train.csv --validation_file dev.csv --labeled_per_class 10 \\\n"
    f"  {_TEXT} --mix_method NAME --max_steps 200 \\\n"
    "  --do_train --do_eval --output_dir out",
    "unlabelled": "mixtext-hf train-text --train_file labelled.csv --unlabeled_file texts.csv --validation_file dev.csv \\\n"
    f"  {_TEXT} --mix_method NAMEMORE --max_steps 400 \\\n"
    "  --do_train --do_eval --output_dir out",
    "tokens": "mixtext-hf train-text --task ner --train_file train.conll --validation_file dev.conll \\\n"
    "  --labeled_sentences 50 --model_name_or_path bert-base-cased --mix_method NAME \\\n"
    "  --do_train --do_eval --output_dir out",
    "images": "mixtext-hf train-image --train_file train.parquet --validation_file dev.parquet \\\n"
    "  --model_name_or_path google/vit-base-patch16-224 --ignore_mismatched_sizes --mix_method NAME \\\n"
    "  --image_augmentations flip crop:16 --num_train_epochs 20 \\\n"
    "  --do_train --do_eval --output_dir out",
}
_COMPARE = {
    "texts": "mixtext-hf compare text --methods METHODS --seeds 0 1 2 --labeled_per_class 10 \\\n"
    f"  --train_file train.csv --test_file test.csv {_TEXT} \\\n"
    "  --max_steps 200 --output_dir comparison",
    "unlabelled": "mixtext-hf compare text --methods erm frozen_gaussian METHODS --seeds 0 1 2 \\\n"
    f"  --train_file labelled.csv --unlabeled_file texts.csv --test_file test.csv \\\n  {_TEXT} --max_steps 400 --output_dir comparison",
    "tokens": "for method in erm NAME; do\n"
    "  mixtext-hf train-text --task ner --train_file train.conll --test_file test.conll \\\n"
    "    --labeled_sentences 50 --model_name_or_path bert-base-cased --mix_method $method --seed 0 \\\n"
    "    --do_train --do_predict --output_dir comparison/$method-0\n"
    "done",
    "images": f"mixtext-hf compare image --methods METHODS --seeds 0 1 2 \\\n  {_IMAGES} --model_name_or_path NETWORK \\\n"
    "  --image_augmentations flip crop:4 --num_train_epochs 60 --output_dir comparison",
}
_BEFORE_COMPARING = {
    "tokens": "Compared with plain training on the same sentences (`mixtext-hf compare` is for whole texts and images):",
    "unlabelled": "Compared with plain training, and with the guesser alone:",
}


def blocks_of(method: type[MixMethod], kind: str) -> list[str]:
    """The parts of the page, Markdown."""
    name = method.name
    train, compare = _filled(_TRAIN[kind], method), _filled(_COMPARE[kind], method)
    before = _BEFORE_COMPARING.get(kind, "Compared with plain training, over several seeds:")
    if not method.mixes and kind == "texts":
        before = "As the baseline of a comparison, over several seeds:"
    return [
        block("bash", train),
        paragraph(before),
        block("bash", compare),
        page("In Python:", block("python", _python(method))) if name != "erm" else "",
    ]


def _filled(template: str, method: type[MixMethod]) -> str:
    others = "erm tmix" if method.name == "erm" else method.name if method.uses_unlabeled else f"erm {method.name}"
    # Attention and whole patches are of vision transformers.
    network = "small-vit" if "area_share" in method.field_names() else "small-resnet"
    # What nothing is mixed of learns from other wordings.
    more = "" if method.mixes else " --augmenters word_dropout span_swap"
    for word, value in (
        ("METHODS", others),
        ("NETWORK", network),
        ("NAMEMORE", f"{method.name}{more}"),
        ("NAME", method.name),
    ):
        template = template.replace(word, value)
    return template


def _python(method: type[MixMethod]) -> str:
    """The method by its name, and as an object, with a hyper-parameter of its own."""
    common = {one.name for one in fields(MixMethod)}
    own = [one for one in fields(method) if one.name not in common and isinstance(one.default, float)]
    if own:
        name, value = own[0].name, own[0].default
        by_name, by_object = f'mix_kwargs={{"{name}": {value}}}', f"{name}={value}"
    else:
        value = method().alpha
        by_name, by_object = f"mix_alpha={value}", f"alpha={value}"
    return (
        f"from mixtext_hf import MixTrainingArguments, {method.__name__}\n\n"
        f'args = MixTrainingArguments("out-python", mix_method="{method.name}", {by_name})\n'
        f"method = {method.__name__}({by_object})  # or an object, for MixTrainer(method=method)"
    )
