"""Pictures of what each method makes of two images and of two texts; see `--help`. The same as `mixtext-hf show-mixes`."""

from mixtext_hf.cli.show_mixes import main


if __name__ == "__main__":
    main()
