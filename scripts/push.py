"""Push the folder of a trained model to the Hub; see `--help`. The same as `mixtext-hf push`."""

from mixtext_hf.cli.push import main


if __name__ == "__main__":
    main()
