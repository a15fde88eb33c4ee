"""What mixing images costs: each method's step against a plain one, and PuzzleMix's own parts.

The parts are those of one mix of a batch without its saliency: the terms of the cut, the cut, the transport, and mixing
by the mask. They are timed on images of low-pass noise with the saliency of their edges, which is as uneven as that of a
network.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import ResNetConfig, ResNetForImageClassification, ViTConfig, ViTForImageClassification

from mixtext_hf.methods import METHODS, PIXELS, AugMix, PuzzleMix
from mixtext_hf.methods.augmix import VIEWS
from mixtext_hf.mixing import MixPlan
from mixtext_hf.mixing.assembling import assemble
from mixtext_hf.mixing.graph_cut import solve_grid_cut
from mixtext_hf.mixing.puzzle import (
    binomial_prior,
    boundary_distances,
    cut_terms,
    fitting_block_nums,
    transport_grid,
    transport_pair,
)
from mixtext_hf.mixing.saliency import block_saliency

from . import mixes
from .measuring import NUM_LABELS, interleaved_times, make_trainer, memory_in_child, memory_in_this_process
from .mixes import edges_of, natural_images
from .reporting import add_clock, add_common_arguments, clock_of, write_report


BASELINE = "erm"
ON_IMAGES = (BASELINE, "manifold_mixup", *(name for name, kind in METHODS.items() if kind.mixes_pixels))
NETWORKS = {"resnet18": "ResNet-18", "vit": "ViT of the size of DeiT-Ti"}
# Patches of the vision transformer in pixels; the smaller up to images of this side.
SMALL_PATCH, PATCH, LARGEST_OF_SMALL_PATCHES = 8, 16, 128


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `mixtext-hf benchmark vision`."""
    parser.add_argument(
        "--methods", nargs="+", choices=ON_IMAGES, help="If not given: all that the network can be trained by."
    )
    parser.add_argument(
        "--network",
        default="resnet18",
        choices=NETWORKS,
        help="What the steps train, with random weights; vit: of 12 layers of 192 units (DeiT-Ti), patches of 8 pixels, of 16 "
        "above 128.",
    )
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--image_size", type=int, default=64, help="Side in pixels, for the steps.")
    parser.add_argument("--rounds", type=int, default=16, help="Timed steps of each method.")
    parser.add_argument("--warmup", type=int, default=2, help="Steps of each method before the clock runs.")
    parser.add_argument("--parts", action="store_true", help="Time the parts of PuzzleMix instead of whole steps.")
    parser.add_argument(
        "--part_sizes", type=int, nargs="+", default=[32, 64, 224], help="Sides in pixels, for --parts."
    )
    parser.add_argument(
        "--t_size",
        type=_transport_size,
        default=PuzzleMix().t_size,
        help="What --parts transports: 'auto', the method's default, a side in pixels, -1 a block, 0 nothing.",
    )
    parser.add_argument(
        "--beside",
        type=Path,
        metavar="CHECKOUT",
        help="With --parts: another version of the package, a folder that holds mixtext_hf/, whose whole mixes are timed in turn "
        "with those here, each with the defaults of its methods.",
    )
    parser.add_argument("--neigh_size", type=int, default=4, help="Cells that --parts compares at block borders.")
    parser.add_argument(
        "--mix_kwargs",
        type=_hyperparameters,
        default={},
        metavar="JSON",
        help="Hyper-parameters for the steps of the mixing methods, each for those that have it, such as "
        '\'{"saliency": "spectral_residual"}\' or \'{"clean_lam": 1}\'.',
    )
    add_clock(parser)
    add_common_arguments(parser)
    parser.add_argument("--memory_of", choices=ON_IMAGES, help=argparse.SUPPRESS)


def main(args: argparse.Namespace, argv: Sequence[str]) -> None:
    """Run the benchmark that the arguments describe."""
    if args.beside is not None:
        rows = mixes.compare(
            args.beside, args.part_sizes, args.batch_size, args.rounds, args.threads or torch.get_num_threads()
        )
        _print(rows, args, argv, f"Mixing {args.batch_size} images here and in {args.beside}, {args.rounds} rounds")
        return
    if args.parts:
        rows = [
            _time_parts(size, number, args) for size in args.part_sizes for number in fitting_block_nums((size, size))
        ]
        least = f"milliseconds (minimum of {args.rounds})"
        _print(rows, args, argv, f"PuzzleMix, batch {args.batch_size}, 3 mask levels, {least}")
        return
    model = resnet18() if args.network == "resnet18" else vit(args.image_size)
    if args.memory_of is not None:
        print(json.dumps(memory_in_this_process(_make_step(model, args.memory_of, args), range(args.rounds))))
        return
    named = args.methods or [
        name for name in ON_IMAGES if args.network == "vit" or not METHODS[name]().needs_attention
    ]
    methods = list(dict.fromkeys([BASELINE, *named]))
    steps = {method: _make_step(model, method, args) for method in methods}
    times = interleaved_times(steps, list(range(args.warmup + args.rounds)), args.warmup, clock_of(args))
    memory = {method: memory_in_child(argv, method)["peak_mib"] for method in methods}
    rows = []
    for method in methods:
        # A mean, not a median: PuzzleMix draws its block count, and that is what decides its cost.
        ratios = [own / plain for own, plain in zip(times[method], times[BASELINE], strict=True)]
        rows.append(
            {
                "method": method,
                "step ms": 1000 * statistics.fmean(times[method]),
                "ratio to erm": statistics.fmean(ratios),
                "median ratio": statistics.median(ratios),
                "peak memory MiB": memory[method],
            }
        )
    _print(
        rows,
        args,
        argv,
        f"{NETWORKS[args.network]}, batch {args.batch_size} of {args.image_size} px, {args.rounds} rounds",
    )


