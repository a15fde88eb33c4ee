"""Model cards: what they say is what they were given, whatever it is, and what was written by hand stays."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import dataclass, fields, replace
from html.parser import HTMLParser
from typing import ClassVar

import pytest
import yaml
from depth import examples
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from hypothesis import given
from hypothesis import strategies as st

from mixtext_hf import _markdown as md
from mixtext_hf.hub import CardData, DataFacts, Emissions, SplitResult, is_generated, make_card, write_card
from mixtext_hf.methods import METHODS, Citation, MixMethod, TMix, make_method


METRICS = {
    "ece": 0.06607881990598484,
    "accuracy": 0.8351315789473684,
    "macro_f1": 0.833785584781919,
    "nll": 0.4938567632274507,
    "brier": 0.25364031363134293,
    "loss": 0.4938567578792572,
    "runtime": 145.5068,
    "samples": 7600,
    "samples_per_second": 52.231,
    "jit_compilation_time": 3.0,
}
SHOWN = ("accuracy", "macro_f1", "nll", "brier", "ece")
BASELINE = {name: value + 0.0123 for name, value in METRICS.items()}
NASTY = [
    "a | b",
    "a \\| b",
    "back`tick ``` and ~~~ tildes",
    "first\n\n---\n\nlast",
    "colon: value # no comment",
    "'single' \"double\"",
    "<script>alert(1)</script> <!-- x",
    "--> text",
    "[link](https://example.org) ![picture](x.png)",
    "**bold** _it_ __init__ $x$",
    "🙂 naïve 日本語 العربية",
    "{{ 7 * 7 }} {% raw %}",
    "- item",
    "1. item",
    "# heading #",
    "   ",
    "",
    "\x00\x1b[31m\u2028\u202e\ud800",
    "&amp; &#124; &lt;",
    "trailing \\",
    "<!-- mixtext_hf model card, sha256:" + 64 * "0" + " -->",
]


def full(**changes) -> CardData:
    data = CardData(
        model_name="minilm-ag-news",
        method=TMix(alpha=8.0),
        repo_id="somebody/minilm-ag-news",
        label_names=["World", "Sports", "Business", "Sci/Tech"],
        base_model="sentence-transformers/all-MiniLM-L6-v2",
        architecture="BertForSequenceClassification",
        num_parameters=22_714_756,
        max_length=64,
        layers=(4, 5, 6),
        data=DataFacts(
            name="AG News",
            hub_id="fancyzhx/ag_news",
            files={"train_file": ["/home/somebody/ag_news/train.parquet"]},
            sizes={"train": 40, "rest": 18900, "test": 7600, "unlabeled": 18900},
            labeled_per_class=10,
            split_seed=3,
            columns=["text"],
            notes=["Doubles were left out."],
        ),
        results=[SplitResult("test", METRICS, 7600)],
        baseline=[SplitResult("test", BASELINE, 7600)],
        pictures={"Reliability": "reliability_diagram.png", "Curve": "training_curve.png"},
        training_arguments={
            "learning_rate": 3e-5,
            "bf16": True,
            "mix_start": 0.25,
            "output_dir": "/tmp/somewhere/out",
        },
        step=1000,
        max_steps=1000,
        epochs=100.0,
        runtime=304.8667,
        device="2 x CPU",
        emissions=Emissions(0.0012345, 0.0031, "France"),
        command="mixtext-hf train-text --train_file train.parquet \\\n  --mix_method tmix",
        versions={"transformers": "5.23.0"},
        language="en",
        license="apache-2.0",
        tags=["few-shot"],
    )
    return replace(data, **changes)


def front_matter(card: ModelCard) -> dict:
    return yaml.safe_load(str(card).split("\n---\n", 1)[0].removeprefix("---\n"))


def tables_of(card: ModelCard) -> list[list[list[str]]]:
    """The cells of all tables, outside of blocks of code; a table's rows have equally many."""
    tables: list[list[list[str]]] = []
    fence, is_inside = None, False
    for line in str(card).split("\n"):
        ticks = re.match(r"`{3,}", line)
        if ticks and fence is None:
            fence = ticks[0]
        elif fence is not None:
            fence = None if line == fence else fence
        elif line.startswith("|"):
            if not is_inside:
                tables.append([])
            tables[-1].append([cell.strip() for cell in line.split("|")[1:-1]])
        is_inside = fence is None and line.startswith("|")
    for table in tables:
        assert {len(row) for row in table} == {len(table[0])}
        assert set(table[1]) == {"---"}
    return [[table[0], *table[2:]] for table in tables]


