"""The version of the package, as its metadata and `config.mixtext` say it, and those of what it stands on."""

from importlib.metadata import PackageNotFoundError, version


__version__ = "0.1.0"


def versions() -> dict[str, str]:
    """The releases that a run depends on."""
    names = ("mixtext-hf", "transformers", "torch", "datasets", "accelerate", "peft")
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # PEFT, and the package itself where it is used from its folder
    return found
