"""Pages of pictures: what each method makes of two images and of two texts.

With no images named they are two photographs that come with scikit-learn, and nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mixtext_hf._files import check_writable
from mixtext_hf._messages import check_at_least
from mixtext_hf.data.images.resize import LARGEST_SIDE
from mixtext_hf.methods import METHODS, AugMix, MaskMix, PixelMix, PuzzleMix
from mixtext_hf.methods.token_mix import TokenMix
from mixtext_hf.mixing import union_mask
from mixtext_hf.mixing.plan import Padding
from mixtext_hf.mixing.puzzle import transport_pair
from mixtext_hf.mixing.saliency import block_saliency
from mixtext_hf.mixing.transport import move_blocks
from mixtext_hf.models.embedded import minilm_path

from .batch_drawing import Words
from .mix_drawing import (
    Mix,
    TextMix,
    Transport,
    draw_grid,
    draw_methods,
    draw_puzzle_steps,
    draw_text,
)
from .mix_examples import (
    LONGEST_TEXT,
    PARTNERS,
    Texts,
    as_picture,
    augmix_views,
    edge_saliency,
    mix_by,
    mix_by_puzzle,
    model_saliency,
    read_pair,
    read_texts,
    text_shares,
)
from .token_drawing import TokenRow, draw_token_batch
from .token_examples import MOST_TOKENS, TextPair, read_pair_of_texts


# How each method mixes images, in a few words; by the methods that are shown.
IMAGE_METHODS = {
    "mixup": "every pixel is a blend",
    "cutmix": "a box of B",
    "resizemix": "all of B, made smaller",
    "maskmix": "cells of B, at random",
    "puzzlemix": "blocks, by saliency",
    "augmix": "two views of A; no B",
}
# Those that mix inside the model and need nothing but labelled texts.
TEXT_METHODS = tuple(
    name
    for name, method in METHODS.items()
    # Which tokens of either text are shown depends on a model that has read them: a page of its own.
    if not (method.uses_unlabeled or method().reads_tokens)
    and method.labels_texts
    and method().layer_set(12) is not None
)
# Those that mix token by token, by the saliency of a model.
TOKEN_METHODS = tuple(
    name for name, method in METHODS.items() if issubclass(method, TokenMix) and not method.uses_unlabeled
)
SHOWN = (*IMAGE_METHODS, *TEXT_METHODS, *TOKEN_METHODS)
LEFT_OUT = (
    "Not here: manifold_mixup mixes hidden states, no pixels; mixup_cutmix draws mixup or cutmix for each batch; transmix "
    "shows what cutmix shows, and weighs labels by attention."
)

UNTRAINED = (
    "A network that has learnt nothing finds nothing salient: at λ = 0.5 it makes 97 to 100 % of the masks constant, one image or half "
    "of each, and a trained one 9 to 83 % (16 to 2 blocks a side). Training logs their share as mask_constant."
)

UNTRAINED_ON_TEXTS = "A head that has learnt nothing finds nothing salient: its gradient says little about which words matter to the label."

LAMS = [tenth / 10 for tenth in range(11)]
BETAS = (0.0, 0.3, 0.6, 1.2, 2.5, 5.0, 10.0)
MASK_LEVELS = (2, 3, 4)
LOW_T_EPS = 0.05
TEXT_LAMS = (0.75, 0.6)
TEXT_PADS: tuple[Padding, ...] = ("mix", "keep")
TEXTS = (
    "The striker scored twice in the last minute.",
    "Shares of the bank fell sharply after it cut its forecast.",
)


@dataclass
class MixPicturesSettings:
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
        default=None,
        metadata={
            "help": "Hub id or folder of a text model, a classifier for the saliency of "
            f"{' and '.join(TOKEN_METHODS)}; the embedded MiniLM if not given."
        },
    )
    methods: list[str] = field(
        default_factory=lambda: list(SHOWN),
        metadata={"help": f"Methods to show, of {', '.join(SHOWN)}; all if not given."},
    )
    lam: float = field(default=0.6, metadata={"help": "The weight of A that the methods are asked for."})
    # The default: with it both views of AugMix differ from the photograph, and from each other.
    seed: int = field(
        default=2, metadata={"help": "Seed of the place that is pasted to, of AugMix, and of a head that is new."}
    )
    output_dir: str = field(default="mixes", metadata={"help": "Where the pictures go."})


def show_mixes(**settings: Any) -> list[Path]:
    """
    Draw what each method makes of two images and of two texts; the command `mixtext-hf show-mixes` does this.

    Args:
        settings: The fields of [`MixPicturesSettings`], which are the flags of the command.

    Returns:
        `list[Path]`: the pictures, in `output_dir`. `text.png` and `text_tokens.png` are not among them where the text model is not named and the embedded
        MiniLM is not installed.

    Raises:
        `ValueError`, `OSError`: as [`MixPictures`]; then nothing is drawn.
    """
    return list(MixPictures(MixPicturesSettings(**settings)).draw())


class MixPictures:
    """
    The pages of pictures. Everything that can be wrong is found on construction, before anything is drawn.

    Args:
        settings ([`MixPicturesSettings`]): Of what, and where to.

    Raises:
        `ValueError`, `OSError`: for wrong settings, and for images and models that cannot be read or are unsafe to load.
    """

    def __init__(self, settings: MixPicturesSettings):
        _check_settings(settings)
        self.settings = settings
        self.output_dir = Path(settings.output_dir)
        self.puzzlemix = PuzzleMix()
        self.image_methods = [name for name in IMAGE_METHODS if name in settings.methods]
        self.text_methods = [name for name in TEXT_METHODS if name in settings.methods]
        if self.image_methods:
            self.images, self.credit = read_pair(settings.image_files, settings.image_size)
        if MaskMix.name in self.image_methods:
            MaskMix().grid((settings.image_size, settings.image_size))
        if PuzzleMix.name in self.image_methods:
            self.block_nums = self.puzzlemix.fitting((settings.image_size, settings.image_size))
            self.saliency, self.saliency_name, self.saliency_of = self._saliency()
        self.token_methods = [name for name in TOKEN_METHODS if name in settings.methods]
        self.texts = self._read_texts() if self.text_methods or self.token_methods else None
        self.text_pair = self._read_pair_of_texts(self.texts) if self.token_methods and self.texts else None
        self.output_dir.mkdir(parents=True, exist_ok=True)

    def _saliency(self) -> tuple[torch.Tensor, str, str]:
        """The saliency of both images, what it is called, and a sentence on where it comes from."""
        model = self.settings.model_name_or_path
        if model is None:
            name = "edges of the blurred image"
            return edge_saliency(self.images), name, f"Saliency without a model: {name}."
        name = "gradient of the loss"
        return model_saliency(self.images, model), name, f"Saliency: {name} of {model}."

    def _read_texts(self) -> Texts | None:
        """`None` where no text model is named and the embedded one is not installed."""
        model = self.settings.text_model
        if model is not None:
            return read_texts((self.settings.text_a, self.settings.text_b), model)
        try:
            path = minilm_path()
        except ImportError:
            return None
        return replace(read_texts((self.settings.text_a, self.settings.text_b), path), model="all-MiniLM-L6-v2")

    def _read_pair_of_texts(self, texts: Texts) -> TextPair:
        name = self.settings.text_model or minilm_path()
        mixable = any(METHODS[method]().layer_set(texts.depth) for method in self.token_methods)
        pair = (self.settings.text_a, self.settings.text_b)
        return read_pair_of_texts(pair, name, mixable=mixable, seed=self.settings.seed)

    def draw(self) -> Iterator[Path]:
        """Draw the pages, one at a time: where each is."""
        if self.image_methods:
            yield self._page("methods.png", self.methods_page)
        if PuzzleMix.name in self.image_methods:
            yield self._page("puzzlemix_lambda.png", self.lambda_page)
            yield self._page("puzzlemix_beta.png", self.beta_page)
            yield self._page("puzzlemix_steps.png", self.steps_page)
        if self.texts is not None and self.text_methods:
            yield self._page("text.png", partial(self.text_page, self.texts))
        if self.texts is not None and self.text_pair is not None:
            yield self._page("text_tokens.png", partial(self.tokens_page, self.texts, self.text_pair))

    def _page(self, name: str, draw: Callable[[Path], None]) -> Path:
        path = self.output_dir / name
        draw(path)
        return path

    # ---- the pages ----

    def methods_page(self, path: Path) -> None:
        about = (
            f"λ = {self.settings.lam:g} of A is asked for; the labels get the weights below the images: what is shown."
        )
        mixes = {}
        for name in self.image_methods:
            method, how = METHODS[name](), IMAGE_METHODS[name]
            if isinstance(method, PuzzleMix):
                blocks = self.block_nums[-1]
                mixes[name] = (f"{blocks} x {blocks} {how}", self.puzzle(self.settings.lam, blocks))
                about += f" {self.saliency_of}"
            elif isinstance(method, PixelMix):
                mixes[name] = (how, mix_by(method, self.images, self.settings.lam, self.settings.seed))
        views = augmix_views(self.images[0], self.settings.seed) if AugMix.name in self.image_methods else []
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
            f"it becomes. {self.saliency_of} {UNTRAINED}",
            foot=self.credit,
        )

    def beta_page(self, path: Path) -> None:
        method, lam, blocks = self.puzzlemix, self.settings.lam, self.block_nums[-1]
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
            about=f"λ = {self.settings.lam:g}. {self.saliency_of} Distance costs t_eps = {t_eps:g} by default; at "
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

    def tokens_page(self, texts: Texts, pair: TextPair, path: Path) -> None:
        about = "A is the row, B its partner. Bars: the share of each token in the saliency of its text, by the class predicted."
        foot = (
            f"Saliency of {texts.model}, defaults of the methods."
            + pair.cut * f" Texts are cut after {MOST_TOKENS} tokens."
        )
        if pair.classifier.head_is_new:
            foot += f" Its head is new, drawn by seed {self.settings.seed}. {UNTRAINED_ON_TEXTS} --text_model names a classifier."
        rows: list[TokenRow] = []
        for name in self.token_methods:
            method = METHODS[name]()
            assert isinstance(method, TokenMix)
            layers: list[int | None] = [
                layer for layer in method.layer_set(texts.depth) or () if isinstance(layer, int)
            ]
            rows += [pair.mix(method, self.settings.lam, layer) for layer in layers or [None]]
        draw_token_batch(rows, path, Words("Two texts, mixed token by token", about, foot))

    # ---- what is on them ----

    def pair(self) -> list[np.ndarray]:
        return [as_picture(image) for image in self.images]

    def puzzle(self, lam: float, block_num: int, **others: Any) -> Mix:
        return mix_by_puzzle(replace(self.puzzlemix, **others), self.images, self.saliency, lam, block_num)

    def transport(self, block_num: int, t_eps: float) -> Transport:
        """Whole blocks are moved, whatever the method's own cells."""
        mix = self.puzzle(self.settings.lam, block_num, t_eps=t_eps, t_size=-1)
        masks = torch.from_numpy(mix.mask).expand(2, -1, -1)
        # Of either the first row: where A's blocks go, and where those of its partner go.
        sources = [s[:1] for s in transport_pair(masks, block_saliency(self.saliency, block_num), PARTNERS, t_eps)]
        moved = [
            move_blocks(image.unsqueeze(0), source, block_num)[0]
            for image, source in zip(self.images, sources, strict=True)
        ]
        return Transport(t_eps, [source[0].numpy() for source in sources], [as_picture(image) for image in moved], mix)


def _check_settings(settings: MixPicturesSettings) -> None:
    if len(settings.image_files) not in (0, 2):
        raise ValueError(f"--image_files takes two files, A and B, got {len(settings.image_files)}.")
    check_at_least(1, settings, "image_size")
    if settings.image_size > LARGEST_SIDE:
        raise ValueError(f"--image_size is a side in pixels, of at most {LARGEST_SIDE}, got {settings.image_size}.")
    if not 0 <= settings.lam <= 1:
        raise ValueError(f"--lam must lie in [0, 1], got {settings.lam}.")
    check_at_least(0, settings, "seed")
    for name in settings.methods:
        if name not in SHOWN:
            known = "there is nothing to show of it" if name in METHODS else "there is no such method"
            raise ValueError(f"--methods {name}: {known}; choose from {', '.join(SHOWN)}.")
    for name in ("text_a", "text_b"):
        if not getattr(settings, name).strip():
            raise ValueError(f"--{name} is empty.")
    check_writable(Path(settings.output_dir))