def blocks_of(card: ModelCard, language: str) -> list[str]:
    return [
        match[2] for match in re.finditer(rf"^(`{{3,}}){language}\n(.*?)\n\1$", str(card), re.DOTALL | re.MULTILINE)
    ]


def results_of(card: ModelCard) -> dict[str, list[str]]:
    (table,) = [table for table in tables_of(card) if table[0][0] == "metric"]
    return {name: values for name, *values in table[1:]}


# ---- metadata ----


def test_metadata_round_trips(tmp_path):
    card = make_card(full())
    (tmp_path / "README.md").write_text(str(card), encoding="utf-8")
    loaded = ModelCard.load(tmp_path / "README.md")
    assert str(loaded) == str(card)
    assert front_matter(card) == loaded.data.to_dict()
    data = loaded.data
    assert (data.language, data.license, data.library_name) == ("en", "apache-2.0", "transformers")
    assert data.pipeline_tag == "text-classification"
    assert data.tags == ["mixtext_hf", "mixup", "tmix", "few-shot"]
    assert data.datasets == ["fancyzhx/ag_news"]
    assert data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert data.metrics == ["accuracy", "f1", "nll", "brier_score", "ece"]
    assert data.co2_eq_emissions == {
        "emissions": pytest.approx(1.2345),
        "source": "codecarbon",
        "training_type": "fine-tuning",
        "geographical_location": "France",
        "hardware_used": "2 x CPU",
    }


def test_model_index_has_the_very_numbers_of_this_model_alone():
    index = front_matter(make_card(full()))["model-index"]
    name, results = model_index_to_eval_results(index)
    assert name == "minilm-ag-news"
    assert [result.metric_value for result in results] == [METRICS[metric] for metric in SHOWN]
    assert {(r.dataset_type, r.dataset_name, r.dataset_split, r.task_type) for r in results} == {
        ("fancyzhx/ag_news", "AG News", "test", "text-classification")
    }
    assert not {result.metric_value for result in results} & set(BASELINE.values())


def test_data_sets_of_files_claim_no_id_on_the_hub():
    card = make_card(full(data=DataFacts(name="imdb", hub_id="/data/imdb", sizes={"train": 4})))
    assert "datasets" not in front_matter(card)
    assert {r.dataset_type for r in card.data.eval_results} == {"local"}
    assert "huggingface.co/datasets" not in str(card)


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("all-MiniLM-L6-v2", "`all-MiniLM-L6-v2`"),
        ("/srv/models/all-MiniLM-L6-v2", "`all-MiniLM-L6-v2`"),
        ("C:\\models\\minilm", "`minilm`"),
        ("~/models/minilm", "`minilm`"),
        ("../models/minilm", "`minilm`"),
        ("runs/models/minilm/", "`minilm`"),
    ],
)
def test_only_hub_ids_are_base_models_and_paths_are_not_printed(base, said):
    card = make_card(full(base_model=base))
    assert "base_model" not in front_matter(card)
    assert f"It is {said} (`BertForSequenceClassification`, 22.7 M parameters), fine-tuned" in str(card)
    assert not any(part in str(card) for part in ("/srv", "C:", "~/", "../", "/home", "/tmp"))


