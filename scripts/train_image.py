"""Train a classifier of images with a mixing method; see `--help`. The same as `mixtext-hf train-image`."""

from mixtext_hf.cli.train_image import main


if __name__ == "__main__":
    main()
