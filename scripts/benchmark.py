"""Time and memory of each method against a plain step; see `--help`. The same as `mixtext-hf benchmark`."""

from mixtext_hf.cli.benchmark.command import main


if __name__ == "__main__":
    main()