def test_numbers_that_are_none_are_no_metadata():
    metrics = {"accuracy": math.nan, "nll": math.inf, "ece": 0.5}
    card = make_card(full(results=[SplitResult("test", metrics)], baseline=None, emissions=Emissions(math.nan)))
    assert [result.metric_value for result in card.data.eval_results] == [0.5]
    assert card.data.metrics == ["ece"]
    assert results_of(card) == {"Accuracy ↑": ["nan"], "NLL (nats) ↓": ["nan"], "ECE (15 bins) ↓": ["0.5000"]}
    assert "co2_eq_emissions" not in front_matter(card)
    nothing = make_card(full(results=[SplitResult("test", {"accuracy": math.nan})], baseline=None))
    assert not {"model-index", "metrics", "model_name"} & set(front_matter(nothing))


# ---- what it says ----


def test_results_stand_beside_the_baseline():
    card = make_card(full())
    assert results_of(card) == {
        "Accuracy ↑": ["0.8351", "0.8474"],
        "Macro F1 ↑": ["0.8338", "0.8461"],
        "NLL (nats) ↓": ["0.4939", "0.5062"],
        "Brier score (0 to 2) ↓": ["0.2536", "0.2659"],
        "ECE (15 bins) ↓": ["0.0661", "0.0784"],
    }
    assert "**Test**, 7,600 texts:" in str(card)
    assert "in all else the same run" in str(card)
    noted = str(make_card(full(baseline_notes=["max_steps 500 instead of 1000"])))
    assert "- max_steps 500 instead of 1000\n" in noted and "in all else the same run" not in noted


def test_splits_have_tables_of_their_own():
    results = [SplitResult("validation", {"accuracy": 0.75}, 80), SplitResult("test", {"accuracy": 0.7}, 90)]
    card = make_card(full(results=results, baseline=[SplitResult("test", {"accuracy": 0.6}, 100)]))
    validation, test = [table for table in tables_of(card) if table[0][0] == "metric"]
    assert validation == [["metric", "this model"], ["Accuracy ↑", "0.7500"]]
    assert test[1] == ["Accuracy ↑", "0.7000", "0.6000"]
    assert "**Validation**, 80 texts:" in str(card) and "**Test**, 90 texts (the baseline: 100):" in str(card)
    assert "measured on `validation` and `test` of [" in str(card)


FILES = {"train": ["data.csv"], "validation": ["valid.csv"], "test": ["test.csv"]}


@pytest.mark.parametrize(
    ("facts", "splits", "measured", "learnt", "names"),
    [
        (DataFacts(files=FILES), ["validation"], "`valid.csv`", "`data.csv`", ["valid.csv"]),
        (
            DataFacts(files=FILES),
            ["validation", "test"],
            "`valid.csv` and `test.csv`",
            "`data.csv`",
            ["valid.csv", "test.csv"],
        ),
        (DataFacts(name="own", files=FILES), ["test"], "`test.csv` of own", "own", ["own"]),
        (
            DataFacts(files={"train": ["data.csv"]}, held_out=0.25),
            ["validation"],
            "the 25 % of `data.csv` held out of training",
            "`data.csv`",
            ["data.csv"],
        ),
        (
            DataFacts(name="ds", held_out=0.1, sizes={"train": 9, "validation": 1, "test": 3}),
            ["validation", "test"],
            "the 10 % of `train` of ds held out of training and `test` of ds",
            "ds",
            ["ds", "ds"],
        ),
        (
            DataFacts(
                name="mnli",
                files={"train": ["t"], "validation": ["m.tsv", "mm.tsv"]},
                sizes={"train": 9, "validation_matched": 3, "validation_mismatched": 3},
            ),
            ["validation_mismatched"],
            "`mm.tsv` of mnli",
            "mnli",
            ["mnli"],
        ),
        (DataFacts(), ["validation"], "`validation`", None, ["unnamed"]),
    ],
)
def test_what_was_measured_is_named(facts, splits, measured, learnt, names):
    """The file where there is one; what was learnt from is another."""
    results = [SplitResult(split, {"accuracy": 0.75}, 80) for split in splits]
    card = make_card(full(results=results, baseline=None, data=facts))
    assert f"It was measured on {measured} and on nothing else, in one run." in str(card)
    assert ("those it learnt from. Check" if learnt is None else f"those it learnt from ({learnt}). Check") in str(
        card
    )
    found = {result.dataset_split: result.dataset_name for result in card.data.eval_results}
    assert found == dict(zip(splits, names, strict=True))


