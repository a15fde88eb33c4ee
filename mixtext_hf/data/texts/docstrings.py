"""An embedded corpus: which library does this docstring document?

Real English text that comes with the scientific Python packages themselves, so that an example needs nothing but the
package index. The texts are read from the installed source files and never by importing: that is fast, has no side
effects and gives the same texts on every machine with the same versions.

Docstrings of functions written in C are found where the libraries keep them as text: in calls such as
`add_newdoc(..., "...")` (numpy, scipy) and `add_docstr(..., "...")` (torch), and in pyarrow's Cython files, which are
installed beside the compiled ones. The ufuncs of numpy keep theirs in compiled code only and are left out.
"""

import ast
import importlib.metadata
import importlib.util
import inspect
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from datasets import ClassLabel, Dataset, Features, Value

from mixtext_hf.data.stratified import hold_out


# All of them come with `pip install 'mixtext-hf[demo]'`.
DEFAULT_PACKAGES = ("numpy", "scipy", "torch", "sklearn", "matplotlib", "networkx", "pyarrow", "huggingface_hub")

_DISTRIBUTIONS = {"sklearn": "scikit-learn", "huggingface_hub": "huggingface-hub"}

# Names that give the answer away, blanked out in all texts whichever library they come from.
_ALIASES = {
    "numpy": ("numpy", "np"),
    "scipy": ("scipy", "sp"),
    "torch": ("torch", "pytorch", "aten"),
    "sklearn": ("sklearn", "scikit-learn", "scikit learn", "scikit"),
    "matplotlib": ("matplotlib", "mpl", "pyplot", "plt", "pylab"),
    "networkx": ("networkx", "nx"),
    "pyarrow": ("pyarrow", "arrow", "pa"),
    "huggingface_hub": ("huggingface_hub", "huggingface.co", "hugging face", "huggingface", "hf", "hub"),
}
_BLANK = "[LIB]"

_SKIPPED_FOLDERS = {"externals", "test", "testing", "tests", "vendored"}
_DOC_CALLS = {"add_newdoc", "add_docstr", "_add_docstr", "add_docstr_all"}

# A definition of a Cython file: the header may span lines, the docstring is the first thing after its colon.
_CYTHON_DOCSTRING = re.compile(
    r"^[ ]*(?:cdef class|class|def|cpdef)\s+(?:\w+\s+)?(?P<name>\w+)[^:\"]*?(?:\([^\"]*?\))?[^:\"]*:[ ]*\n"
    r"\s*[rR]?\"\"\"(?P<doc>.*?)\"\"\"",
    re.MULTILINE | re.DOTALL,
)
_PARAGRAPH = re.compile(r"\n\s*\n")
# The first line of many C docstrings: "sum(a, axis=None) -> ndarray".
_SIGNATURE = re.compile(r"^[\w.]+\(.*\)(\s*->.*)?$", re.DOTALL)
# A heading underlined with dashes, a Google-style section, a directive, a doctest, a table or a list of fields.
_NOT_PROSE = re.compile(r"^[^\n]*\n\s*[-=~^]{3,}|^\w+:\s*$|^\w+:\n|^\.\. |^>>>|^[+|=]|^[:@]\w+|^[-*] ", re.MULTILINE)
_ROLE = re.compile(r":[\w:]+:`([^`]*)`")
_CODE_MARK = re.compile(r"`+")


def docstring_corpus(
    packages: Sequence[str] = DEFAULT_PACKAGES, *, max_per_class: int = 700, test_size: int = 1000, seed: int = 0
) -> tuple[Dataset, Dataset, dict[str, str]]:
    """
    Build the corpus from the installed packages.

    A text is the opening prose of the docstring of a public module, class, function or method: 40 to 600 characters
    and at least 8 words. The names of the default packages are replaced by `[LIB]`. A text that occurs twice is kept once,
    and one that occurs in two libraries is dropped, both before splitting: no text is in train and in test.

    Args:
        packages (`Sequence[str]`, *optional*, defaults to `DEFAULT_PACKAGES`):
            Import names of the packages, one class each, in the order of the class ids.
        max_per_class (`int`, *optional*, defaults to `700`):
            A package with more texts than this is sampled.
        test_size (`int`, *optional*, defaults to `1000`):
            Rows of the test split, which has the class proportions of the whole.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the sample and of the test split. Leave it fixed when the seed of a run changes, so that all runs
            are measured on the same test split.

    Returns:
        `tuple[Dataset, Dataset, dict[str, str]]`: the train and test splits (columns `text` and `label`) and the
        versions of the packages, on which the texts depend.
    """
    if len(packages) < 2:
        raise ValueError(f"`packages` is {tuple(packages)}: a classification task needs at least two.")
    if max_per_class < 1:
        raise ValueError(f"`max_per_class` is {max_per_class}: it must be at least 1.")
    texts = _read_packages(tuple(packages), 2 * max_per_class, seed)
    libraries_with_text = Counter(key for by_key in texts.values() for key in by_key)
    rows: list[dict[str, str | int]] = []
    for label, package in enumerate(packages):
        own = sorted(text for key, text in texts[package].items() if libraries_with_text[key] == 1)
        order = np.random.default_rng([seed, label]).permutation(len(own))[:max_per_class]
        rows += [{"text": own[i], "label": label} for i in order]

    features = Features({"text": Value("string"), "label": ClassLabel(names=list(packages))})
    corpus = Dataset.from_list(rows, features=features)
    if not 1 <= test_size < len(corpus):
        raise ValueError(f"`test_size` is {test_size}, but the corpus has {len(corpus)} texts: it must be smaller.")
    train, test = hold_out(corpus, test_size, seed, label_column="label")
    versions = {package: importlib.metadata.version(_DISTRIBUTIONS.get(package, package)) for package in packages}
    return train, test, versions