def _hyperparameters(text: str) -> dict[str, Any]:
    known = {name for kind in METHODS.values() if kind.mixes for name in kind.field_names()}
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"no JSON ({error}), got {text!r}") from error
    unknown = sorted(set(given) - known) if isinstance(given, dict) else [text]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"no mixing method has {', '.join(unknown)}: give a JSON object of hyper-parameters"
        )
    return given


def _transport_size(text: str) -> int | str:
    return text if text == "auto" else int(text)


def resnet18() -> ResNetForImageClassification:
    """A ResNet-18 with random weights."""
    config = ResNetConfig(hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic")
    config.num_labels = NUM_LABELS
    return ResNetForImageClassification(config)


def vit(image_size: int) -> ViTForImageClassification:
    """A vision transformer of the size of DeiT-Ti with random weights, for square images of a side in pixels."""
    patch = SMALL_PATCH if image_size <= LARGEST_OF_SMALL_PATCHES else PATCH
    config = ViTConfig(
        hidden_size=192, num_attention_heads=3, intermediate_size=768, image_size=image_size, patch_size=patch
    )
    config.num_labels = NUM_LABELS
    return ViTForImageClassification(config)


def _make_step(model: torch.nn.Module, method: str, args: argparse.Namespace) -> Callable[[int], None]:
    """One optimiser step, as MixTrainer makes it, on a fixed batch with plans that change from step to step."""
    kind = METHODS[method]
    trainer = make_trainer(
        model,
        args.warmup + args.rounds + 1,
        mix_method=method,
        mix_kwargs={
            name: args.mix_kwargs[name] for name in kind.field_names() if kind.mixes and name in args.mix_kwargs
        }
        or None,
        per_device_train_batch_size=args.batch_size,
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    images = natural_images(args.batch_size, args.image_size)
    batch = {PIXELS: images, "labels": torch.arange(args.batch_size) % NUM_LABELS}
    if isinstance(trainer.method, AugMix):
        batch[VIEWS] = torch.stack([images.flip(-1), images.roll(3, dims=-1)], dim=1)
    batch = {name: value.to(trainer.args.device) for name, value in batch.items()}

    def step(number: int) -> None:
        trainer.state.global_step = number
        trainer.training_step(model, dict(batch))
        optimizer.step()
        optimizer.zero_grad()

    return step


def _time_parts(size: int, block_num: int, args: argparse.Namespace) -> dict[str, Any]:
    rows = args.batch_size
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = natural_images(rows, size).to(device)
    edges = edges_of(images)
    rng = torch.Generator().manual_seed(1)
    plan = MixPlan(torch.randperm(rows, generator=rng), torch.rand(rows, generator=rng)).to(device)
    done: dict[str, Any] = {}

    def terms() -> None:
        done["share"] = block_saliency(edges, block_num)
        phi = boundary_distances(images, plan.index, block_num, neigh_size=args.neigh_size)
        prior = binomial_prior(plan.lam, 3)
        done["terms"] = cut_terms(done["share"], plan.index, *phi, prior, beta=1.2, gamma=0.5, eta=0.2)

    def cut() -> None:
        done["mask"] = 1 - solve_grid_cut(*done["terms"]).float() / 2

    def transport() -> None:
        grid = transport_grid((size, size), block_num, args.t_size)
        share = done["share"] if grid == block_num else block_saliency(edges, grid)
        done["sources"] = transport_pair(done["mask"], share, plan.index, 0.8)

    def apply() -> None:
        assemble(images, plan.index, done["mask"], *done.get("sources", (None, None)), mean=0.0, std=1.0, noise=None)

    parts = {"terms": terms, "cut": cut, **({"transport": transport} if args.t_size else {}), "apply": apply}
    row: dict[str, Any] = {"px": size, "blocks": block_num}
    with torch.no_grad():
        for name, part in parts.items():
            times = interleaved_times(
                {name: partial(_ignoring_the_round, part)}, list(range(args.rounds + 1)), 1, clock_of(args)
            )
            row[name] = 1000 * min(times[name])
    row["all"] = sum(row[name] for name in parts)
    return row


def _ignoring_the_round(part: Callable[[], None], number: int) -> None:
    part()


def _print(rows: list[dict[str, Any]], args: argparse.Namespace, argv: Sequence[str], title: str) -> None:
    write_report(args, argv, rows)
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{title}\n\n| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
    for row in rows:
        cells = [f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()]
        print(f"| {' | '.join(cells)} |")
