"""Sentences of words: files of a word a line with all that stands in them, tables, labels at first pieces."""

import gzip

import pytest
import torch
from datasets import ClassLabel, Dataset, Features, List, Value
from sentences import TAGS, conll, piece_tokenizer, sentences

from mixtext_hf.data.tables.text_encoding import Unreadable
from mixtext_hf.data.tokens.collator import WORD_STARTS, TokenCollator
from mixtext_hf.data.tokens.conll import read_conll
from mixtext_hf.data.tokens.datasets import load_token_datasets
from mixtext_hf.data.tokens.neighbours import PairedRows, nearest_rows


TOKENIZER = piece_tokenizer()


# ---- files of a word a line ----


def read(tmp_path, text, **how):
    path = tmp_path / "a.conll"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    table = read_conll(path, **how)
    return table.column("tokens").to_pylist(), table.column(
        "ner_tags"
    ).to_pylist() if "ner_tags" in table.column_names else None


TWO = ([["Anna", "came"], ["Oslo"]], [["B-PER", "O"], ["B-LOC"]])


@pytest.mark.parametrize(
    "text",
    [
        "Anna B-PER\ncame O\n\nOslo B-LOC\n",
        "Anna\tB-PER\ncame\tO\n\nOslo\tB-LOC",
        "\ufeffAnna B-PER\r\ncame O\r\n\r\n\r\nOslo B-LOC\r\n",
        "Anna B-PER\rcame O\r\rOslo B-LOC\r",
        "\n\n-DOCSTART- -X- -X- O\n\nAnna B-PER\ncame O\n-DOCSTART- O\nOslo B-LOC\n \t \n",
        "# id 5 domain = train\nAnna B-PER\ncame O\n\n# id 6 of = it\nOslo B-LOC\n",
        "Anna NNP x B-PER\ncame VB y O\n\nOslo NNP z B-LOC\n",
        "Anna  B-PER\n came   O \n\nOslo B-LOC\n".encode("utf-16"),
    ],
    ids=["blanks", "tabs, no end", "BOM, CRLF", "CR", "DOCSTART", "comments", "four columns", "UTF-16"],
)
def test_the_same_sentences_however_they_are_written(tmp_path, text):
    assert read(tmp_path, text) == TWO


def test_columns_and_packing(tmp_path):
    assert read(tmp_path, "Anna B-PER NNP\n", tag_column=2) == ([["Anna"]], [["B-PER"]])
    assert read(tmp_path, "New York\tB-LOC\n# \tO\n") == ([["New York", "#"]], [["B-LOC", "O"]])
    assert read(tmp_path, "# O\n1 B-X\n") == ([["#", "1"]], [["O", "B-X"]])
    assert read(tmp_path, "Anna\ncame\n") == ([["Anna", "came"]], None)
    assert read(tmp_path, "Zoë\xa0\u2028x O\n") == ([["Zoë\xa0\u2028x"]], [["O"]])
    path = tmp_path / "a.conll.gz"
    path.write_bytes(gzip.compress(b"Anna B-PER\n"))
    assert read_conll(path).column("tokens").to_pylist() == [["Anna"]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Anna B-PER\ncame\n", "line 2 has 1 column, and the lines before it have 2: 'came'"),
        ("Anna B-PER\n\nOslo B-LOC x\n", "line 3 has 3 columns"),
        ("Anna\tB-PER\ncame O\n", "line 2 has 1 column .it has blanks where the others have tabs."),
        ("Anna\tB-PER\ncame\t\n", "column 2 of line 2 is empty"),
        ("Anna\tB-PER\n\tO\n", "column 1 of line 2 is empty"),
        ("\n-DOCSTART- O\n\n", "it has no sentence"),
        (
            "# text = a\n1\tAnna\tB-PER\n2-3\tcame\tO\n\n1\tOslo\tB-LOC\n",
            "its first column counts the words of each sentence",
        ),
        (b"Anna B-PER\n\xe9 O\n", "line 2 is not utf-8"),
    ],
)
def test_lines_that_are_wrong_are_named(tmp_path, text, said):
    with pytest.raises(Unreadable, match=said):
        read(tmp_path, text)