@lru_cache(maxsize=1)  # seconds of parsing, the same for every run of a comparison
def _read_packages(packages: tuple[str, ...], enough: int, seed: int) -> dict[str, dict[str, str]]:
    folders = {package: _source_folder(package) for package in packages}
    # Reading stops early in a large package: parsing all of torch takes half as long as the others together.
    return {
        package: _texts(folder, enough, np.random.default_rng([seed, label]))
        for label, (package, folder) in enumerate(folders.items())
    }


def _source_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            f"The docstring corpus reads the package {package!r}, which is not installed: "
            "pip install 'mixtext-hf[demo]', or name your own data with train_file or dataset_name."
        )
    return Path(spec.submodule_search_locations[0])


def _texts(folder: Path, enough: int, rng: np.random.Generator) -> dict[str, str]:
    """At least `enough` texts of one package (or all there are) by their normalised form, from files in random order."""
    texts: dict[str, str] = {}
    files = _source_files(folder)
    for position in rng.permutation(len(files)):
        if len(texts) >= enough:
            break
        path = files[position]
        source = path.read_text(encoding="utf-8")
        for docstring in _python_docstrings(source) if path.suffix == ".py" else _cython_docstrings(source):
            text = _clean(_opening_prose(docstring))
            if 40 <= len(text) <= 600 and len(text.split()) >= 8:
                texts.setdefault(re.sub(r"\W+", " ", text.lower()).strip(), text)
    return texts


def _source_files(folder: Path) -> list[Path]:
    def is_public(path: Path) -> bool:
        folders = path.relative_to(folder).parts[:-1]
        # Private files are read (numpy, scipy and sklearn define their public functions in them), private folders
        # are not, save numpy's core.
        return not any(name in _SKIPPED_FOLDERS or (name.startswith("_") and name != "_core") for name in folders)

    return sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".pyx", ".pxi") and is_public(path))


def _python_docstrings(source: str) -> Iterator[str]:
    def docstrings(node: ast.Module | ast.ClassDef) -> Iterator[str]:
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                if child.name.startswith("_"):
                    continue
                yield ast.get_docstring(child) or ""
                if isinstance(child, ast.ClassDef):
                    yield from docstrings(child)
            elif isinstance(child, ast.Expr | ast.Assign) and isinstance(child.value, ast.Call):
                yield _called_docstring(child.value)

    try:
        with warnings.catch_warnings():
            # An invalid escape in somebody else's string is none of our business.
            warnings.simplefilter("ignore")
            module = ast.parse(source)
    except SyntaxError:
        # Some packages install files for newer Python versions than this one, or templates; they import neither.
        return
    yield ast.get_docstring(module) or ""
    yield from docstrings(module)


def _called_docstring(call: ast.Call) -> str:
    """The text of `add_newdoc(place, name, text)` and its relatives, also of `text.format(...)` inside the call."""
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in _DOC_CALLS and call.args:
            pass
        case _:
            return ""
    strings = [
        node.value
        for node in ast.walk(call.args[-1])
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return inspect.cleandoc(max(strings, key=len, default=""))


def _cython_docstrings(source: str) -> Iterator[str]:
    # Cython is not Python, so `ast` cannot read it.
    for match in _CYTHON_DOCSTRING.finditer(source):
        if not match["name"].startswith("_"):
            yield inspect.cleandoc(match["doc"])


def _opening_prose(docstring: str) -> str:
    """The first paragraph, and the next ones as long as what there is is shorter than 80 characters."""
    paragraphs = [paragraph.strip("\n") for paragraph in _PARAGRAPH.split(docstring.strip(), maxsplit=5)]
    if len(paragraphs) > 1 and _SIGNATURE.match(paragraphs[0]):
        paragraphs = paragraphs[1:]
    prose = ""
    for paragraph in paragraphs:
        if len(prose) >= 80 or _NOT_PROSE.search(paragraph):
            break
        prose = f"{prose} {paragraph}".strip()
    return prose


def _blank_pattern() -> re.Pattern[str]:
    names = sorted({alias for aliases in _ALIASES.values() for alias in aliases}, key=lambda name: (-len(name), name))
    # An underscore ends a name too: "hf_hub_download" and "np_array" would give the answer away as well.
    return re.compile(r"(?<![^\W_])(?:" + "|".join(map(re.escape, names)) + r")(?![^\W_])", re.IGNORECASE)


_LIBRARY_NAMES = _blank_pattern()


def _clean(text: str) -> str:
    text = _ROLE.sub(lambda match: match[1].split("<")[0].strip().rpartition(".")[2].lstrip("~!"), text)
    text = _CODE_MARK.sub("", text)
    return " ".join(_LIBRARY_NAMES.sub(_BLANK, text).split())
