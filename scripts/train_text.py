"""Train a text classifier with a mixing method; see `--help`. The same as `mixtext-hf train-text`."""

from mixtext_hf.cli.train_text import main


if __name__ == "__main__":
    main()
