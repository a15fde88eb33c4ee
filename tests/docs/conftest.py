"""The files and models of all pages are made once in each process that runs tests."""

import pytest


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    # It reads the whole of transformers.
    from world import make_world

    folder = tmp_path_factory.mktemp("documentation") / "world"
    make_world(folder)
    return folder