def test_metrics_have_names_and_directions():
    metrics = {"top_5_accuracy": 0.9, "fgsm_accuracy": 0.3, "mine": 1.5, "loss": 0.7, "ece_equal_mass": 0.1}
    card = make_card(full(modality="image", results=[SplitResult("test", metrics)], baseline=None, fgsm_epsilon=8.0))
    assert results_of(card) == {
        "Top-5 accuracy ↑": ["0.9000"],
        "ECE (15 bins of equal mass) ↓": ["0.1000"],
        "FGSM accuracy (8/255) ↑": ["0.3000"],
        "Loss ↓": ["0.7000"],
        "mine": ["1.5000"],
    }


def test_what_differs_from_the_defaults_is_bold():
    card = make_card(full())
    (table,) = [table for table in tables_of(card) if table[0][0] == "hyper-parameter"]
    rows = {name: (value, default) for name, value, default in table[1:]}
    assert rows.pop("`alpha`") == ("**8**", "16")
    assert rows["`layers`"] == ("the method's own", "the method's own")
    assert all(value == default for value, default in rows.values())
    assert "Layers drawn from: 4, 5 and 6 (0 is" in str(card)
    assert "**" not in str(make_card(full(method=TMix()))).split("## Method")[1].split("## Data")[0]


def test_arguments_pictures_and_costs():
    text = str(make_card(full()))
    for said in (
        "| `learning_rate` | `3e-05` |",
        "| `bf16` | `true` |",
        "| `mix_start` | `0.25` |",
        "| `output_dir` | `out` |",
        "1,000 steps (100 epochs) took 5 min 5 s on 2 x CPU.",
        "1.234 g of CO<sub>2</sub> equivalents, 0.0031 kWh (France)",
        "- Files: `train.parquet` (train)\n",
        "- Texts: 40 (train), 7,600 (test)\n",
        "10 texts of each class were chosen for training, with seed 3",
        "- Doubles were left out.",
        "What comes after the first 64 tokens",
        "- transformers 5.23.0",
    ):
        assert said in text
    sections = re.split(r"^## ", text, flags=re.MULTILINE)
    assert [section.split("\n")[0] for section in sections[1:]] == [
        "How to use",
        "Results",
        "Method",
        "Data",
        "Training",
        "Intended use and limits",
        "Framework versions",
        "Citation",
    ]
    assert "![Reliability](reliability_diagram.png)" in sections[2]
    assert "![Curve](training_curve.png)" in sections[5]
    assert "\n\n\n" not in text


def test_the_command_is_the_command():
    command = "mixtext-hf train-text --a '```' \\\n\n\n  --b ````\\\n\t--c '{% x %}'"
    card = make_card(full(command=command))
    assert blocks_of(card, "bash") == [command]


def test_unlabelled_texts_are_told_of_where_they_were_used():
    text = str(make_card(full(method=make_method("mixtext"))))
    assert "on 40 labelled texts (10 of each class) and 18,900 unlabelled ones of [AG News]" in text
    assert "18,900 (unlabeled)" in text
    assert "18,900" not in str(make_card(full()))


def test_a_name_is_enough():
    card = make_card(CardData("something"))
    assert front_matter(card) == {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["mixtext_hf"],
    }
    text = str(card)
    assert 'pipeline("text-classification", "something")' in text and "No evaluation is recorded." in text
    assert not re.search(r"scratch|\bnone|(?<!=)None|\berm\b|biases|Undefined|\bclasses", text)
    assert is_generated(text)


