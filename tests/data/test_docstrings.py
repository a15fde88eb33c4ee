import importlib.metadata
import importlib.util
import re
from collections import Counter
from pathlib import Path

import pytest
from datasets import Dataset

from mixtext_hf.data import DEFAULT_PACKAGES, docstring_corpus
from mixtext_hf.data.texts import docstrings as module


Corpus = tuple[Dataset, Dataset, dict[str, str]]


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """A tenth of it: the first files of every package hold enough."""
    return docstring_corpus(max_per_class=70, test_size=100)


@pytest.mark.deep
def test_the_whole_corpus_is_as_large_as_results_say() -> None:
    train, test, _ = whole = docstring_corpus()
    assert len(test) == 1000 and len(train) + len(test) >= 4000
    check_balance(whole, 700)
    check_prose(whole)


def test_size_and_balance(corpus: Corpus) -> None:
    assert len(corpus[1]) == 100
    check_balance(corpus, 70)


def check_balance(corpus: Corpus, most: int) -> None:
    train, test, versions = corpus
    assert train.features["label"].names == list(DEFAULT_PACKAGES) == list(versions)
    for split in (train, test):
        counts = Counter(split["label"])
        assert set(counts) == set(range(8))
        assert max(counts.values()) < 2 * min(counts.values())
    both = Counter(train["label"]) + Counter(test["label"])
    assert max(both.values()) <= most


def test_no_text_is_in_train_and_test_or_twice(corpus: Corpus) -> None:
    texts = [re.sub(r"\W+", " ", text.lower()).strip() for split in corpus[:2] for text in split["text"]]
    assert len(set(texts)) == len(texts)


def test_texts_are_prose_without_the_answer(corpus: Corpus) -> None:
    check_prose(corpus)


def check_prose(corpus: Corpus) -> None:
    giveaway = re.compile(r"numpy|scipy|torch(?!\w)|sklearn|scikit|matplotlib|networkx|pyarrow|hugging", re.IGNORECASE)
    for text in [*corpus[0]["text"], *corpus[1]["text"]]:
        assert 40 <= len(text) <= 600
        assert len(text.split()) >= 8
        assert text == " ".join(text.split())
        # Inside a longer word ("numpydoc") the name may stay; as a word of its own it may not.
        assert not re.search(rf"(?<![A-Za-z0-9])(?:{giveaway.pattern})(?![A-Za-z0-9])", text, re.IGNORECASE), text


def test_it_is_a_pure_function_of_the_seed() -> None:
    first = docstring_corpus(("networkx", "pyarrow"), max_per_class=150, test_size=50)
    again = docstring_corpus(("networkx", "pyarrow"), max_per_class=150, test_size=50)
    other = docstring_corpus(("networkx", "pyarrow"), max_per_class=150, test_size=50, seed=1)
    assert [split.to_dict() for split in first[:2]] == [split.to_dict() for split in again[:2]]
    assert set(first[1]["text"]) != set(other[1]["text"])
    assert set(Counter(first[0]["label"]) + Counter(first[1]["label"])) == {0, 1}


def test_a_missing_library_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "networkx" else find_spec(name))
    with pytest.raises(ImportError, match=r"'networkx'.*pip install 'mixtext-hf\[demo\]'"):
        docstring_corpus()


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="`packages`"):
        docstring_corpus(("networkx",))
    with pytest.raises(ValueError, match="`max_per_class` is 0"):
        docstring_corpus(max_per_class=0)
    with pytest.raises(ValueError, match=r"`test_size` is 40.*20 texts"):
        docstring_corpus(("networkx", "pyarrow"), max_per_class=10, test_size=40)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("See :func:`~numpy.linalg.norm` of `numpy.ndarray`.", "See norm of [LIB].ndarray."),
        ("NumPy's and np.array, nx.Graph", "[LIB]'s and [LIB].array, [LIB].Graph"),
        ("hf_hub_download from the Hub,\n  twice", "[LIB]_[LIB]_download from the [LIB], twice"),
        ("scikit-learn, pytorch and torchvision", "[LIB], [LIB] and torchvision"),
        (":class:`title <pkg.Thing>` stays", "title stays"),
        ("An input, a map: nothing is blanked", "An input, a map: nothing is blanked"),
    ],
)
def test_names_and_markup_are_taken_out(raw: str, clean: str) -> None:
    assert module._clean(raw) == clean


def test_docstrings_of_python_source() -> None:
    source = '''"""Module."""
class Public:
    """Class."""
    def method(self):
        """Method."""
    def _hidden(self):
        """No."""
class _Private:
    """No."""
    def method(self):
        """No."""
async def function():
    """Function."""
add_newdoc("place", "name", """
    Long text of a C function.
    """)
alias = _C.add_docstr(target, r"""Formatted {x} text.""".format(**{"a": "b"}))
print("not a docstring at all")
'''
    found = [text for text in module._python_docstrings(source) if text]
    assert found == ["Module.", "Class.", "Method.", "Function.", "Long text of a C function.", "Formatted {x} text."]
    assert list(module._python_docstrings("this is no Python {{")) == []


def test_docstrings_of_cython_source() -> None:
    source = '''
cdef class Table(_Base):
    """Table of columns."""
    def slice(self, offset=0,
              length=None):
        r"""Take a slice."""
    def _hidden(self):
        """No."""
    def plain(self):
        x = """not one"""
cpdef Table concat(tables):
    """
    Join tables.
    """
'''
    assert list(module._cython_docstrings(source)) == ["Table of columns.", "Take a slice.", "Join tables."]


@pytest.mark.parametrize(
    ("docstring", "prose"),
    [
        ("sum(a, axis=None)\n\nAdd things up.\n\nParameters\n----------\na : int", "Add things up."),
        ("Short.\n\nMore of it.\n\n>>> code", "Short. More of it."),
        ("Short.\n\nArgs:\n    x: a thing", "Short."),
        ("Short.\n\n.. versionadded:: 1", "Short."),
        ("A first paragraph that is as long as eighty characters is enough all by itself, truly.\n\nMore.",
         "A first paragraph that is as long as eighty characters is enough all by itself, truly."),
    ],
)  # fmt: skip
def test_opening_prose(docstring: str, prose: str) -> None:
    assert module._opening_prose(docstring) == prose


def test_a_text_of_two_libraries_is_dropped_and_nothing_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = "A sentence of quite enough words that both of them carry."
    own = [f"Sentence number {number} of quite enough words of its own library" for number in ("one", "two", "six")]
    for name, docs in {"lib_a": [shared, own[0], own[0].upper(), own[1]], "lib_b": [shared + "!", own[2]]}.items():
        (tmp_path / name / "tests").mkdir(parents=True)
        functions = "\n".join(f'def f{i}():\n    """{doc}"""' for i, doc in enumerate(docs))
        # Reading must not import.
        (tmp_path / name / "__init__.py").write_text(f"{functions}\nraise RuntimeError")
        (tmp_path / name / "tests" / "test_x.py").write_text(
            '"""A docstring of a test that nobody should ever read."""'
        )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.0")
    train, test, versions = docstring_corpus(("lib_a", "lib_b"), test_size=1)
    assert sorted([*train["text"], *test["text"]]) == sorted(own)
    assert versions == {"lib_a": "1.0", "lib_b": "1.0"}
