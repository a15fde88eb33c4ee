"""`python -m mixtext_hf`: the command `mixtext-hf`, where scripts are not on the path."""

from mixtext_hf.cli.main import main


if __name__ == "__main__":
    main()
