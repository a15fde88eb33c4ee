"""A result for a benchmark on the Hub, in the form that the Hub reads: written when its task is named, and only then."""

from __future__ import annotations

import json

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries
from tiny import tiny_model

from mixtext_hf.cli.push import main
from mixtext_hf.hub import CardData, DataFacts, SplitResult
from mixtext_hf.hub.eval_results import eval_result, write_eval_result
from mixtext_hf.hub.push import files_to_send
from mixtext_hf.hub.record import card_as_json


RESULTS = [
    SplitResult("validation", {"accuracy": 0.5}, 9),
    SplitResult("test", {"ece": 0.1, "macro_f1": 0.75, "accuracy": 0.8125, "runtime": 3.0}, 1000),
]


def card(**more):
    return CardData(
        model_name="m", **{"data": DataFacts(hub_id="user/bench", config="plain"), "results": RESULTS, **more}
    )


@pytest.fixture
def folder(tmp_path):
    out = tmp_path / "out"
    tiny_model(num_hidden_layers=1).save_pretrained(out)
    write_record(out, card())
    return out


def write_record(out, data, **source):
    record = {"method": "erm", "data": source, "model_arguments": {}, "data_arguments": {}, "card": card_as_json(data)}
    (out / "run.json").write_text(json.dumps(record), encoding="utf-8")


def test_the_hub_client_reads_what_was_written(folder):
    path = write_eval_result(folder, card(), "default")
    assert path == folder / ".eval_results" / "user_bench-default.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert content == [
        {
            "dataset": {"id": "user/bench", "task_id": "default"},
            "value": 0.8125,
            "notes": "Accuracy, test split, configuration plain, 1,000 rows",
        }
    ]
    (entry,) = parse_eval_result_entries(content)
    assert (entry.dataset_id, entry.task_id, entry.value) == ("user/bench", "default", 0.8125)
    assert eval_result(card(), "x", "macro_f1").value == 0.75
    assert eval_result(card(results=RESULTS[:1]), "x").notes.startswith("Accuracy, validation split")
    assert ".eval_results/user_bench-default.yaml" in files_to_send(folder)


@pytest.mark.parametrize(
    ("data", "metric", "said"),
    [
        (card(data=DataFacts(name="mine")), None, "not measured on a data set from there"),
        (card(data=None), None, "not measured on a data set from there"),
        (card(results=[]), None, "train with --do_predict"),
        (card(), "mcc", "measured on test are accuracy, macro_f1, ece"),
        (card(results=[SplitResult("test", {"accuracy": float("nan")})]), None, "is no result"),
        (
            card(results=RESULTS[:1], data=DataFacts(hub_id="user/bench", held_out=0.1)),
            None,
            "held out of train .* and is none of the benchmark",
        ),
    ],
)
def test_what_is_no_result_of_a_benchmark_is_refused(folder, data, metric, said):
    with pytest.raises(ValueError, match=said):
        write_eval_result(folder, data, "default", metric)
    assert not (folder / ".eval_results").exists()


def test_push_writes_it_where_the_task_is_named(folder, capsys):
    main([str(folder), "--card_only"])
    assert not (folder / ".eval_results").exists()
    main([str(folder), "--card_only", "--eval_task_id=default", "--eval_metric=macro_f1"])
    (path,) = (folder / ".eval_results").iterdir()
    assert yaml.safe_load(path.read_text(encoding="utf-8"))[0]["value"] == 0.75
    validation = card(results=RESULTS[:1])
    for flags, source, said in (
        (["--eval_metric=accuracy"], {}, "name its task by --eval_task_id"),
        (["--eval_task_id=default"], {"max_predict_samples": 50}, "measured on 50 rows alone"),
        (["--eval_task_id=default"], {"max_eval_samples": 40}, "measured on 40 rows alone (max_eval_samples)"),
        (["--eval_task_id= "], {}, "is empty: give a task of the benchmark"),
    ):
        write_record(folder, validation if "max_eval_samples" in source else card(), **source)
        with pytest.raises(SystemExit):
            main([str(folder), "--card_only", *flags])
        assert said in capsys.readouterr().err
    (folder / "run.json").unlink()
    with pytest.raises(SystemExit):
        main([str(folder), "--card_only", "--eval_task_id=default"])
    assert "holds no run.json of a finished run" in capsys.readouterr().err
