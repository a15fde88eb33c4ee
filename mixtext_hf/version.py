"""The version of the package, as its metadata and `config.mixtext` say it."""

__version__ = "0.1.0"