@pytest.mark.parametrize("column", [0, 1, 3])
def test_a_tag_column_that_is_not_there(tmp_path, column):
    with pytest.raises(Unreadable, match=f"--tag_column {column} is none of tags: name one from 2 to 2"):
        read(tmp_path, "Anna B-PER\n", tag_column=column)


# ---- data sets ----


def test_the_same_data_from_lines_and_from_tables(tmp_path):
    rows = sentences(12)
    named = [{"tokens": row["tokens"], "ner_tags": [TAGS[tag] for tag in row["ner_tags"]]} for row in rows]
    features = Features({"words": List(Value("string")), "tags": List(ClassLabel(names=TAGS))})
    Dataset.from_list(named).to_json(tmp_path / "b.jsonl")
    Dataset.from_dict(
        {"words": [row["tokens"] for row in rows], "tags": [row["ner_tags"] for row in rows]}, features=features
    ).to_parquet(tmp_path / "c.parquet")
    found = [
        load_token_datasets(train_file=file)
        for file in (conll(tmp_path / "a.iob2", rows), str(tmp_path / "b.jsonl"), str(tmp_path / "c.parquet"))
    ]
    for data in found:
        assert data.label_names == TAGS and data.num_labels == 3
        assert data.train["tokens"][:] == [row["tokens"] for row in rows]
        assert data.train["label"][:] == [row["ner_tags"] for row in rows]


def test_few_sentences_are_chosen_by_the_seed(tmp_path):
    file = conll(tmp_path / "a.conll", sentences(20))
    one, same, other = (load_token_datasets(train_file=file, labeled_sentences=5, seed=seed) for seed in (1, 1, 2))
    assert one.train["tokens"][:] == same.train["tokens"][:] != other.train["tokens"][:]
    assert (len(one.train), len(one.rest), len(one.unlabeled)) == (5, 15, 15)
    assert one.unlabeled.column_names == ["tokens"]
    assert one.source["labeled_sentences"] == 5 and one.source["sizes"]["train"] == 5
    without = load_token_datasets(train_file=file, labeled_sentences=5, unlabeled_file=file)
    assert len(without.unlabeled) == 20


def test_tags_of_a_trained_model_keep_their_ids(tmp_path):
    file = conll(tmp_path / "a.conll", sentences(6))
    data = load_token_datasets(test_file=file, label_names=["I-PER", "O", "B-PER"])
    assert data.test["test"]["label"][0] == [[1, 2, 0][tag] for tag in sentences(6)[0]["ner_tags"]]
    with pytest.raises(ValueError, match=r"Row 0 of the split 'test' has the tag .*, and the model has"):
        load_token_datasets(test_file=file, label_names=["B-ORG", "I-ORG"])