def test_a_model_in_training_says_so_at_the_top():
    text = str(make_card(full(is_finished=False, step=400, max_steps=1000)))
    body = text.split("\n---\n")[1].strip().split("\n\n")
    assert body[0] == "# minilm-ag-news" and body[1].startswith("**Training in progress, step 400 of 1,000.**")
    assert "Training in progress" not in str(make_card(full()))
    stopped = str(make_card(full(step=400, epochs=2.5, runtime=5000)))
    assert "400 steps (2.50 epochs) of 1,000 planned took 1 h 23 min on 2 x CPU." in stopped
    assert "**Training in progress.**" in str(make_card(CardData("x", is_finished=False)))


def test_adapters():
    card = make_card(full(is_adapter=True))
    assert card.data.library_name == "peft"
    usage, further = blocks_of(card, "python")
    assert 'config = AutoConfig.from_pretrained("somebody/minilm-ag-news")' in usage
    assert '.from_pretrained("sentence-transformers/all-MiniLM-L6-v2", config=config)' in usage
    assert 'PeftModel.from_pretrained(base, "somebody/minilm-ag-news")' in usage
    assert "is_trainable=True" in further
    assert "It is an adapter for [sentence-transformers/all-MiniLM-L6-v2]" in str(card)
    assert '"path/to/minilm"' in str(make_card(full(is_adapter=True, base_model="/models/minilm")))


def test_a_head_of_the_package_has_no_plain_example():
    card = make_card(full(needs_package=True))
    assert "pipeline(" not in str(card) and "plain `transformers` refuses" in str(card)
    (further,) = blocks_of(card, "python")
    assert 'MixableModelForSequenceClassification.from_pretrained("somebody/minilm-ag-news")' in further
    assert card.data.library_name == "mixtext_hf"


def test_images():
    card = make_card(
        CardData(
            "digits",
            make_method("puzzlemix", beta=0.5),
            modality="image",
            label_names=[str(i) for i in range(100)],
            architecture="ResNetForImageClassification",
            num_parameters=999,
            image_size=(32, 16),
            results=[SplitResult("test", {"accuracy": 0.5}, 10)],
        )
    )
    text = str(card)
    assert card.data.pipeline_tag == "image-classification"
    assert "sorts images into 100 classes: `0`, `1`," in text and "`9` and 90 more." in text
    assert "It is a `ResNetForImageClassification` (999 parameters), trained from scratch with [PuzzleMix]" in text
    assert 'pipeline("image-classification", "digits")' in text and "MixableModelForImageClassification" in text
    assert "32 x 16 pixels" in text and "AutoTokenizer" not in text and "`pad`" not in text
    assert "| `beta` | **0.5** | 1.2 |" in text


