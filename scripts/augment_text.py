"""Write other wordings of texts beside them; see `--help`. The same as `mixtext-hf augment-text`."""

from mixtext_hf.cli.augment_text import main


if __name__ == "__main__":
    main()