def test_data_that_is_wrong_is_named(tmp_path):
    def table(**columns):
        path = tmp_path / f"{abs(hash(str(columns)))}.parquet"
        Dataset.from_dict(columns).to_parquet(path)
        return str(path)

    file = conll(tmp_path / "a.conll", sentences(6))
    for said, arguments in {
        "Row 1 of the split 'train' has 1 words and 2 tags": {
            "train_file": table(tokens=[["a"], ["b"]], ner_tags=[["O"], ["O", "O"]])
        },
        "The column 'label' holds int64, and sentences are lists": {
            "test_file": table(tokens=[["a"]], label=[1]),
            "label_names": ["O", "B-X"],
        },
        "`labeled_sentences` is 2, but the training split has 1 sentences with tags": {
            "train_file": table(tokens=[["a"], ["b"], ["c"]], ner_tags=[["O"], [None], None]),
            "labeled_sentences": 2,
        },
        "Row 1 of the split 'train' has the words": {"train_file": table(tokens=[["a"], []], ner_tags=[["O"], []])},
        "are int64 without names": {"train_file": table(tokens=[["a"]], ner_tags=[[1]])},
        "holds string, and sentences are lists": {"train_file": table(tokens=["a b"], ner_tags=[["O"]])},
        "No column of tags was found": {"train_file": table(tokens=[["a"]], other=[1])},
        "--tags_column x: there is no such column": {
            "train_file": table(tokens=[["a"]], y=[["O"]]),
            "tags_column": "x",
        },
        "has the suffix '.csv'": {"train_file": str(tmp_path / "a.csv")},
        "--tag_column 2 counts the columns": {"train_file": table(tokens=[["a"]], ner_tags=[["O"]]), "tag_column": 2},
        "a.conll' could not be read: its lines have 2": {"train_file": file, "tag_column": 5},
        "`labeled_sentences` is 7, but the training split has 6": {"train_file": file, "labeled_sentences": 7},
        "`labeled_sentences` is 7, but there is no training": {"test_file": file, "labeled_sentences": 7},
        "no embedded example": {},
        "there is no file": {"train_file": str(tmp_path / "none.conll")},
        "some of the files have tags": {"train_file": [file, str(tmp_path / "words.txt")]},
    }.items():
        (tmp_path / "a.csv").write_text("tokens,tags\n")
        (tmp_path / "words.txt").write_text("a\nb\n")
        with pytest.raises((ValueError, FileNotFoundError), match=said.replace("(", r"\(")):
            load_token_datasets(**arguments)


def test_labels_that_are_hidden_are_none(tmp_path):
    features = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=TAGS))})
    path = str(tmp_path / "a.parquet")
    Dataset.from_dict({"tokens": [["a", "b"], ["c"]], "ner_tags": [[2, -1], [0]]}, features=features).to_parquet(path)
    assert load_token_datasets(train_file=path).train["label"][:] == [[2, None], [0]]


def test_few_sentences_are_chosen_among_those_with_tags(tmp_path):
    path = str(tmp_path / "a.parquet")
    tags = [["O"] if number % 3 else None for number in range(12)]
    Dataset.from_dict({"tokens": [["a"]] * 12, "ner_tags": tags}).to_parquet(path)
    data = load_token_datasets(train_file=path, labeled_sentences=8)
    assert data.train["label"][:] == [[0]] * 8 and data.rest["label"][:] == [None] * 4


def test_the_column_of_tags_is_of_files_that_have_some(tmp_path):
    (tmp_path / "a.conll").write_text("a B-PER NNP\nb O VB\n")
    (tmp_path / "words.txt").write_text("a\nb\n")
    words = str(tmp_path / "words.txt")
    data = load_token_datasets(
        train_file=str(tmp_path / "a.conll"), tag_column=2, unlabeled_file=words, test_file=words
    )
    assert data.label_names == ["O", "B-PER"] and data.unlabeled["tokens"][:] == [["a", "b"]]
    assert data.test["test"].column_names == ["tokens"]


# ---- batches ----


def test_labels_stand_at_the_first_piece_of_a_word():
    rows = [{"tokens": ["abc", "d", "ef"], "ner_tags": [1, 0, 2]}, {"tokens": ["a"], "ner_tags": [0]}]
    batch = TokenCollator(TOKENIZER)(rows)
    assert batch["labels"].tolist() == [[-100, 1, -100, -100, 0, 2, -100, -100], [-100, 0] + [-100] * 6]
    assert batch["attention_mask"].sum(dim=1).tolist() == [8, 3] and WORD_STARTS not in batch


def test_words_that_are_cut_are_counted():
    rows = [{"tokens": ["abc", "d", "ef"], "ner_tags": [1, 0, 2]}, {"tokens": ["a"], "ner_tags": [0]}]
    collator = TokenCollator(TOKENIZER, text_column="tokens", max_length=6)
    assert collator(rows)["labels"].tolist() == [[-100, 1, -100, -100, 0, -100], [-100, 0, -100, -100, -100, -100]]
    assert collator.cut_words(rows) == 1
    assert collator.places(rows) == [[1, 4, None], [1]]