def test_other_problems():
    several = str(make_card(full(problem_type="multi_label_classification")))
    assert "says which labels fit a text, out of 4 labels:" in several and "no other than these 4" in several
    scores = str(make_card(full(problem_type="regression", label_names=[], data=DataFacts(columns=["a", "b"]))))
    assert "gives a text a score." in scores and "closed" not in scores
    assert '{"text": "First text.", "text_pair": "Second text."}, truncation=True, max_length=64)' in scores
    with pytest.raises(ValueError, match='`modality` must be "text" or "image"'):
        make_card(CardData("x", modality="sound"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`problem_type` must be one of"):
        make_card(CardData("x", problem_type="ranking"))


@pytest.mark.parametrize("name", METHODS)
def test_every_method(name):
    method = make_method(name)
    card = make_card(full(method=method, modality="image" if method.mixes_pixels else "text"))
    assert name in card.data.tags and is_generated(str(card))
    assert ("mixup" in card.data.tags) == (method.mixes or name == "mixup")
    assert method.equation in str(card)
    assert "\n\n\n" not in str(card)
    tables = [table for table in tables_of(card) if table[0][0] == "hyper-parameter"]
    rows = [row[0].strip("`") for table in tables for row in table[1:]]
    assert set(rows) <= {field.name for field in fields(method)}
    assert ("alpha" in rows) == (method.mixes and method.draws_lambda)
    if method.citation is not None:
        papers = (method.citation, *method.further_citations)
        assert blocks_of(card, "bibtex") == ["\n\n".join(paper.bibtex() for paper in papers)]
        assert all(paper.url in str(card) for paper in papers)


def test_a_method_of_ones_own():
    @dataclass(frozen=True)
    class Mine(MixMethod):
        strength: float = 2.0

        name: ClassVar[str] = "mine"

    card = make_card(full(method=Mine(strength=3.0)))
    assert "| `strength` | **3** | 2 |" in str(card) and "\n\nMine (`mine`):\n\n|" in str(card)
    assert "bibtex" not in str(card)
    assert "MixTrainer(model=model, args=args, method=Mine(strength=3.0), train_dataset=your_data" in str(card)
    assert "takes over the recipe" not in str(card) and "`Mine` is none of the package" in str(card)
    assert "takes over the recipe" in str(make_card(full()))


# ---- text of any origin ----


class _Text(HTMLParser):
    """What a browser shows of a code element, which holds no markup."""

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def shown_code(markup: str) -> str:
    """What a reader sees of `code`."""
    if markup.startswith("<code>"):
        parsed = _Text(markup)
        assert parsed.tags == ["code"]
        return parsed.text
    assert re.fullmatch(r"`[^`|\\]+`", markup)
    return markup[1:-1]


ANY_TEXT = st.one_of(st.sampled_from(NASTY), st.text(st.characters(), max_size=30))


@given(ANY_TEXT)
def test_code_shows_the_text(text):
    markup = str(md.code(text))
    assert shown_code(markup) == md.one_line(text)
    assert "|" not in markup and "\n" not in markup


@given(ANY_TEXT)
def test_prose_shows_the_text_and_no_markup(text):
    markup = str(md.prose(text))
    assert not set(markup) & set("\\`*[]<>|~$\n")
    assert not re.match(r"(?:\d+[.)]|[-+=]+)(\s|$)", markup)
    parsed = _Text(markup)
    assert parsed.text == md.one_line(text) and not parsed.tags


@given(ANY_TEXT)
def test_fences_are_longer_than_what_they_hold(text):
    first, *lines, last = str(md.fenced(text, "bash")).split("\n")
    assert first == last + "bash" and not any(last in line for line in lines)


@examples(60)
@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_no_text_breaks_a_card(one, two, three):
    plain = full(data=DataFacts(name="n", files={"train": ["f"]}, columns=["c"], notes=["n"]), pictures={"t": "f.png"})
    nasty = replace(
        plain,
        model_name=one,
        repo_id=two,
        label_names=[one, two, three, "x"],
        base_model=two or "x",
        architecture=three or "x",
        data=DataFacts(name=one or "n", files={two: [three]}, columns=[one], notes=[two]),
        results=[SplitResult(three, {**METRICS, "mine " + one: 0.5})],
        baseline=[SplitResult(three, BASELINE)],
        baseline_notes=[one],
        pictures={one: two},
        training_arguments={one: two},
        device=three or "x",
        emissions=Emissions(0.1, None, one),
        command=two + three,
        versions={one: three},
        tags=[one],
    )
    card = make_card(nasty)
    text = str(card)
    assert text.encode("utf-8").decode("utf-8") == text
    assert str(ModelCard(text)) == text and is_generated(text)
    assert [result.metric_value for result in card.data.eval_results if result.metric_type in METRICS]
    assert [len(table) for table in tables_of(card)] == [7, 9, 2]
    usual = [line for line in str(make_card(plain)).split("\n") if line.startswith("## ")]
    fence_free = re.sub(r"^(`{3,})\w*\n.*?\n\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert [line for line in fence_free.split("\n") if line.startswith("## ")] == usual
    for block in blocks_of(card, "python"):
        compile(block, "example", "exec")


@pytest.mark.parametrize("more", [{}, {"modality": "image"}, {"is_adapter": True, "base_model": "user/base"}])
def test_a_temperature_has_lines_that_use_it(more):
    plain = CardData(model_name="m", repo_id="user/m", **more)
    card = make_card(replace(plain, temperature=1.25, temperature_origin="fitted on 40 rows of <dev>"))
    text = str(card)
    assert "A temperature of 1.2500, fitted on 40 rows of &lt;dev&gt;, is stored in its config" in text
    tempered = next(block for block in blocks_of(card, "python") if "temperature" in block)
    compile(tempered, "example", "exec")
    assert 'config.mixtext["temperature"]' in tempered and 'function_to_apply="none"' in tempered
    assert "temperature" not in str(make_card(plain))
    alone = str(make_card(replace(plain, temperature=1.25, needs_package=True)))
    assert "A temperature of 1.2500 is stored" in alone and "function_to_apply" not in alone


# ---- the file ----


def test_a_card_is_known_again_whatever_its_line_ends():
    text = str(make_card(full()))
    assert is_generated(text)
    assert is_generated(text.replace("\n", "\r\n")) and is_generated("\ufeff" + text.rstrip())
    assert is_generated(str(ModelCard(text))) and is_generated(text + "\n\n")
    for changed in (
        text.replace("0.8351", "0.9351"),
        text.replace("license: apache-2.0", "license: mit"),
        text.replace("- few-shot\n", "- few-shot\n- mine\n"),
        text + "\nMore.",
        re.sub("<!--.*-->", "", text),
        re.sub("sha256:.", "sha256:x", text),
        "",
        "# By hand",
    ):
        assert changed != text and not is_generated(changed)


def test_cards_are_written_over_cards_and_not_over_what_somebody_wrote(tmp_path, caplog):
    readme = tmp_path / "model" / "README.md"
    assert write_card(readme.parent, CardData("first"))
    assert readme.read_text(encoding="utf-8") == str(make_card(CardData("first")))
    readme.write_bytes(readme.read_bytes().replace(b"\n", b"\r\n"))
    assert write_card(readme.parent, CardData("second"))
    written = readme.read_bytes()
    assert b"# second" in written and b"\r" not in written

    for by_hand in (written.replace(b"classifies", b"guesses"), b"", b"\xff\xfe not utf-8", b"# Mine\n"):
        readme.write_bytes(by_hand)
        with caplog.at_level(logging.WARNING):
            assert not write_card(readme.parent, CardData("third"))
        assert readme.read_bytes() == by_hand
        assert str(readme) in caplog.text and "overwrite=True" in caplog.text
        caplog.clear()
    assert write_card(readme.parent, CardData("third"), overwrite=True)
    assert "# third" in readme.read_text(encoding="utf-8") and not caplog.text
    assert [path.name for path in readme.parent.iterdir()] == ["README.md"]


def test_a_card_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    write_card(tmp_path, CardData("first"))

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_card(tmp_path, CardData("second"))
    monkeypatch.undo()
    with pytest.raises(ValueError, match="problem_type"):
        write_card(tmp_path, CardData("second", problem_type="no"))
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert "# first" in (tmp_path / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("base", ["somebody/tiny", "/models/tiny", None])
def test_what_peft_writes_by_itself_is_no_edit(tmp_path, base):
    from peft import LoraConfig, get_peft_model
    from tiny import tiny_model

    model = get_peft_model(tiny_model("bert"), LoraConfig(task_type="SEQ_CLS", r=2))
    data = full(is_adapter=True, base_model=base)
    model.save_pretrained(tmp_path)
    assert not write_card(tmp_path, replace(data, is_adapter=False))
    assert write_card(tmp_path, data)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    for _ in range(2):
        model.save_pretrained(tmp_path)
    touched = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert touched != card and is_generated(touched)
    assert not is_generated(touched.replace("0.8351", "0.9351")) and not is_generated(touched + "\nMore.")
    assert write_card(tmp_path, data) and (tmp_path / "README.md").read_text(encoding="utf-8") == card


# ---- BibTeX ----


def parse_bibtex(entry: str) -> tuple[str, str, dict[str, str]]:
    """Kind, key and fields of an entry, by counting braces."""
    head = re.match(r"@(\w+)\{([^,\s]+),", entry)
    assert head is not None
    position, found = head.end(), {}
    while match := re.compile(r"\s*(\w+)\s*=\s*\{").match(entry, position):
        depth, end = 1, match.end()
        while depth:
            if entry[end] == "\\":
                end += 1
            else:
                depth += {"{": 1, "}": -1}.get(entry[end], 0)
            end += 1
        found[match[1]] = entry[match.end() : end - 1]
        assert entry[end] == ","
        position = end + 1
    assert entry[position:].strip() == "}"
    return head[1], head[2], found


KEYS = {
    "tmix": "chen2020mixtext",
    "mixtext": "chen2020mixtext",
    "manifold_mixup": "verma2019manifold",
    "embed_mixup": "guo2019augmenting",
    "pooled_mixup": "sun2020mixup",
    "ssmix": "yoon2021ssmix",
    "uda": "xie2020unsupervised",
    "mixup": "zhang2018mixup",
    "cutmix": "yun2019cutmix",
    "mixup_cutmix": "touvron2021training",
    "resizemix": "qin2023resizemix",
    "augmix": "hendrycks2020augmix",
    "puzzlemix": "kim2020puzzle",
    "puzzle_tmix": "kim2020puzzle",
    "lada": "chen2020local",
    "transmix": "chen2022transmix",
    "maskmix": "zhao2023mixpro",
}


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.citation is not None])
def test_bibtex_of_every_paper(name):
    citation = METHODS[name].citation
    assert citation is not None
    kind, key, entry = parse_bibtex(citation.bibtex())
    assert kind == {"embed_mixup": "misc", "resizemix": "article"}.get(name, "inproceedings")
    assert key == KEYS[name]
    venue = {"misc": "howpublished", "article": "journal", "inproceedings": "booktitle"}[kind]
    assert list(entry) == ["title", "author", venue, "year", "url"]
    assert entry["title"] == "{" + citation.title.replace("&", r"\&") + "}"
    assert (entry[venue], entry["year"], entry["url"]) == (citation.venue, str(citation.year), citation.url)
    authors = entry["author"].split(" and ")
    assert ", ".join(authors) == citation.authors.replace(" and ", ", ")
    assert all(re.fullmatch(r"[^\W\d_][\w-]*, (?:[A-Z]\.[ -]?)+", author) for author in authors)


def test_bibtex_of_names_and_titles_of_other_kinds():
    citation = Citation(
        "Müller-Öz, Q. V.", "A 100% {odd} title_of $x$ & #y", "ICML", 2030, "https://example.org/a_b%20c"
    )
    _, key, entry = parse_bibtex(citation.bibtex())
    assert key == "mulleroz2030100"
    assert entry["title"] == r"{A 100\% \{odd\} title\_of \$x\$ \& \#y}"
    assert entry["author"] == "Müller-Öz, Q. V." and entry["url"] == "https://example.org/a_b%20c"
    assert citation.short_authors == "Müller-Öz"
    assert replace(citation, authors="Guo, H. and Mao, Y.").short_authors == "Guo and Mao"
    with pytest.raises(ValueError, match="authors must be as"):
        replace(citation, authors="The Collective").bibtex()
