"""Two images and two texts as they are mixed for pictures: how they are read, their saliency, and what each method makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from scipy.ndimage import gaussian_gradient_magnitude
from transformers import AutoConfig, AutoTokenizer
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from mixtext_hf.data.images.arrays import to_array
from mixtext_hf.data.images.augmix import AugMixChains
from mixtext_hf.data.images.collator import pixel_statistics
from mixtext_hf.methods import AugMix, MaskMix, PixelMix, PuzzleMix
from mixtext_hf.mixing import Boxes, MixPlan, mix_tensors
from mixtext_hf.mixing.details import Detail
from mixtext_hf.mixing.plan import Padding
from mixtext_hf.mixing.puzzle import puzzle_mix
from mixtext_hf.mixing.saliency import channel_saliency
from mixtext_hf.models import MixableModelForImageClassification
from mixtext_hf.models.checkpoint import check_checkpoint, check_image_processor, check_tokenizer
from mixtext_hf.models.last_token import is_decoder
from mixtext_hf.models.modality import check_modality
from mixtext_hf.models.stack import num_channels

from .mix_drawing import Mix
from .token_rows import token_strings


# A is row 0, B is row 1, each the partner of the other.
PARTNERS = torch.tensor([1, 0])
LONGEST_TEXT = 20
# Positions at which neither text has a token, as there are beside a longer text in the batch.
SPARE_POSITIONS = 2
# Of the Gaussian, in sides of the image.
BLUR = 1 / 112

# The pages on Flickr and the licence that scikit-learn's README names for them.
CREDIT = (
    "A: china.jpg (flickr.com/photos/danielbuechele), B: flower.jpg (flickr.com/photos/vultilion); photographs bundled "
    "with scikit-learn, CC BY 2.0, cropped"
)


def read_pair(files: Sequence[str], size: int) -> tuple[torch.Tensor, str]:
    """The two images `(2, 3, size, size)` in `[0, 1]`, cropped around their middle, and whose they are."""
    if not files:
        from sklearn.datasets import load_sample_images

        arrays, credit = load_sample_images().images, CREDIT
    else:
        arrays, credit = [_read_image(file) for file in files], f"A: {files[0]}, B: {files[1]}; cropped to squares"
    squares = [ImageOps.fit(Image.fromarray(array), (size, size), Image.Resampling.LANCZOS) for array in arrays]
    return torch.stack([_to_tensor(np.asarray(square)) for square in squares]), credit


def _read_image(file: str) -> np.ndarray:
    if not Path(file).is_file():
        raise ValueError(f"--image_files: there is no file {file}.")
    try:
        array = to_array({"path": file})
    except ValueError as error:
        raise ValueError(f"--image_files {file}: {error}") from error
    return np.broadcast_to(array, (*array.shape[:2], 3)).copy() if array.shape[2] == 1 else array


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)


def as_picture(image: torch.Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).numpy()


def edge_saliency(images: torch.Tensor) -> torch.Tensor:
    """A saliency `(B, H, W)` of images `(B, C, H, W)` without a model: the gradient magnitude of the blurred image."""
    sigma = BLUR * images.shape[-1]
    edges = [[gaussian_gradient_magnitude(channel, sigma) for channel in image] for image in images.numpy()]
    return channel_saliency(torch.from_numpy(np.array(edges)))


def model_saliency(images: torch.Tensor, name: str) -> torch.Tensor:
    """
    The saliency `(B, H, W)` of images `(B, 3, H, W)` in `[0, 1]` as PuzzleMix takes it, at the class predicted. A model of grey images
    sees their luminance (ITU-R BT.601, as Pillow's).
    """
    check_checkpoint(name)
    config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    check_modality(name, config, "image")
    if num_channels(config) == 1:
        images = torch.einsum("bchw,c->bhw", images, torch.tensor([0.299, 0.587, 0.114]))[:, None]
    check_image_processor(name)
    processor = AutoImageProcessor.from_pretrained(name, backend="pil", trust_remote_code=False)
    model: Any = MixableModelForImageClassification.without_hooks(name).eval()
    mean, std = pixel_statistics(processor, images.shape[1])
    pixels = ((images - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)).requires_grad_()
    try:
        logits = model(pixel_values=pixels).logits
    except (RuntimeError, ValueError) as error:
        size = images.shape[-1]
        raise ValueError(
            f"{name} does not take images of {size} x {size} pixels, see --image_size: {error}"
        ) from error
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, logits.argmax(dim=1)), pixels)
    return channel_saliency(gradient)


def mix_by(method: PixelMix, images: torch.Tensor, lam: float, seed: int) -> Mix:
    """What a method that needs no saliency makes of A and B; the seed says where it pastes."""
    rng, size = np.random.default_rng([seed, 0]), (images.shape[-2], images.shape[-1])
    weights = torch.full((2,), lam)
    detail: Detail | None
    if isinstance(method, MaskMix):
        detail = method.cells(weights, size, rng=rng)
    else:
        centre = torch.from_numpy(rng.random((1, 2), dtype=np.float32)).expand(2, -1)
        boxes = method.boxes(weights, centre, size)
        detail = None if boxes is None else Boxes(boxes)
    plan = MixPlan(PARTNERS, weights, detail=detail)
    mixed, weight = method.mix(images, plan)
    mask = method.share_of_own(plan, 0, (images.shape[-2], images.shape[-1]))
    return Mix(as_picture(mixed[0]), mask.numpy(), float(weight[0]))


def mix_by_puzzle(method: PuzzleMix, images: torch.Tensor, saliency: torch.Tensor, lam: float, block_num: int) -> Mix:
    """What PuzzleMix makes of A and B, with as many blocks a side."""
    options = ("n_labels", "beta", "gamma", "eta", "neigh_size", "t_eps", "t_size")
    mixed, weight, mask = puzzle_mix(
        images,
        saliency,
        PARTNERS,
        torch.full((2,), lam),
        block_num=block_num,
        **{name: getattr(method, name) for name in options},
    )
    return Mix(as_picture(mixed[0]), mask[0].numpy(), float(weight[0]))


def augmix_views(image: torch.Tensor, seed: int) -> list[np.ndarray]:
    """The views `(H, W, 3)` of an image `(3, H, W)`, both in `[0, 1]`, that AugMix is trained on."""
    method = AugMix()
    chains = AugMixChains(severity=method.severity, width=method.width, depth=method.chain_depth)
    array = np.rint(255 * as_picture(image)).astype(np.uint8)
    rngs = [np.random.default_rng([seed, 1, view]) for view in range(method.num_views)]
    return [chains(array, rng) / 255 for rng in rngs]


def text_shares(mask: torch.Tensor, lam: float, pad: Padding) -> np.ndarray:
    """What each position of A mixed with B consists of, `(L, 4)` as in [`TextMix`], from both masks `(2, L)` bool."""
    zero = torch.zeros(mask.shape[1])
    (a, b), (no_a, no_b) = mask.float(), (~mask).float()
    # Hidden states whose units say what they are made of.
    states = torch.stack([torch.stack([a, no_a, zero, zero], dim=1), torch.stack([zero, zero, no_b, b], dim=1)])
    return mix_tensors(states, PARTNERS, torch.full((2,), lam), attention_mask=mask, pad=pad)[0].numpy()


@dataclass(frozen=True)
class Texts:
    """
    Two texts as a model reads them.

    Args:
        tokens (`list[list[str | None]]`): A's and B's, as many of one as of the other; `None` is padding.
        depth (`int`): Number of layers of the model.
        model (`str`): Its name.
        cut (`bool`): Whether tokens are missing at the end.
    """

    tokens: list[list[str | None]]
    depth: int
    model: str
    cut: bool

    @property
    def mask(self) -> torch.Tensor:
        """The attention mask `(2, L)`, bool."""
        return torch.tensor([[token is not None for token in text] for text in self.tokens])


def read_texts(texts: Sequence[str], model: str) -> Texts:
    """The tokens of two texts, padded a little beyond the longer one, as beside a third in the batch; for a decoder on the left."""
    # Its weights are not read, be they what they may.
    check_checkpoint(model, use_safetensors=False)
    config = AutoConfig.from_pretrained(model, trust_remote_code=False)
    check_modality(model, config, "text", argument="text_model")
    check_tokenizer(model)
    tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    depth = getattr(config, "num_hidden_layers", None)
    if depth is None:
        raise ValueError(
            f"--text_model {model} does not say in its config how many layers it has: name a text encoder."
        )
    ids: list[list[int]] = [tokenizer(text)["input_ids"] for text in texts]
    longest = max(map(len, ids))
    length = min(longest, LONGEST_TEXT) + SPARE_POSITIONS
    tokens = [token_strings(tokenizer, row[:LONGEST_TEXT]) for row in ids]
    rows: list[list[str | None]] = [
        [*spare, *row] if is_decoder(config) else [*row, *spare]
        for row in tokens
        for spare in [[None] * (length - len(row))]
    ]
    return Texts(rows, depth, model, longest > LONGEST_TEXT)
