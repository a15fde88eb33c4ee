"""PuzzleMix with the saliency of an image kept from an earlier visit: when it is measured, and that it moves with the image."""

import numpy as np
import pytest
import torch
from pixel_steps import LABELS, NORMALISATION, Net, draw, images, make_step

from mixtext_hf.data.images.augmentations import Crop, Flip, RandomResizedCrop
from mixtext_hf.data.images.rows import ImageRows
from mixtext_hf.data.tables.row_id import RowId
from mixtext_hf.data.visits import VISIT
from mixtext_hf.methods import PuzzleMix
from mixtext_hf.methods.kept_saliency import kept_saliency
from mixtext_hf.mixing import MixPlan


GRID, ROWS = 16, 12


def visit(rows, epoch, frames=(0.0, 0.0, 1.0, 1.0)):
    frames = torch.tensor(frames, dtype=torch.float32)
    return {
        "visits": torch.tensor([[row, epoch] for row in rows]),
        "frames": frames.expand(len(rows), 4) if frames.dim() == 1 else frames,
        "num_rows": ROWS,
    }


def blocky(rows, size=32, seed=0):
    """Images `(B, size, size, 3)` uint8 of one colour in each of 16 x 16 cells, none of it black."""
    cells = np.random.default_rng(seed).integers(1, 256, (rows, GRID, GRID, 3), dtype=np.uint8)
    return cells.repeat(size // GRID, axis=1).repeat(size // GRID, axis=2)


def pictures(data, augmentations, epoch):
    """What rows become in an epoch: pixels `(B, 3, H, W)`, and their visits."""
    rows = ImageRows(
        [{"image": image, "label": 0} for image in data], augmentations=augmentations, tells_visits=True, seed=5
    )
    made = [rows[RowId(0, row, epoch)] for row in range(len(data))]
    pixels = torch.stack([torch.tensor(row["image"]).permute(2, 0, 1).float() / 255 for row in made])
    about = visit([row[VISIT].row for row in made], made[0][VISIT].epoch, [tuple(row[VISIT].frame) for row in made])
    return pixels, about


def ask(pixels, about, archive, *, every=4, mixes=True, measure=None, **more):
    """The saliency for a batch, where that of a pixel is its mean square; and the rows of the batch that were measured."""
    step, _, _ = make_step(None, MixPlan.identity(len(pixels)), pixels, archive=archive, **about, **more)
    asked = []

    def square(rows):
        asked.extend(rows.tolist())
        return pixels[rows].square().mean(dim=1)

    found = kept_saliency(step, measure or square, every=every, grid=GRID, mixes=mixes)
    return found, asked


@pytest.mark.parametrize(
    "augmentations",
    [[Flip(0.5)], [Crop(3)], [Flip(0.5), Crop(4)], [Crop(5), Flip(0.5)]],
    ids=lambda value: "+".join(one.name for one in value),
)
def test_a_kept_map_moves_with_the_picture(augmentations):
    """It is the map of the augmented picture itself, up to the scale of each image; black around the image has none."""
    data, archive = blocky(ROWS), {}
    _, asked = ask(*pictures(data, [], 0), archive)
    assert asked == list(range(ROWS))
    seen = set()
    for epoch in (1, 2, 3):
        pixels, about = pictures(data, augmentations, epoch)
        found, asked = ask(pixels, about, archive)
        own = pixels.square().mean(dim=1)
        scale = own.sum(dim=(1, 2)) / found.sum(dim=(1, 2))
        assert not asked
        torch.testing.assert_close(found * scale.view(-1, 1, 1), own, rtol=2e-3, atol=1e-4)
        seen |= {tuple(frame) for frame in about["frames"].tolist()}
    assert len(seen) > 2 or augmentations == [Flip(0.5)]


def test_a_map_of_an_augmented_visit_serves_the_image_itself():
    """Where that visit showed it; a border that it did not show is as salient as the mean."""
    data, archive = blocky(ROWS), {}
    pixels, about = pictures(data, [Flip(0.5), Crop(4)], 0)
    ask(pixels, about, archive)
    whole, plain = pictures(data, [], 1)
    found, _ = ask(whole, plain, archive)
    own = whole.square().mean(dim=1)
    for row in range(ROWS):
        # Cells of 2 pixels, a shift of 4 at most.
        inner, true = found[row, 4:-4, 4:-4], own[row, 4:-4, 4:-4]
        torch.testing.assert_close(inner / inner.mean(), true / true.mean(), rtol=2e-3, atol=1e-3)
    edge = found[:, [0, -1]]
    assert bool((edge == 1).any()) and bool((edge != 1).any())


def test_what_a_crop_does_not_show_stays_as_it_was():
    archive = {}
    first, second = torch.rand(1, 3, 32, 32) + 1, torch.rand(1, 3, 32, 32) + 1
    ask(first, visit([3], 0), archive)
    before = archive["saliency"].clone()
    ask(second, visit([3], 4, (0.5, 0.0, 0.5, 1.0)), archive)
    assert torch.equal(archive["saliency"][3, :8], before[3, :8])
    assert not torch.equal(archive["saliency"][3, 8:], before[3, 8:])
    assert archive["saliency"][3, 8:].float().mean() == pytest.approx(1, abs=1e-3)
    others = [row for row in range(ROWS) if row != 3]
    assert torch.equal(archive["saliency"][others], torch.ones(ROWS - 1, GRID, GRID, dtype=torch.float16))
    assert archive["saliency_epoch"].tolist() == [-1, -1, -1, 4] + [-1] * 8


def test_a_random_resized_crop_is_followed():
    """Of smooth pictures, since it resamples."""
    ramp = np.linspace(20, 250, 64)
    data = np.stack([np.sqrt(np.add.outer(ramp**2 * 0.7, ramp[::-1] ** 2 * 0.3))] * 4)[..., None].repeat(3, axis=3)
    data, archive = data.astype(np.uint8), {}
    ask(*pictures(data, [], 0), archive)
    pixels, about = pictures(data, [Flip(0.5), RandomResizedCrop(0.2)], 1)
    found, _ = ask(pixels, about, archive)
    own = pixels.square().mean(dim=1)
    scale = own.sum(dim=(1, 2)) / found.sum(dim=(1, 2))
    torch.testing.assert_close(found * scale.view(-1, 1, 1), own, rtol=0.15, atol=0.02)
    assert bool((about["frames"][:, 2] < 0.95).all())


@pytest.mark.parametrize("every", [2, 3])
def test_maps_are_renewed_by_the_counted_epoch(every):
    archive, pixels = {}, torch.rand(4, 3, 16, 16)
    measured = [epoch for epoch in range(9) if ask(pixels, visit(range(4), epoch), archive, every=every)[1]]
    assert measured == list(range(0, 9, every))


def test_a_row_that_has_no_map_is_measured_and_no_other():
    archive, pixels = {}, torch.rand(4, 3, 16, 16)
    assert ask(pixels, visit([0, 1, 2, 3], 0), archive)[1] == [0, 1, 2, 3]
    found, asked = ask(pixels, visit([2, 7, 3, 8], 1), archive)
    assert asked == [1, 3]
    torch.testing.assert_close(found[[1, 3]], pixels[[1, 3]].square().mean(dim=1))
    # Each by its own age.
    assert ask(pixels, visit([2, 7, 3, 8], 4), archive)[1] == [0, 2]
    assert ask(pixels, visit([2, 7, 3, 8], 5), archive)[1] == [1, 3]


def test_a_step_that_does_not_mix_measures_nothing():
    archive, pixels = {}, torch.rand(4, 3, 16, 16)
    assert ask(pixels, visit(range(4), 0), archive, mixes=False)[1] == []
    assert archive["saliency_epoch"].max() == -1
    # Unless another process does.
    assert ask(pixels, visit(range(4), 0), archive, mixes=False, average=lambda value: value + 0.5)[1] == [0]


def test_maps_of_other_data_are_not_taken():
    archive, pixels = {}, torch.rand(4, 3, 16, 16)
    ask(pixels, visit(range(4), 0), archive)
    about = visit(range(4), 1) | {"num_rows": ROWS + 1}
    assert ask(pixels, about, archive)[1] == [0, 1, 2, 3]
    assert len(archive["saliency"]) == len(archive["saliency_epoch"]) == ROWS + 1


def test_nothing_is_learnt_of_a_map_without_information():
    archive, pixels = {}, torch.rand(2, 3, 16, 16)
    ask(pixels, visit([0, 1], 0), archive)
    before = archive["saliency"].clone()
    for nothing in (0.0, float("nan"), float("inf")):
        ask(pixels, visit([0, 1], 4), archive, measure=lambda rows, value=nothing: torch.full((2, 16, 16), value))
        assert torch.equal(archive["saliency"], before)


def test_other_processes_rows_are_kept_too():
    """Each but once, if a last batch holds it twice."""
    archive, pixels = {}, torch.rand(2, 3, 16, 16)

    def gather(value):
        other = value.clone()
        if value.shape[1:] == (2,):
            other[:, 0] = torch.tensor([5, 1])
        else:
            other = other * 2
        return torch.cat([value, other])

    ask(pixels, visit([0, 1], 0), archive, gather=gather)
    assert archive["saliency_epoch"].tolist() == [0, 0, -1, -1, -1, 0] + [-1] * 6
    torch.testing.assert_close(archive["saliency"][5], archive["saliency"][0] * 2)
    assert archive["saliency"][1].float().mean() == pytest.approx(1, abs=1e-3)


# ---- in the method ----


def test_the_first_visit_is_that_of_every_step_and_the_next_needs_no_pass():
    net, pixels, archive = Net(), images(), {}
    method = PuzzleMix(saliency_every=3)
    plan = draw(method)
    assert plan.index.tolist() == draw(PuzzleMix()).index.tolist()
    plain, plain_seen, _ = make_step(net, plan, pixels, **NORMALISATION)
    expected = next(PuzzleMix().losses(plain))["loss_supervised"]
    for epoch, passes in ((0, 2), (1, 1), (2, 1), (3, 2)):
        step, seen, noted = make_step(net, plan, pixels, archive=archive, **visit(range(6), epoch), **NORMALISATION)
        loss = next(method.losses(step))["loss_supervised"]
        assert len(seen) == passes and noted["saliency_undefined"] == 0
        if passes == 2:
            assert torch.equal(loss, expected)
            assert torch.equal(seen[-1]["pixel_values"], plain_seen[-1]["pixel_values"])
        loss.backward()


def test_rows_are_measured_with_their_own_labels():
    """Some of the batch alone are those that they are in the whole batch."""
    net, pixels = Net(), images()
    method, maps = PuzzleMix(saliency_every=2), []
    for known in ([], [0, 2, 5]):
        archive = {}
        for rows in (known, range(6)):
            rows = list(rows)
            if not rows:
                continue
            step, _, _ = make_step(
                net, draw(method, rows=len(rows)), pixels[rows], labels=LABELS[rows], archive=archive, **visit(rows, 0)
            )
            next(method.losses(step))
        maps.append(archive["saliency"])
    torch.testing.assert_close(maps[0], maps[1], rtol=2e-3, atol=2e-3)


def test_images_without_a_label_have_no_saliency_and_are_no_lack():
    labels = LABELS.clone()
    labels[[1, 4]] = -100
    method, archive = PuzzleMix(saliency_every=2), {}
    for epoch in (0, 1):
        step, _, noted = make_step(
            Net(), draw(method), images(), labels=labels, archive=archive, **visit(range(6), epoch)
        )
        loss = next(method.losses(step))["loss_supervised"]
        assert noted["saliency_undefined"] == 0 and torch.isfinite(loss)


def test_finer_blocks_are_kept_as_fine():
    method, archive = PuzzleMix(saliency_every=2, block_nums=(32,)), {}
    plan = draw(method, size=(32, 32))
    step, _, _ = make_step(Net(), plan, images(size=(32, 32)), archive=archive, **visit(range(6), 0))
    next(method.losses(step))
    assert archive["saliency"].shape == (ROWS, 32, 32)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"saliency_every": 0}, "saliency_every must be a whole number >= 1, got 0"),
        ({"saliency_every": 2.0}, r"saliency_every must be a whole number >= 1, got 2\.0"),
        (
            {"saliency_every": 4, "clean_lam": 1.0},
            r"saliency_every=4 saves the pass .* clean_lam=1\.0 takes it from a pass",
        ),
        ({"saliency_every": 4, "adv_p": 0.1}, r"saliency_every=4 saves the pass .* adv_p=0\.1 needs the gradient too"),
    ],
)
def test_bad_input(settings, message):
    with pytest.raises(ValueError, match=message):
        PuzzleMix(**settings)


def test_a_loop_that_does_not_say_which_rows_it_holds_is_told():
    method = PuzzleMix(saliency_every=4)
    step, _, _ = make_step(Net(), draw(method), images())
    with pytest.raises(ValueError, match=r"saliency_every=4 keeps the saliency of a row by its number.*Step `visits`"):
        next(method.losses(step))