def test_ready_rows_are_padded_with_their_labels():
    rows = [
        {"input_ids": [2, 5, 6, 3], "labels": [-100, 1, 0, -100]},
        {"input_ids": [2, 5, 3], "labels": [None, 2, -100]},
    ]
    batch = TokenCollator(TOKENIZER)(rows)
    assert batch["labels"].tolist() == [[-100, 1, 0, -100], [-100, 2, -100, -100]]
    assert batch["input_ids"].shape == (2, 4)


def test_a_row_that_lacks_the_column_has_no_labels():
    batch = TokenCollator(TOKENIZER)([{"tokens": ["a"], "ner_tags": [1]}, {"tokens": ["a"]}])
    assert batch["labels"].tolist() == [[-100, 1, -100], [-100] * 3]


def test_rows_without_labels_say_where_words_begin():
    rows = [{"tokens": ["ab", "c"], "ner_tags": [1, None]}, {"tokens": ["c", "ab"], "ner_tags": -100}]
    batch = TokenCollator(TOKENIZER)(rows)
    assert batch["labels"].tolist() == [[-100, 1, -100, -100, -100], [-100] * 5]
    assert batch[WORD_STARTS].tolist() == [[False, True, False, True, False], [False, True, True, False, False]]


@pytest.mark.parametrize(
    ("row", "error", "said"),
    [
        ({"tokens": ["a", "b"], "ner_tags": [1]}, ValueError, "holds 1 labels for 2 words in row 0"),
        ({"tokens": ["a"], "ner_tags": ["O"]}, TypeError, "labels of tokens are class ids"),
        ({"tokens": ["a"], "ner_tags": 3}, ValueError, "must be a list with a class id for each of the 1 words"),
        ({"tokens": ["a", 3], "ner_tags": [1, 1]}, TypeError, "the word 3 .int. in row 0"),
        ({"tokens": [], "ner_tags": []}, ValueError, "a sentence is a list of one word or more"),
        ({"text": "a b"}, ValueError, "No column of words"),
    ],
)
def test_rows_that_are_wrong_are_named(row, error, said):
    with pytest.raises(error, match=said):
        TokenCollator(TOKENIZER)([row])


def test_tokenizers_that_cannot_tell_words_are_refused():
    left = piece_tokenizer()
    left.padding_side = "left"
    with pytest.raises(ValueError, match="pads on the left"):
        TokenCollator(left)


# ---- partners ----


def test_the_nearest_rows_are_those_of_the_largest_cosine():
    generator = torch.Generator().manual_seed(0)
    features = torch.nn.functional.normalize(torch.randn(30, 5, generator=generator), dim=1)
    found = nearest_rows(features.numpy(), 4)
    for row in range(30):
        others = sorted((-float(features[row] @ features[other]), other) for other in range(30) if other != row)
        assert set(found[row]) == {other for _, other in others[:4]}
    assert nearest_rows(features[:3].numpy(), 9).shape == (3, 2)


def test_partners_are_counted_near_or_any_and_never_the_row_itself():
    nearest = nearest_rows(torch.eye(6).numpy(), 2)
    rows = PairedRows(list(range(6)), nearest, mu=1.0, seed=0)
    assert all(rows.partner_of(row, epoch) in nearest[row] for row in range(6) for epoch in range(20))
    any_row = PairedRows(list(range(6)), nearest, mu=0.0, seed=0)
    drawn = [[any_row.partner_of(row, epoch) for epoch in range(60)] for row in range(6)]
    assert all(set(partners) == set(range(6)) - {row} for row, partners in enumerate(drawn))
    assert any_row.partner_of(2, 3) == PairedRows(list(range(6)), nearest, 0.0, 0).partner_of(2, 3)
