import pytest

from mixtext_hf.data import TextColumns, recognise_columns
from mixtext_hf.data.images.datasets import recognise_image_columns
from mixtext_hf.data.tables.files import resolve_files


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["text", "label"], TextColumns("text", None, "label")),
        (["idx", "sentence", "label"], TextColumns("sentence", None, "label")),
        (["label", "sentence2", "sentence1"], TextColumns("sentence1", "sentence2", "label")),
        (["premise", "hypothesis", "label", "idx"], TextColumns("premise", "hypothesis", "label")),
        (["question", "sentence", "label"], TextColumns("question", "sentence", "label")),
        (["question1", "question2", "label"], TextColumns("question1", "question2", "label")),
        (["question", "label"], TextColumns("question", None, "label")),
        (["text", "text_pair", "labels"], TextColumns("text", "text_pair", "labels")),
        (["text", "coarse_label", "fine_label"], TextColumns("text", None, "coarse_label")),
        (["text", "score", "label"], TextColumns("text", None, "label")),
        (["text", "score"], TextColumns("text", None, "score")),
        (["Text", "Label"], TextColumns("Text", None, "Label")),
        (["title", "content", "label"], TextColumns("content", None, "label")),
    ],
)
def test_usual_names_are_recognised(names: list[str], expected: TextColumns) -> None:
    assert recognise_columns(names) == expected
    assert recognise_columns(reversed(names)) == expected


def test_given_names_win() -> None:
    names = ["text", "body", "label", "rating"]
    assert recognise_columns(names, text="body", label="rating") == TextColumns("body", None, "rating")
    assert recognise_columns(names, text_pair="body") == TextColumns("text", "body", "label")
    # Whoever names one text of a pair wants that one.
    assert recognise_columns(["sentence1", "sentence2", "label"], text="sentence2").text_pair is None


@pytest.mark.parametrize("label", ["toxic,obscene", "toxic, obscene", ["toxic", "obscene"], ("toxic", "obscene")])
def test_several_label_columns(label: str | list[str]) -> None:
    assert recognise_columns(["text", "toxic", "obscene"], label=label).label == ("toxic", "obscene")


def test_label_columns_of_odd_shape() -> None:
    assert recognise_columns(["text", "a"], label=["a"]).label == "a"
    assert recognise_columns(["text", "a,b"], label="a,b").label == "a,b"
    with pytest.raises(ValueError, match=r"empty name.*--label_column"):
        recognise_columns(["text", "a"], label="a,")
    with pytest.raises(ValueError, match=r"names a column twice.*--label_column"):
        recognise_columns(["text", "a"], label="a,a")


@pytest.mark.parametrize(
    ("argument", "given"),
    [
        ("text", {"text": "txt"}),
        ("text_pair", {"text_pair": "txt"}),
        ("label", {"label": "txt"}),
        ("label", {"label": "label,txt"}),
    ],
)
def test_a_given_name_must_exist(argument: str, given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=rf"`{argument}` is 'txt'.*\['text', 'label'\].*--{argument}_column"):
        recognise_columns(["text", "label"], **given)


def test_one_column_cannot_serve_twice() -> None:
    with pytest.raises(ValueError, match=r"both 'text'.*--text_pair_column"):
        recognise_columns(["text", "label"], text="text", text_pair="text")
    with pytest.raises(ValueError, match=r"also a text column.*--label_column"):
        recognise_columns(["text", "label"], text="text", label="text")


@pytest.mark.parametrize(
    "names", [["text", "review", "label"], ["sentence1", "sentence2", "text", "label"], ["a", "b", "label"], ["label"]]
)
def test_a_text_that_is_not_certain_is_an_error(names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"`text` cannot be recognised.*The columns are.*--text_column"):
        recognise_columns(names)


def test_a_label_that_is_not_certain_is_an_error() -> None:
    for names in (["text", "label", "labels"], ["text", "stars", "topic"], ["text", "other"]):
        with pytest.raises(ValueError, match=r"`label` cannot be recognised.*The columns are.*--label_column"):
            recognise_columns(names)
    assert recognise_columns(["text", "other"], require_label=False) == TextColumns("text")


def test_a_table_of_the_other_kind_is_told():
    """Not that a column has no usual name: the table is of images where texts are needed, or the other way round."""
    with pytest.raises(ValueError, match=r"table of images \('image'\), and texts are needed here: .*--text_column"):
        recognise_columns(["image", "label"])
    for names in (["Text", "label"], ["id", "sentence", "label"]):
        with pytest.raises(
            ValueError, match=r"table of texts \('\w+'\), and images are needed here: .*--image_column"
        ):
            recognise_image_columns(names)
    # What is given is taken, and an id may name an image where nothing is a text.
    assert recognise_image_columns(["id", "text"], image="id") == {"image_column": "id"}
    assert recognise_image_columns(["id", "label"])["image_column"] == "id"


def test_images_are_no_tables(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.JPG").write_bytes(b"none")
    for named, said in ((tmp_path, "is a folder of images"), (tmp_path / "cat" / "a.JPG", "is an image")):
        with pytest.raises(ValueError, match=f"`FILE`: .* {said}, and a table is needed here"):
            resolve_files("FILE", str(named))
    (tmp_path / "cat" / "a.JPG").unlink()
    with pytest.raises(ValueError, match=r"is a folder\. Name its files"):
        resolve_files("FILE", str(tmp_path))
    (tmp_path / "b.csv.gz").write_bytes(b"")
    (tmp_path / "a.txt.zip").write_bytes(b"")
    with pytest.raises(ValueError, match=r"Name its files, for example .*/\*\.csv\.gz\.$"):
        resolve_files("FILE", str(tmp_path))
