"""Train a classifier of texts or of their words with a mixing method; see `--help`. The same as `mixtext-hf train-text`."""

from mixtext_hf.cli.text_tasks import main


if __name__ == "__main__":
    main()
