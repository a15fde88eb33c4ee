"""Shared by all tests: no network, few threads, and the switches that must be set before the libraries are imported.

`--device cuda` runs the tests marked `gpu` as well; without it no test sees a GPU, so that what one machine finds another does.
`--deep` runs the tests marked `deep` as well, and `--hypothesis-profile=deep` all examples of the others: see `README.md` here.
"""

import gc
import os


os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest
from hypothesis import settings
from pixel import save_one_pixel
from timm_models import timm as timm


# Nothing heavy is imported here: with several workers, the process that hands out the tests needs none of it.

# What `depth.examples` multiplies.
settings.register_profile("fast", max_examples=20, deadline=None)
settings.register_profile("deep", max_examples=100, deadline=None)
settings.load_profile("fast")

# Begun first, so that none of them is left to one process at the end while the others have nothing to do.
_LONGEST = (
    "test_train_text.py",
    "test_compare.py",
    "test_tickets.py",
    "test_unlabeled.py",
    "test_checkpoint.py",
    "test_push.py",
    "test_guesses.py",
    "test_benchmark.py",
    "test_agreeing.py",
    "test_images.py",
    "test_faults.py",
)
_VISIBLE = "CUDA_VISIBLE_DEVICES"


def pytest_addoption(parser):
    parser.addoption("--device", choices=("cpu", "cuda"), default="cpu", help="where the tests that can choose run")
    parser.addoption("--deep", action="store_true", help="the tests marked `deep` as well")


def pytest_configure(config):
    before = os.environ.get(_VISIBLE)
    # torch looks when it is first asked for a GPU, processes that tests start at once. One is enough: a process that sees
    # several is refused.
    os.environ[_VISIBLE] = "" if config.getoption("device") == "cpu" else (before or "0").split(",")[0]

    def restore():
        if before is None:
            del os.environ[_VISIBLE]
        else:
            os.environ[_VISIBLE] = before

    config.add_cleanup(restore)


def pytest_collection_modifyitems(config, items):
    if not config.getoption("deep"):
        deep = [item for item in items if "deep" in item.keywords]
        config.hook.pytest_deselected(items=deep)
        items[:] = [item for item in items if "deep" not in item.keywords]
    order = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))
    asked = config.getoption("device") == "cuda"
    if asked and _sees_a_gpu():
        return
    reason = "needs a GPU, and torch sees none" if asked else "needs a GPU: --device cuda"
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason=reason))


def _sees_a_gpu():
    import torch

    return torch.cuda.is_available()


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """The models are tiny: threads only get in each other's way."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="module")
def _frozen():
    """
    What is imported by now is left out when garbage is collected: it stays to the end, and each training collects (0.3 s over half a
    million objects, 0.01 s without them).
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def device(pytestconfig):
    """Where tests of tensors run that can do so anywhere."""
    import torch

    name = pytestconfig.getoption("device")
    if name == "cuda" and not _sees_a_gpu():
        pytest.skip("--device cuda, and torch sees no GPU")
    return torch.device(name)


@pytest.fixture(autouse=True)
def _seeded():
    import torch

    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _bars():
    """Commands set up the bars of their process, and what transformers says in it: here it is that of all tests."""
    import datasets
    from transformers.utils import logging as hf_logging

    # A command of a fixture that is shared may have asked for less.
    hf_logging.set_verbosity_warning()
    yield
    hf_logging.set_tqdm_hook(None)
    hf_logging.enable_progress_bar()
    datasets.enable_progress_bars()


@pytest.fixture(autouse=True)
def _pictures(request, monkeypatch):
    """Drawing is half of a tiny run. Only tests that look at pictures, or are the one of a command to its end, draw them."""
    if "pictures" not in request.keywords:
        monkeypatch.setattr("matplotlib.figure.Figure.savefig", save_one_pixel)
