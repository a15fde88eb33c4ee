"""Compare methods over seeds and numbers of labels; see `--help`. The same as `mixtext-hf compare`."""

from mixtext_hf.cli.compare import main


if __name__ == "__main__":
    main()
