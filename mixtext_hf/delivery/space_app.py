"""A classifier of texts or of images, with the probabilities of its classes. `space.json` beside this file says which one.

`mixtext-hf space` has copied this file from `mixtext_hf/delivery/space_app.py`; it needs gradio, torch and transformers, and nothing of mixtext_hf.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from transformers import AutoConfig, AutoModelForImageClassification, AutoModelForSequenceClassification, AutoTokenizer

# The name in `transformers` itself asks for torchvision in some releases.
from transformers.models.auto.image_processing_auto import AutoImageProcessor


HERE = Path(__file__).parent


class Classifier:
    """
    The model that `space.json` names.

    Args:
        about (`dict`): Its content: `model`, a folder beside this file or an id of the Hub; `modality`, `"text"` or `"image"`; `base`, what
            an adapter lies on; `texts`, what each text of an input is called; `max_length`, of a text in tokens.
    """

    def __init__(self, about: dict[str, Any]):
        self.about = about
        name = str(HERE / about["model"]) if about["is_local"] else about["model"]
        config = AutoConfig.from_pretrained(name)
        is_image = about["modality"] == "image"
        auto: Any = AutoModelForImageClassification if is_image else AutoModelForSequenceClassification
        if about["base"] is None:
            model = auto.from_pretrained(name)
        else:
            from peft import PeftModel

            model = PeftModel.from_pretrained(auto.from_pretrained(about["base"], config=config), name)
        self.model, self.config = model.eval(), config
        # As `mixtext-hf predict` makes the pixels; the processor of timm knows no other way than its own.
        backend = {"backend": "pil"} if is_image and config.model_type != "timm_wrapper" else {}
        self.processor: Any = (AutoImageProcessor if is_image else AutoTokenizer).from_pretrained(name, **backend)
        recipe = getattr(config, "mixtext", None)
        recipe = recipe if isinstance(recipe, dict) else {}
        self.several = config.problem_type == "multi_label_classification"
        self.temperature = 1.0 if self.several else float(recipe.get("temperature") or 1.0)

    def __call__(self, *inputs: Any) -> dict[str, float]:
        """The probability of each class, by its name: for one class an example at the temperature that is stored with the model."""
        with torch.inference_mode():
            logits = self.model(**self._batch(inputs)).logits[0].float()
        chances = torch.sigmoid(logits) if self.several else torch.softmax(logits / self.temperature, dim=-1)
        return {str(self.config.id2label[i]): float(chance) for i, chance in enumerate(chances)}

    def _batch(self, inputs: tuple[Any, ...]) -> dict[str, torch.Tensor]:
        if self.about["modality"] == "image":
            if inputs[0] is None:
                raise gr.Error("Give an image.", print_exception=False)
            mode = "L" if getattr(self.config, "num_channels", None) == 1 else "RGB"
            return dict(self.processor(images=[inputs[0].convert(mode)], return_tensors="pt"))
        if not all(text and text.strip() for text in inputs):
            raise gr.Error("Give a text.", print_exception=False)
        longest = min(self.processor.model_max_length, self.about["max_length"])
        return dict(self.processor(*inputs, truncation=True, max_length=longest, return_tensors="pt"))


def make_app() -> tuple[Any, Classifier]:
    """The page, and the classifier behind it."""
    about = json.loads((HERE / "space.json").read_text(encoding="utf-8"))
    classifier = Classifier(about)
    if about["modality"] == "image":
        inputs = [gr.Image(type="pil", label="Image")]
    else:
        inputs = [gr.Textbox(label=name, lines=3) for name in about["texts"]]
    said = f"Probabilities at the temperature {classifier.temperature:.4g}." if classifier.temperature != 1 else ""

    # Gradio counts the arguments of a function, and finds none of a callable object.
    def classify(*given: Any) -> dict[str, float]:
        return classifier(*given)

    page = gr.Interface(
        fn=classify,
        inputs=inputs,
        outputs=gr.Label(num_top_classes=min(len(classifier.config.id2label), 10), label="Classes"),
        title=about["title"],
        description=said,
        api_name="predict",
        flagging_mode="never",
    )
    return page, classifier


if __name__ == "__main__":
    make_app()[0].launch()
