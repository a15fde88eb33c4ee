"""What the site of the documentation says that the package says of itself: a page a method and a command, the models.

`docstrings.py` reads docstrings, `markdown.py` writes tables and blocks; `methods.py`, `models.py` and `commands.py` make the pages;
`navigation.py` looks at `mkdocs.yml`, and `griffe_extension.py` shows docstrings on the pages of the API.
"""
