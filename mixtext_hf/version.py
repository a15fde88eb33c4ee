"""The version of the package, as its metadata and `config.mixtext` say it, and those of what it stands on."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version


__version__ = "0.1.0"


def versions() -> dict[str, str]:
    """The releases that a run depends on."""
    names = ("mixtext-hf", "transformers", "torch", "datasets", "accelerate", "peft")
    found = {name: _release(name) for name in names}
    return {name: release for name, release in found.items() if release is not None}


@cache  # asked at every checkpoint, and each time the metadata of the package is parsed
def _release(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None  # PEFT, and the package itself where it is used from its folder
