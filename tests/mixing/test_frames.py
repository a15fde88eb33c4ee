"""Maps that are carried between an image and an augmented picture of it, against loops over pixels."""

import pytest
import torch

from mixtext_hf.mixing.frames import to_image, to_picture


WHOLE, MIRRORED = (0.0, 0.0, 1.0, 1.0), (0.0, 1.0, 1.0, -1.0)
MOVED, PART = (-0.125, 0.25, 1.0, 1.0), (0.3, 0.9, 0.45, -0.6)


def values(shape=(2, 8, 12), seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def overlap(start, extent, number, count, cell, grid):
    ends = sorted([start + extent * number / count, start + extent * (number + 1) / count])
    return max(min(ends[1], (cell + 1) / grid) - max(ends[0], cell / grid), 0.0)


@pytest.mark.parametrize("frame", [WHOLE, MIRRORED, MOVED, PART], ids=str)
def test_both_ways_against_loops(frame):
    top, left, high, wide = frame
    pixels, cells, grid = values()[0], values((1, 4, 4), 1)[0], 4
    height, width = pixels.shape
    given = torch.tensor([frame])
    means, seen = to_image(pixels.unsqueeze(0), given, grid)
    picture = to_picture(cells.unsqueeze(0), given, (height, width))
    for u in range(grid):
        for v in range(grid):
            shares = torch.tensor(
                [
                    [
                        overlap(top, high, y, height, u, grid) * overlap(left, wide, x, width, v, grid)
                        for x in range(width)
                    ]
                    for y in range(height)
                ]
            )
            assert bool(seen[0, u, v]) == (shares.sum().item() * grid**2 > 0.5 - 1e-6)
            expected = (shares * pixels).sum() / shares.sum() if seen[0, u, v] else torch.tensor(0.0)
            torch.testing.assert_close(means[0, u, v], expected, rtol=1e-4, atol=1e-5)
    for y in range(height):
        for x in range(width):
            shares = torch.tensor(
                [
                    [
                        overlap(top, high, y, height, u, grid) * overlap(left, wide, x, width, v, grid)
                        for v in range(grid)
                    ]
                    for u in range(grid)
                ]
            )
            expected = (shares * cells).sum() / abs(high * wide) * height * width
            torch.testing.assert_close(picture[0, y, x], expected, rtol=1e-4, atol=1e-5)


def test_each_row_has_a_frame_of_its_own():
    frames = torch.tensor([WHOLE, MIRRORED, MOVED, PART])
    both = values((4, 16, 16))
    means, seen = to_image(both, frames, 4)
    picture = to_picture(means, frames, (16, 16))
    for i in range(4):
        alone, seen_alone = to_image(both[i : i + 1], frames[i : i + 1], 4)
        torch.testing.assert_close(means[i : i + 1], alone)
        assert torch.equal(seen[i : i + 1], seen_alone)
        torch.testing.assert_close(picture[i : i + 1], to_picture(alone, frames[i : i + 1], (16, 16)))


def test_there_and_back_is_the_mean_of_the_cells():
    pixels = values((1, 8, 8))
    for frame in (WHOLE, MIRRORED):
        means, seen = to_image(pixels, torch.tensor([frame]), 4)
        back = to_picture(means, torch.tensor([frame]), (8, 8))
        expected = torch.nn.functional.avg_pool2d(pixels, 2).repeat_interleave(2, 1).repeat_interleave(2, 2)
        assert bool(seen.all())
        torch.testing.assert_close(back, expected)
