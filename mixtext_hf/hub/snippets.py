"""Lines of Python in a card: they load the model and classify something, or go on training it."""

from __future__ import annotations

from dataclasses import fields

from mixtext_hf._markdown import one_line
from mixtext_hf.methods import METHODS, MixMethod
from mixtext_hf.problem_types import REGRESSION

from .facts import CardData
from .ids import is_hub_id, shown_name


def loading_lines(data: CardData) -> str:
    """Lines that load the model with plain transformers (and PEFT) and classify something."""
    name = _quoted(data.repo_id or data.model_name)
    if data.modality == "image":
        auto, processor, task = "AutoModelForImageClassification", "AutoImageProcessor", "image-classification"
        options = list[str]()
    elif data.labels_tokens:
        auto, processor, task = "AutoModelForTokenClassification", "AutoTokenizer", "token-classification"
        # A pipeline of tokens has no argument for where to cut.
        options = ['aggregation_strategy="simple"']
    else:
        auto, processor, task = "AutoModelForSequenceClassification", "AutoTokenizer", "text-classification"
        options = [*([] if data.problem_type == REGRESSION else ["top_k=None"]), *_cut(data)]
    call = f"print(classifier({', '.join([_example(data), *options])}))"
    if not data.is_adapter:
        return f'from transformers import pipeline\n\nclassifier = pipeline("{task}", {name})\n{call}'
    given = "image_processor" if data.modality == "image" else "tokenizer"
    return "\n".join(
        [
            "from peft import PeftModel",
            f"from transformers import AutoConfig, {auto}, {processor}, pipeline",
            "",
            f"config = AutoConfig.from_pretrained({name})",
            f"base = {auto}.from_pretrained({_quoted(_base_path(data))}, config=config)",
            f"model = PeftModel.from_pretrained(base, {name})",
            f'classifier = pipeline("{task}", model=model, {given}={processor}.from_pretrained({name}))',
            call,
        ]
    )


def tempered_lines(data: CardData) -> str:
    """Lines that, behind [`loading_lines`], give the probabilities at the temperature of the model's config."""
    # A pipeline of images gives five classes unless it is told otherwise.
    options = ["top_k=classifier.model.config.num_labels"] if data.modality == "image" else ["top_k=None", *_cut(data)]
    call = ", ".join([_example(data), 'function_to_apply="none"', *options])
    return "\n".join(
        [
            "import torch",
            "",
            f"found = classifier({call})",
            'temperature = classifier.model.config.mixtext["temperature"]',
            'logits = torch.tensor([one["score"] for one in found])',
            "probabilities = torch.softmax(logits / temperature, dim=0)",
            'print([(one["label"], float(p)) for one, p in zip(found, probabilities)])',
        ]
    )


def _example(data: CardData) -> str:
    if data.modality == "image":
        return '"image.png"'
    is_pair = data.data is not None and len(data.data.columns) == 2 and not data.labels_tokens
    return '{"text": "First text.", "text_pair": "Second text."}' if is_pair else '"A text."'


def _cut(data: CardData) -> list[str]:
    return ["truncation=True", *([f"max_length={data.max_length}"] if data.max_length is not None else [])]


def training_lines(data: CardData) -> str:
    """Lines that load the model with this package and go on training it; a method of somebody's own has to be handed over."""
    name = _quoted(data.repo_id or data.model_name)
    is_image = data.modality == "image"
    mixable = f"MixableModelFor{'Image' if is_image else 'Token' if data.labels_tokens else 'Sequence'}Classification"
    # A method that mixes no hidden states may have trained a model that cannot be mixed.
    load = f"{mixable}.{'from_pretrained' if data.layers or data.needs_package else 'without_hooks'}"
    processor = "AutoImageProcessor" if is_image else "AutoTokenizer"
    packages = [f"from transformers import {'AutoConfig, ' if data.is_adapter else ''}{processor}"]
    if data.is_adapter:
        packages.insert(0, "from peft import PeftModel")
        loading = [
            f"config = AutoConfig.from_pretrained({name})",
            f"base = {load}({_quoted(_base_path(data))}, config=config)",
            f"model = PeftModel.from_pretrained(base, {name}, is_trainable=True)",
        ]
    else:
        loading = [f"model = {load}({name})"]
    own = [] if data.method is None or is_known(data) else [f"method={_construction(data.method)}"]
    handed = ["model=model", "args=args", *own, "train_dataset=your_data", "processing_class=processor"]
    return "\n".join(
        [
            *packages,
            "",
            f"from mixtext_hf import {mixable}, MixTrainer, MixTrainingArguments",
            "",
            *loading,
            f"processor = {processor}.from_pretrained({name})",
            'args = MixTrainingArguments("out")',
            f"trainer = MixTrainer({', '.join(handed)})",
            "trainer.train()",
        ]
    )


def is_known(data: CardData) -> bool:
    """Whether the method, if there is one, is the package's: another cannot be made from its name in the recipe."""
    return data.method is None or METHODS.get(data.method.name) is type(data.method)


def _construction(method: MixMethod) -> str:
    changed = [one.name for one in fields(method) if getattr(method, one.name) != one.default]
    return f"{type(method).__name__}({', '.join(f'{name}={getattr(method, name)!r}' for name in changed)})"


def _base_path(data: CardData) -> str:
    """What to load below an adapter: an id, or a place that the reader has to fill in."""
    if is_hub_id(data.base_model):
        return str(data.base_model)
    return f"path/to/{shown_name(data.base_model)}" if data.base_model is not None else "path/to/the/base/model"


def _quoted(text: str) -> str:
    """A string of Python."""
    plain = one_line(text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
