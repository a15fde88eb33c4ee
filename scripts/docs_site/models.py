"""The page of the models: the types that the tests prove, and those that are refused, each with its reason."""

from __future__ import annotations

import ast
from pathlib import Path

from mixtext_hf.models import REFUSED_MODEL_TYPES, TESTED_MODEL_TYPES
from mixtext_hf.models.cls_attention import ATTENDING_MODEL_TYPES

from .markdown import block, bullets, listed, page, paragraph, table


TESTS = Path(__file__).resolve().parents[2] / "tests"


def tested() -> dict[str, list[str]]:
    """The types of `TESTED_MODEL_TYPES`, as the tests part them."""
    encoders, decoders = _tuple("tiny.py", "FAMILIES"), _tuple("tiny.py", "DECODERS")
    return {
        "encoders": sorted(encoders),
        "decoders": sorted(decoders),
        "images": sorted(TESTED_MODEL_TYPES - {*encoders, *decoders}),
        "tokens": sorted(_tuple("models/test_tokens.py", "FAMILIES")),
    }


def _tuple(file: str, name: str) -> tuple[str, ...]:
    """The tuple of that name in a file of the tests."""
    for node in ast.parse((TESTS / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            found: tuple[str, ...] = ast.literal_eval(node.value)
            return found
    raise ValueError(f"tests/{file} has no tuple {name}")


def pages() -> dict[str, str]:
    """The page, by its name below `docs/`."""
    types = tested()
    return {
        "models.md": page(
            "# Models",
            paragraph(
                "Which models of transformers can be trained, and by which methods. The names below are values of `config.model_type`; "
                "`roberta` stands for every checkpoint of that type. To see whether a model can be mixed inside, load it:"
            ),
            block(
                "python",
                "from mixtext_hf import MixableModelForSequenceClassification\n\n"
                'model = MixableModelForSequenceClassification.from_pretrained("bert-base-uncased", num_labels=4)\n'
                "print(type(model).__name__, model.mixer.depth)  # a ValueError says why, where it cannot be mixed",
            ),
            paragraph(
                "There are two kinds of methods. Those that mix hidden states (`tmix`, `manifold_mixup`, `mixtext` and others) need a model whose "
                "layers can be mixed: the types on this page, and others that pass the probe. Those that mix inputs or nothing need none of that: "
                "see [Without layers](#without-layers). Which is which stands on the page of each [method](methods/index.md)."
            ),
            "## Text encoders",
            _names(types["encoders"]),
            paragraph(
                "Tested at every layer against two streams written out, with the attentions eager and sdpa where they have both, and with "
                "activation checkpointing on and off where they have it. The logits of a text do not change with the amount of padding in its "
                "batch, but for models that see padding even unmixed: `fnet` (it has no mask), `mobilebert` (it reads trigrams) and `convbert` "
                "(it convolves)."
            ),
            "## Decoders",
            _names(types["decoders"]),
            paragraph(
                "Tested likewise, causal and bidirectional (`config.is_causal=False`). Their head reads the last token that is no padding, so two "
                "texts can be mixed only where both end at the same place: padded on the left. `MixTrainer` and the commands see to that. "
                "[Decoders](guides/decoders.md) says how, and what was not tried."
            ),
            paragraph(
                "Other decoders have to pass the probe. It refuses those that count the padding as positions (GPT-2 and its relatives), that know "
                "it by more than a mask (BLOOM) or hand positions from layer to layer (OPT). `erm` and `ssmix` train these too."
            ),
            "## Taggers of words",
            _names(types["tokens"]),
            paragraph(
                "As `...ForTokenClassification`, tested at every layer: see [Tags for words](guides/tokens.md)."
            ),
            "## Image classifiers",
            _names(types["images"]),
            paragraph(
                "Tested at every layer or stage; layer 0 is the output of the stem or of the patch embedding. Methods that mix pixels take "
                "others too, see [Without layers](#without-layers)."
            ),
            paragraph(
                "[`transmix`](methods/transmix.md), and [`maskmix`](methods/maskmix.md) with `area_share` below 1, weigh labels by what [CLS] "
                f"attends to. They train {listed([f'`{one}`' for one in ATTENDING_MODEL_TYPES])}."
            ),
            "## Sentence encoders",
            paragraph(
                "A checkpoint of sentence-transformers is a `--model_name_or_path` like any other and trains as an ordinary "
                "`...ForSequenceClassification`: see [Sentence encoders](guides/sentence_encoders.md)."
            ),
            "## Refused by name",
            table(
                ("type", "why its hidden states are not mixed"),
                [(f"`{one}`", why) for one, why in REFUSED_MODEL_TYPES.items()],
            ),
            paragraph(
                "Encoder-decoders (T5, BART) are refused as well: the decoder reads the tokens of the text once more, and states that were mixed in "
                "the encoder would meet the unmixed text there."
            ),
            "## The probe",
            paragraph(
                "A type that stands nowhere above is asked itself, when `make_mixable` or `from_pretrained` installs the hooks. On a tiny batch, "
                "without gradient and at every layer, two things must hold:"
            ),
            bullets(
                [
                    "with λ = 1 nothing changes;",
                    "with λ = 0 every row becomes its partner.",
                ]
            ),
            paragraph(
                "A model that fails is left as it was, and a `ValueError` says what was not so and what can be done instead."
            ),
            "## Without layers",
            bullets(
                [
                    "`erm` trains any classifier of transformers, and `ssmix` any text classifier that reads ids of tokens.",
                    "`mixup`, `cutmix`, `mixup_cutmix`, `resizemix`, `maskmix`, `puzzlemix` and `augmix` train any image classifier that returns "
                    "logits, such as CvT, PoolFormer and PVT.",
                    "Models of timm load as `TimmWrapperForImageClassification`, with the extra `mixtext-hf[timm]`: see "
                    "[timm](coming_from/timm.md).",
                    "SigLIP 2 in patches (NaFlex) and ImageGPT train by `erm` alone, on rows that their processor has made.",
                    "`mixtext-hf evaluate` and `predict` take any text or image classifier.",
                ]
            ),
            paragraph("In Python such a model is loaded without hooks, by its class of transformers or by:"),
            block(
                "python",
                "from mixtext_hf import MixableModelForImageClassification\n\n"
                'plain = MixableModelForImageClassification.without_hooks("microsoft/resnet-50")',
            ),
        )
    }


def _names(types: list[str]) -> str:
    return paragraph(", ".join(f"`{one}`" for one in types) + ".")
