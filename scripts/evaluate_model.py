"""Measure a trained classifier and write a report; see `--help`. The same as `mixtext-hf evaluate`."""

from mixtext_hf.cli.evaluate import main


if __name__ == "__main__":
    main()
