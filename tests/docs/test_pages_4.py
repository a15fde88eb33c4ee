"""The code of every fourth page of the documentation does what it says, from the fourth on."""

import pytest
from pages import part, run_in_fork


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", part(3))
def test_page(page, world, tmp_path):
    run_in_fork(page, world, tmp_path)
