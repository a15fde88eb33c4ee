"""Scikit-learn's handwritten digits as a small image data set that is there without a network: 1,797 digits, 10 classes."""

from __future__ import annotations

import importlib.metadata

import numpy as np
from datasets import ClassLabel, Dataset, Features
from datasets import Image as ImageFeature
from PIL import Image

from mixtext_hf.data.stratified import hold_out


_TEST_SIZE = 360


def digits(side: int = 32) -> tuple[Dataset, Dataset, dict[str, str]]:
    """
    Load the digits (E. Alpaydin and C. Kaynak, 1998, https://doi.org/10.24432/C50P49), as grey images.

    They are 8 x 8 pixels of 17 levels, brought to 256 levels and enlarged (bicubic).

    Args:
        side (`int`, *optional*, defaults to 32): Height and width in pixels.

    Returns:
        `tuple[Dataset, Dataset, dict[str, str]]`: training and test split with the columns `image` and `label`, and the
        version of the package they come from. The test split is always the same, 36 digits of each class or nearly so.

    Raises:
        `ImportError`: if scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "The data set 'digits' is part of scikit-learn, which is not installed: `pip install scikit-learn`, or name "
            "other data with dataset_name or train_file."
        ) from error
    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    images = [Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC) for image in pixels]
    features = Features(
        {"image": ImageFeature(), "label": ClassLabel(names=[str(name) for name in bunch.target_names])}
    )
    whole = Dataset.from_dict({"image": images, "label": bunch.target.tolist()}, features=features)
    train, test = hold_out(whole, _TEST_SIZE, 0, label_column="label")
    return train, test, {"scikit-learn": importlib.metadata.version("scikit-learn")}
