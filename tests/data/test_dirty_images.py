"""Some of the generated folders of `dirty_images.py`; `make test-dirty` runs more."""

from __future__ import annotations

import pytest
from dirty_images import one_case


# Ten folders have some fifty images.
@pytest.mark.parametrize("seed", range(10))
def test_generated_folders_of_images(seed, tmp_path):
    assert sum(one_case(seed, tmp_path / "images").values()) > 0
