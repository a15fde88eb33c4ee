"""`augment-text` from files to the file it writes, whenever it is killed, and every wrong input it must refuse."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from filelock import FileLock
from forks import FORK
from table_files import write_table
from translators import WORDS, save_marian

from mixtext_hf.cli.augment_text import main
from mixtext_hf.data.tables.files import read_files
from mixtext_hf.data.texts import augment_file as augment_file_module
from mixtext_hf.data.texts.augment_file import AugmentSettings, augment_file
from mixtext_hf.data.texts.augmenters import SpanSwap, WordDropout
from mixtext_hf.data.texts.back_translation import Translator, back_translate


FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["spam", "ham"]), "id": Value("int32")})


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def translators(tmp_path_factory) -> list[str]:
    """The arguments that name random translators of de and ru, in both directions."""
    folder = tmp_path_factory.mktemp("translators")
    for seed, name in enumerate(("en-de", "de-en", "en-ru", "ru-en")):
        save_marian(folder / name, seed, longest=6, num_beams=2, bad_words_ids=[[0], [2]])
    return [f"--forward_model={folder}/en-{{lang}}", f"--backward_model={folder}/{{lang}}-en"]


def rows(count: int, seed: int = 0) -> list[dict]:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(2, 6, count)
    return [
        {"text": " ".join(generator.choice(WORDS, length)), "label": i % 2, "id": 100 + i}
        for i, length in enumerate(lengths)
    ]


def ids(count: int) -> list[int]:
    return list(range(100, 100 + count))


@pytest.fixture
def texts(tmp_path) -> str:
    return write_table(tmp_path / "texts.parquet", rows(23), FEATURES)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, translators) -> Path:
    """What a run that is never stopped makes of the texts."""
    folder = tmp_path_factory.mktemp("whole")
    texts = write_table(folder / "texts.csv", rows(23))
    main([*command(texts, folder / "whole.parquet", translators), f"--cache_dir={folder}"])
    return folder / "whole.parquet"


VIEWS = ["--back_translate", "de", "ru", "--augmenters", "word_dropout:0.3", "span_swap"]
COLUMNS = ["back_translation_de", "back_translation_ru", "word_dropout", "span_swap"]
SIZES = ["--chunk_size=4", "--batch_size=3"]


def command(texts: str, out: Path, translators: list[str], *others: str) -> list[str]:
    return [f"--input_file={texts}", f"--output_file={out}", *VIEWS, *SIZES, "--seed=7", *translators, *others]


def read(path: Path) -> Dataset:
    return read_files("input_file", [path])


# ---- from files to the file ----


def test_every_view_of_every_text(tmp_path, texts, translators, capsys):
    out = tmp_path / "new" / "folder" / "out.parquet"
    main(command(texts, out, translators))
    captured = capsys.readouterr()
    assert captured.out == f"{out}: 23 texts with the new columns {', '.join(COLUMNS)}.\n"
    assert "augment-text: 100%" in captured.err and "23/23" in captured.err and "texts/s" in captured.err
    assert [path.name for path in out.parent.iterdir()] == ["out.parquet"]

    result, before = read(out), read(Path(texts))
    assert result.column_names == ["text", "label", "id", *COLUMNS]
    assert result.features == Features({**FEATURES, **dict.fromkeys(COLUMNS, Value("string"))})
    assert result.remove_columns(COLUMNS)[:] == before[:]
    assert result.features["label"].names == ["spam", "ham"]

    # Each column is what the functions of `data` make of the texts.
    forward, backward = ([flag.split("=")[1] for flag in translators][i] for i in (0, 1))
    for number, lang in enumerate(("de", "ru"), start=1):
        pair = [Translator(pattern.replace("{lang}", lang), batch_size=3) for pattern in (forward, backward)]
        for chunk, start in enumerate(range(0, 23, 4)):
            expected = back_translate(before[start : start + 4]["text"], *pair, seed=[7, chunk, number])
            given = result[start : start + 4]
            expected = [new or text for new, text in zip(expected, given["text"], strict=True)]
            assert given[f"back_translation_{lang}"] == expected
    for number, augmenter in ((3, WordDropout(0.3)), (4, SpanSwap())):
        for row, text in enumerate(before["text"]):
            rng = np.random.default_rng([7, 0, row, number])
            assert result[row][augmenter.name] == augmenter(text, rng)
    for column in COLUMNS:
        assert sum(new != text for new, text in zip(result[column], before["text"], strict=True)) > 10


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_other_files_and_no_model(tmp_path, suffix):
    content = [{"id": str(i), "sentence": f'one two, "three"\nnumber {i}'} for i in range(3)]
    first = tmp_path / f"a.{suffix}"
    write_table(first, content)
    (tmp_path / f"b.{suffix}").write_bytes(first.read_bytes())
    out = tmp_path / "out.parquet"
    main([f"--input_file={tmp_path}/*.{suffix}", f"--output_file={out}", "--augmenters", "word_swap"])
    result = read(out)
    assert result.column_names == ["id", "sentence", "word_swap"] and len(result) == 6
    assert result["sentence"][:] == [row["sentence"] for row in content] * 2
    for text, view in zip(result["sentence"], result["word_swap"], strict=True):
        assert sorted(view.split()) == sorted(text.split()) and view != text


def test_called_from_python(tmp_path):
    texts = write_table(tmp_path / "texts.csv", rows(9))
    out = tmp_path / "out.parquet"
    reported = augment_file(texts, str(out), augmenters=["span_swap"], seed=3)
    assert not reported and read(out)["span_swap"][:] == [
        SpanSwap()(text, np.random.default_rng([3, 0, row, 1])) for row, text in enumerate(read(Path(texts))["text"])
    ]
    with pytest.raises(ValueError, match=r"output_file .* exists already"):
        augment_file(texts, str(out), augmenters=["span_swap"])


def test_files_in_another_dialect(tmp_path, capsys):
    path, out = tmp_path / "a.csv", tmp_path / "out.parquet"
    path.write_bytes("id;text\n007;ça va\n008;où est-il\n".encode("latin-1"))
    flags = [f"--input_file={path}", f"--output_file={out}", "--augmenters", "word_swap"]
    with pytest.raises(SystemExit) as ended:
        main(flags)
    assert ended.value.code == 2 and "0xE7 in line 2" in capsys.readouterr().err and not out.exists()
    main([*flags, "--encoding=latin-1"])
    assert read(out)[:] == {"id": ["007", "008"], "text": ["ça va", "où est-il"], "word_swap": ["va ça", "est-il où"]}
    path.write_bytes(b"id^text\n007^1\n008^2\n")
    main([*flags, "--delimiter=^", "--overwrite_output_file"])
    assert read(out)["text"][:] == ["1", "2"]


def test_many_chunks_are_written_in_order(tmp_path, monkeypatch):
    """More chunks than are written at a time, and a last one that is not full."""
    monkeypatch.setattr(augment_file_module, "_ROWS_AT_A_TIME", 10)
    texts = write_table(tmp_path / "texts.parquet", rows(47), FEATURES)
    results = []
    for size in (1, 3, 20, 500):
        out = tmp_path / f"{size}.parquet"
        main([f"--input_file={texts}", f"--output_file={out}", "--augmenters", "span_swap", f"--chunk_size={size}"])
        results.append(read(out)[:])
        assert pq.ParquetFile(out).num_row_groups == {1: 5, 3: 6, 20: 3, 500: 1}[size]
    assert results[0]["id"] == ids(47)
    assert all(result == results[0] for result in results)


def test_empty_and_long_texts(tmp_path, translators, capsys):
    content = ["", "w1", "  ", " ".join(WORDS), "w2 w3"]
    texts = write_table(tmp_path / "texts.parquet", [{"text": text} for text in content])
    out = tmp_path / "out.parquet"
    main(command(texts, out, translators))
    result = read(out)
    for column in COLUMNS:
        views = result[column][:]
        assert (views[0], views[2]) == ("", "  ") and all(views[i] for i in (1, 3, 4))
    assert result["word_dropout"][1] == "w1"
    notes = capsys.readouterr().err.splitlines()
    for lang in ("de", "ru"):
        said = f"1 texts were longer than 6 tokens and were cut on the way there (back_translation_{lang})."
        assert notes.count(said) == 1


def test_a_text_that_comes_back_empty_stays_itself(tmp_path, texts, translators, monkeypatch, capsys):
    monkeypatch.setattr(augment_file_module, "back_translate", lambda texts, *_, **__: ["", *texts[1:]])
    out = tmp_path / "out.parquet"
    main(command(texts, out, translators))
    assert read(out)["back_translation_de"][:] == read(Path(texts))["text"][:]
    said = "6 texts came back empty and stand in their own words (back_translation_de)."
    assert said in capsys.readouterr().err.splitlines()


def test_one_language_needs_no_pattern(tmp_path, texts, translators):
    names = [flag.replace("{lang}", "de") for flag in translators]
    flags = [f"--input_file={texts}", "--back_translate", "de", *SIZES]
    main([*flags, f"--output_file={tmp_path / 'one.parquet'}", *names])
    main([*flags, f"--output_file={tmp_path / 'two.parquet'}", *translators])
    assert read(tmp_path / "one.parquet")[:] == read(tmp_path / "two.parquet")[:]


def test_replacing_columns(tmp_path, texts, capsys):
    first, second = tmp_path / "first.parquet", tmp_path / "second.parquet"
    main([f"--input_file={texts}", f"--output_file={first}", "--augmenters", "word_dropout"])
    flags = [f"--input_file={first}", f"--output_file={second}", "--augmenters", "word_dropout:0.5", "--seed=1"]
    message = refused(capsys, tmp_path, flags)
    assert "['word_dropout'] already" in message and "--overwrite_columns" in message
    main([*flags, "--overwrite_columns"])
    result = read(second)
    assert result.column_names == ["text", "label", "id", "word_dropout"]
    assert result["word_dropout"][:] != read(first)["word_dropout"][:]
    assert result.remove_columns("word_dropout")[:] == read(Path(texts))[:]


def test_a_yaml_file(tmp_path, texts):
    config = tmp_path / "config.yaml"
    config.write_text(f"input_file: {texts}\naugmenters: [word_dropout, span_swap]\nseed: 3\n")
    main([f"--config={config}", f"--output_file={tmp_path / 'out.parquet'}"])
    assert read(tmp_path / "out.parquet").column_names[-2:] == ["word_dropout", "span_swap"]


# ---- killed and started again ----


class Killed(Exception):
    pass


def kill_after(monkeypatch, calls: int) -> None:
    """Let the translation fail after so many calls; a chunk makes two, one a language."""
    count = 0

    def counted(*args, **kwargs):
        nonlocal count
        count += 1
        if count > calls:
            raise Killed
        return back_translate(*args, **kwargs)

    monkeypatch.setattr(augment_file_module, "back_translate", counted)


@pytest.mark.parametrize(
    ("calls", "flags"), [([0], []), ([1], []), ([4], ["--overwrite_output_file"]), ([5, 2, 2], [])]
)
def test_a_killed_run_goes_on(tmp_path, texts, translators, whole, monkeypatch, capsys, calls, flags):
    stopped = tmp_path / "stopped.parquet"
    done = 0
    for count in calls:
        kill_after(monkeypatch, count)
        with pytest.raises(Killed):
            main(command(texts, stopped, translators, *flags))
        done += count // 2
        parts = sorted(path.name for path in Path(f"{stopped}.part").glob("chunk-*"))
        assert parts == [f"chunk-{chunk:06d}.parquet" for chunk in range(done)] and not stopped.exists()
    # A torn file, of a chunk that was being written.
    Path(f"{stopped}.part/chunk-{done:06d}.parquet.tmp").write_bytes(b"PAR1")
    capsys.readouterr()

    kill_after(monkeypatch, 2 * (6 - done))  # no chunk is made twice
    main(command(texts, stopped, translators, *flags))
    captured = capsys.readouterr()
    assert (f"{4 * done} of 23 texts are done" in captured.out) == bool(done)
    assert f"{4 * done}/23" in captured.err and "23/23" in captured.err
    result, expected = pq.read_table(stopped), pq.read_table(whole)
    assert result.select(COLUMNS).equals(expected.select(COLUMNS)) and result["id"].to_pylist() == ids(23)
    assert not Path(f"{stopped}.part").exists()


@pytest.mark.skipif(FORK is None, reason="forks")
def test_a_process_that_is_killed(tmp_path, translators):
    texts = write_table(tmp_path / "texts.parquet", rows(40), FEATURES)
    whole, stopped = tmp_path / "whole.parquet", tmp_path / "stopped.parquet"
    parts = Path(f"{stopped}.part")
    process = FORK.Process(target=main, args=(command(texts, stopped, translators),))
    process.start()
    deadline = time.monotonic() + 120
    while len(list(parts.glob("chunk-*.parquet"))) < 3:
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    finished = {path: path.stat().st_mtime_ns for path in parts.glob("chunk-*.parquet")}
    assert 3 <= len(finished) < 10 and not stopped.exists()

    kept = {}
    write_output = augment_file_module.AugmentRun._write_output

    def look(run):
        kept.update({path: path.stat().st_mtime_ns for path in finished})
        return write_output(run)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augment_file_module.AugmentRun, "_write_output", look)
        main(command(texts, stopped, translators))
    assert kept == finished
    main(command(texts, whole, translators))
    assert stopped.read_bytes() == whole.read_bytes()
    assert read(stopped)["id"][:] == ids(40)


def test_notes_count_all_chunks_of_a_run_that_was_killed(tmp_path, translators, monkeypatch, capsys):
    texts = write_table(tmp_path / "texts.parquet", [{"text": " ".join(WORDS)}] * 12)
    kill_after(monkeypatch, 4)
    with pytest.raises(Killed):
        main(command(texts, tmp_path / "out.parquet", translators))
    monkeypatch.undo()
    capsys.readouterr()
    main(command(texts, tmp_path / "out.parquet", translators))
    assert "12 texts were longer than 6 tokens and were cut on the way there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--seed=8"], "seed is 7 there and 8 here"),
        (["--temperature=0.5"], "temperature is 0.9 there and 0.5 here"),
        (["--chunk_size=5"], "chunk_size is 4 there and 5 here"),
        (["--batch_size=5"], "batch_size is 3 there and 5 here"),
        (["--max_length=5"], "max_length is None there and 5 here"),
        (["--dtype=bfloat16"], "dtype is 'float32' there and 'bfloat16' here"),
        (["--back_translate", "de"], "back_translate is ['de', 'ru'] there and ['de'] here"),
        (
            ["--augmenters", "word_dropout"],
            "augmenters is ['WordDropout(probability=0.3)', 'SpanSwap(span=0.1)'] there",
        ),
    ],
)
def test_other_arguments_are_no_way_to_go_on(tmp_path, texts, translators, monkeypatch, capsys, flags, said):
    out = tmp_path / "out.parquet"
    kill_after(monkeypatch, 2)
    with pytest.raises(Killed):
        main(command(texts, out, translators))
    message = refused(capsys, tmp_path, command(texts, out, translators, *flags))
    for part in (f"{out}.part", said, "delete the folder", "--overwrite_output_file"):
        assert part in message


def test_other_arguments_can_replace_what_there_is(tmp_path, texts, translators, whole, monkeypatch):
    out = tmp_path / "out.parquet"
    kill_after(monkeypatch, 4)
    with pytest.raises(Killed):
        main(command(texts, out, translators, "--seed=8"))
    monkeypatch.undo()
    main(command(texts, out, translators, "--overwrite_output_file"))
    assert pq.read_table(out).select(COLUMNS).equals(pq.read_table(whole).select(COLUMNS))


@pytest.mark.parametrize("change", ["a text", "the order", "a row more"])
def test_other_texts_are_no_way_to_go_on(tmp_path, texts, translators, monkeypatch, capsys, change):
    out = tmp_path / "out.parquet"
    kill_after(monkeypatch, 4)
    with pytest.raises(Killed):
        main(command(texts, out, translators))
    content = rows(24 if change == "a row more" else 23)
    if change == "a text":
        content[-1]["text"] += " w1"
    elif change == "the order":
        content.reverse()
    write_table(Path(texts), content, FEATURES)
    message = refused(capsys, tmp_path, command(texts, out, translators))
    assert "texts_sha256" in message and ("rows is 23 there and 24 here" in message) == (change == "a row more")
    # Other labels are no reason to begin anew.
    monkeypatch.undo()
    write_table(Path(texts), [{**row, "label": 1} for row in rows(23)], FEATURES)
    main(command(texts, out, translators))
    assert set(read(out)["label"]) == {1}


def test_two_processes(tmp_path, texts, translators, monkeypatch, capsys):
    out = tmp_path / "out.parquet"
    kill_after(monkeypatch, 4)
    with pytest.raises(Killed):
        main(command(texts, out, translators))
    monkeypatch.undo()
    # An open file is what holds the lock, not the process: this is as good as another one.
    for flags in ([], ["--overwrite_output_file", "--seed=1"]):
        with FileLock(tmp_path / "out.parquet.part" / ".lock"):
            message = refused(capsys, tmp_path, command(texts, out, translators, *flags), status=1)
        assert f"{out}.part is in use by another process" in message
    main(command(texts, out, translators))


def test_replacing_the_file(tmp_path, texts, capsys):
    out = tmp_path / "out.parquet"
    flags = [f"--input_file={texts}", f"--output_file={out}", "--augmenters", "word_dropout"]
    main(flags)
    before = out.read_bytes()
    message = refused(capsys, tmp_path, [*flags, "--seed=1"])
    assert f"output_file {out} exists already" in message and "--overwrite_output_file" in message
    main([*flags, "--seed=1", "--overwrite_output_file"])
    assert out.read_bytes() != before
    # In its own place, with another column beside the one it has.
    own = [f"--input_file={out}", f"--output_file={out}", "--augmenters", "span_swap", "--overwrite_output_file"]
    main(own)
    assert read(out).column_names == ["text", "label", "id", "word_dropout", "span_swap"]
    # Not of several, which would be there twice the next time.
    message = refused(capsys, tmp_path, [f"--input_file={out},{texts}", *own[1:], "--overwrite_columns"])
    assert "is a file that is read, and would be lost" in message and len(read(out)) == 23


# ---- wrong input ----


def contents(folder: Path) -> dict[Path, int]:
    private = (folder / "cache", folder / "home")
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if not any(path.is_relative_to(other) for other in private)
        and path.is_file()
        and path.name not in ("lock", ".lock")  # filelock 3.15 writes to one that is held
    }


def refused(capsys, folder: Path, flags: list[str], status: int = 2) -> str:
    """The one line on stderr that says what is wrong; checks the exit status, and that no file was touched."""
    before = contents(folder)
    folders = set(folder.rglob("*.part"))
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main(flags)
    assert stopped.value.code == status
    *others, last = capsys.readouterr().err.splitlines()
    assert last.startswith("mixtext-hf augment-text: error: ")
    assert not [line for line in others if "rror" in line or "usage" in line]
    assert contents(folder) == before and set(folder.rglob("*.part")) == folders
    return last


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--augmenters", "synonyms"], ["'synonyms'", "word_dropout, word_swap, span_swap"]),
        (["--augmenters", "word_dropout:2"], ["word_dropout", "probability", "2.0"]),
        (["--augmenters", "span_swap", "span_swap:0.2"], ["span_swap", "twice"]),
        (["--back_translate", "de", "de"], ["back_translation_de", "twice"]),
        (["--seed=-1"], ["--seed", "at least 0", "-1"]),
        (["--seed=one"], ["--seed", "'one'"]),
        (["--chunk_size=0"], ["--chunk_size", "at least 1", "0"]),
        (["--batch_size=0"], ["--batch_size", "at least 1", "0"]),
        (["--temperature=-1"], ["--temperature", "-1.0"]),
        (["--temperature=nan"], ["--temperature", "nan"]),
        (["--max_length=7", "--back_translate", "de"], ["max_length=7", "2..6"]),
        (["--dtype=float64"], ["--dtype", "float64", "bfloat16"]),
        (["--device=tpu"], ["--device", "tpu", "cuda"]),
        (["--device=cuda"], ["--device cuda", "no GPU"]),
        (["--text_column=body"], ["--text_column body", "text, label, id"]),
        (["--text_column=label"], ["--text_column label", "ClassLabel"]),
        (["--text_column=id"], ["--text_column id", "int32"]),
        (["--output_file=out.csv"], ["output_file out.csv", "'.csv'", ".parquet"]),
        (["--input_file=nowhere.csv"], ["`input_file`", "'nowhere.csv'"]),
        (["--forward_model=en-de", "--back_translate", "de", "ru"], ["--forward_model en-de", "{lang}", "de, ru"]),
        (["--backward_model=de-en", "--back_translate", "de", "ru"], ["--backward_model de-en", "{lang}"]),
        (["--forward_model=no/such-{lang}", "--back_translate", "de"], ["'no/such-de'", "sentencepiece"]),
        (["--back_translate", "de", "--text_language=en"], ["no language tokens", "--text_language"]),
        (["--back_trans", "de"], ["--back_trans"]),
    ],
)
def test_wrong_arguments(tmp_path, capsys, texts, translators, flags, said):
    given = [f"--input_file={texts}", f"--output_file={tmp_path / 'out.parquet'}", "--augmenters", "word_swap"]
    message = refused(capsys, tmp_path, [*given, *translators, *flags])
    for part in said:
        assert part in message


def test_arguments_that_are_missing(tmp_path, capsys, texts):
    out = f"--output_file={tmp_path / 'out.parquet'}"
    assert "--input_file" in refused(capsys, tmp_path, [out, "--augmenters", "word_swap"])
    assert "--output_file" in refused(capsys, tmp_path, [f"--input_file={texts}", "--augmenters", "word_swap"])
    message = refused(capsys, tmp_path, [f"--input_file={texts}", out])
    assert "Nothing to do" in message and "--back_translate" in message and "--augmenters" in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([{"text": "a b"}, {"text": None}], ["text", "None at row 1", "remove"]),
        ([{"text": 1.5}], ["text", "float64"]),
        ([{"body": "a b"}], ["['body']", "--text_column"]),
        ([{"sentence1": "a b", "sentence2": "c d"}], ["sentence1 and sentence2", "pair", "--text_column"]),
    ],
    ids=["missing", "numbers", "no-text", "pair"],
)
def test_wrong_files(tmp_path, capsys, content, said):
    texts = write_table(tmp_path / "texts.parquet", content)
    given = [f"--input_file={texts}", f"--output_file={tmp_path / 'out.parquet'}", "--augmenters", "word_swap"]
    message = refused(capsys, tmp_path, given)
    for part in said:
        assert part in message


def test_the_text_column_is_not_replaced(tmp_path, capsys):
    texts = write_table(tmp_path / "texts.parquet", [{"word_swap": "a b"}])
    given = [f"--input_file={texts}", f"--output_file={tmp_path / 'out.parquet'}", "--augmenters", "word_swap"]
    message = refused(capsys, tmp_path, [*given, "--text_column=word_swap", "--overwrite_columns"])
    assert "--text_column word_swap" in message and "rename" in message


def test_folders_in_the_way(tmp_path, capsys, texts):
    out = tmp_path / "out.parquet"
    flags = [f"--input_file={texts}", f"--output_file={out}", "--augmenters", "word_swap", "--overwrite_output_file"]
    parts = tmp_path / "out.parquet.part"
    parts.write_text("mine")
    assert f"{parts} is a file" in refused(capsys, tmp_path, flags)
    parts.unlink()
    parts.mkdir()
    (parts / "notes.txt").write_text("mine")
    assert "notes.txt" in refused(capsys, tmp_path, flags)
    (parts / "notes.txt").unlink()
    out.mkdir()
    assert f"output_file {out} is a folder" in refused(capsys, tmp_path, flags)
    out.rmdir()
    main(flags)
    assert out.is_file() and not parts.exists()


def test_help_names_every_argument(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for name in (*AugmentSettings.__dataclass_fields__, "config"):
        assert f"--{name}" in text


def test_what_a_run_is_recognised_by_is_readable(tmp_path, texts, translators, monkeypatch):
    kill_after(monkeypatch, 0)
    with pytest.raises(Killed):
        main(command(texts, tmp_path / "out.parquet", translators))
    run = json.loads((tmp_path / "out.parquet.part" / "run.json").read_text())
    assert (run["rows"], run["seed"], run["back_translate"]) == (23, 7, ["de", "ru"])
    assert (run["device"], run["dtype"]) == ("cpu", "float32")
