"""The `evaluate` cache of these tests: a temporary folder. Pictures are drawn here, as users see them."""

import sys

import pytest


@pytest.fixture(scope="session", autouse=True)
def evaluate_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    from evaluate import config

    # `evaluate` imports the copies it makes as a package, which has one place in a process: where something was loaded
    # already, that place stays; and what is set here is not undone, for later tests load from it as well.
    if config.MODULE_NAME_FOR_DYNAMIC_MODULES not in sys.modules:
        cache = tmp_path_factory.mktemp("evaluate")
        config.HF_MODULES_CACHE = cache / "modules"
        config.HF_METRICS_CACHE = cache / "metrics"


@pytest.fixture(autouse=True)
def _pictures() -> None:
    pass
