"""What the commands write of a run for its card, the run beside it, and the folder that is pushed later; in this process."""

from __future__ import annotations

import json
import shutil

import pytest
from hub_server import TOKEN
from huggingface_hub import ModelCard
from table_files import write_table
from tiny import tiny_model, tiny_tokenizer

from mixtext_hf.cli.card import Baseline, recorded_card
from mixtext_hf.cli.main import main
from mixtext_hf.cli.making_runs import launched
from mixtext_hf.cli.parsing import command_line
from mixtext_hf.cli.push import card_of_config
from mixtext_hf.cli.train_text import make_parser
from mixtext_hf.hub import CardData, make_card
from mixtext_hf.hub.push import files_to_send
from mixtext_hf.hub.record import card_as_json, card_from_json
from mixtext_hf.methods import METHODS, make_method


def rows(count):
    return [{"text": f"w{i} w{i + 1} w{i % 5}", "label": ("ham", "spam", "egg")[i % 3]} for i in range(count)]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder of work: its name is none that a repository could have, and the data lies in it."""
    folder = tmp_path_factory.mktemp("work") / "Größe 1"
    folder.mkdir()
    for name, count in (("train", 12), ("dev", 9), ("test", 6)):
        write_table(folder / f"{name}.json", rows(count))
    tiny_model("bert", num_labels=2).base_model.save_pretrained(folder / "bases" / "tiny")
    tiny_tokenizer().save_pretrained(folder / "bases" / "tiny")
    return folder


def words(*more):
    common = ["--model_name_or_path=bases/tiny", "--train_file=train.json", "--validation_file=dev.json"]
    quiet = ["--use_cpu=true", "--disable_tqdm=true", "--save_strategy=no", "--logging_steps=1"]
    return ["train-text", *common, *quiet, "--max_seq_length=16", "--max_steps=2", *more]


@pytest.fixture(scope="module")
def erm(here):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        main(words("--mix_method=erm", "--do_train", "--do_eval", "--output_dir=erm"))
    return here / "erm"


# ---- the card of a run ----


def test_the_card_tells_what_the_results_tell(here, erm, monkeypatch, caplog):
    monkeypatch.chdir(here)
    secret = here / "secret.yaml"
    secret.write_text(f"hub_token: {TOKEN}\ntoken: {TOKEN}\nmix_alpha: 0.5\n")
    told = ["--baseline_dir=erm", "--max_seq_length=12", "--test_file=test.json", "--config=secret.yaml"]
    with pytest.raises(SystemExit):
        main(words("--mix_method=tmix", "--do_train", "--do_eval", "--do_predict", *told, "--output_dir=."))
    # The runs differ in their data files.
    told.remove("--test_file=test.json")
    main(words("--mix_method=tmix", "--do_train", "--do_eval", *told, "--output_dir=."))
    secret.unlink()

    text = (here / "README.md").read_text(encoding="utf-8")
    card = ModelCard(text)
    results = json.loads((here / "all_results.json").read_text())
    assert {one.metric_type: one.metric_value for one in card.data.eval_results} == {
        "accuracy": results["eval_accuracy"],
        "balanced_accuracy": results["eval_balanced_accuracy"],
        "f1": results["eval_macro_f1"],
        "nll": results["eval_nll"],
        "brier_score": results["eval_brier"],
        "ece": results["eval_ece"],
    }
    baseline = json.loads((erm / "all_results.json").read_text())
    assert f"| Accuracy ↑ | {results['eval_accuracy']:.4f} | {baseline['eval_accuracy']:.4f} |" in text
    assert "max_seq_length 16 instead of 12" in text
    assert text.startswith("---") and "# Größe 1" in text and "`tiny`" in text
    assert card.data.base_model is None
    assert "--mix_alpha=0.5" in text
    written = [path for path in here.rglob("*") if path.is_file()]
    assert len(written) > 20 and not any(TOKEN.encode() in path.read_bytes() for path in written)
    assert TOKEN not in caplog.text

    # The card can be made again of what was recorded, and the data in the folder stays where it is.
    assert str(make_card(recorded_card(here))) == text
    sent = files_to_send(".")
    assert {"README.md", "run.json", "all_results.json", "reliability_diagram.png", "training_curve.png"} <= set(sent)
    assert not {"train.json", "dev.json", "training_args.bin"} & set(sent)


@pytest.mark.parametrize("name", METHODS)
def test_a_recorded_method_is_the_same(name):
    data = CardData("model", method=make_method(name))
    again = card_from_json(json.loads(json.dumps(card_as_json(data))))
    assert again.method == data.method and str(make_card(again)) == str(make_card(data))


@pytest.mark.parametrize(
    "given",
    [
        ["--hub_token", TOKEN],
        [f"--hub_token={TOKEN}"],
        ["--hub-token", TOKEN],
        [f"--hub-token={TOKEN}"],
        ["--token", TOKEN],
        [f"--token={TOKEN}"],
    ],
)
def test_the_command_of_a_card_has_no_token(given):
    line = command_line(make_parser(), ["--seed", "1", *given, "--output_dir", "my out"])
    assert line == "mixtext-hf train-text --seed 1 --output_dir 'my out'"


def test_the_command_of_several_processes(monkeypatch):
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert launched("mixtext-hf train-text", 1) == "mixtext-hf train-text"
    assert launched("mixtext-hf train-text", 2) == "torchrun --nproc_per_node 2 --no_python mixtext-hf train-text"
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert launched("mixtext-hf train-text", 8).startswith("torchrun --nnodes 2 --nproc_per_node 4 --no_python ")


# ---- the run beside it ----


def change(folder, **fields):
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**run, **fields}))


@pytest.mark.parametrize(
    "break_it, said",
    [
        (lambda folder: (folder / "run.json").unlink(), "finished run"),
        (lambda folder: (folder / "run.json").write_text("{"), "run.json is no JSON"),
        (lambda folder: (folder / "run.json").write_text("[]"), "no record of a run"),
        (lambda folder: change(folder, data=None), "no record of a run"),
        (lambda folder: change(folder, card=None), "without results"),
        (lambda folder: change(folder, card={"results": []}), "run.json: The record of the card cannot be read"),
        (lambda folder: change(folder, method="tmix"), "--mix_method erm"),
    ],
)
def test_a_baseline_that_is_none_is_refused(erm, tmp_path, break_it, said):
    folder = shutil.copytree(erm, tmp_path / "erm")
    break_it(folder)
    with pytest.raises(ValueError, match=said):
        Baseline.read(str(folder))


def test_a_baseline_on_other_data_is_refused(erm):
    baseline = Baseline.read(str(erm))
    baseline.check(baseline.data, ["validation"])
    baseline.check({**baseline.data, "sizes": {**baseline.data["sizes"], "rest": 5, "unlabeled": 5}}, ["validation"])
    for changed, said in (
        ({"seed": 7}, "seed=42, this one has 7"),
        ({"sizes": {**baseline.data["sizes"], "validation": 8}}, "rows of validation=9, this one has 8"),
        ({"package_versions": {"numpy": "1"}}, "package_versions"),
    ):
        with pytest.raises(ValueError, match=said):
            baseline.check({**baseline.data, **changed}, ["validation"])
    with pytest.raises(ValueError, match=r"measured on validation, this one on test: .*--do_eval"):
        baseline.check(baseline.data, ["test"])


# ---- a folder that is pushed later ----


def test_a_method_of_somebodys_own_is_no_obstacle(tmp_path):
    model = tiny_model("bert")
    model.config.mixtext = {"version": "0", "method": "own", "hyperparameters": {"strength": 1}}
    model.save_pretrained(tmp_path)
    data = card_of_config(tmp_path)
    assert data.method is None and data.architecture == "BertForSequenceClassification"


def test_the_card_of_an_adapter_names_its_base(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "google/some-bert"}')
    assert card_of_config(tmp_path).base_model == "google/some-bert"
    tiny_model("bert").config.save_pretrained(tmp_path)
    data = card_of_config(tmp_path)
    assert data.base_model == "google/some-bert" and data.is_adapter and data.label_names


def test_the_record_of_a_folder_that_is_pushed_must_be_one(tmp_path):
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run.json is no JSON .*remove it"):
        recorded_card(tmp_path)
