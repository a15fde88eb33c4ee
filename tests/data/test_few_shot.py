import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from depth import examples
from hypothesis import given
from hypothesis import strategies as st

from mixtext_hf.data import few_shot_split
from mixtext_hf.data.stratified import hold_out


def labelled(labels: list[int]) -> Dataset:
    return Dataset.from_dict({"row": list(range(len(labels))), "label": labels})


@st.composite
def label_lists(draw: st.DrawFn) -> tuple[list[int], int]:
    per_class = draw(st.integers(1, 4))
    counts = draw(st.lists(st.integers(per_class, 9), min_size=1, max_size=4))
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    return draw(st.permutations(labels)), per_class


@examples(40)
@given(label_lists(), st.integers(0, 2**31))
def test_split_is_exact_and_loses_nothing(case: tuple[list[int], int], seed: int) -> None:
    labels, per_class = case
    few, rest = few_shot_split(labelled(labels), "label", per_class, seed)

    assert sorted([*few["row"], *rest["row"]]) == list(range(len(labels)))
    assert {label: list(few["label"]).count(label) for label in set(labels)} == dict.fromkeys(labels, per_class)
    assert list(rest["row"]) == sorted(rest["row"])
    assert [labels[row] for row in few["row"]] == list(few["label"])
    again, _ = few_shot_split(labelled(labels), "label", per_class, seed)
    assert list(again["row"]) == list(few["row"])


@examples(25)
@given(st.integers(0, 2**31), st.integers(1, 5))
def test_other_classes_do_not_change_the_draw_of_a_class(seed: int, more: int) -> None:
    labels = [0, 1] * 12
    alone, _ = few_shot_split(labelled(labels), "label", 3, seed)

    def of_class(split: Dataset, label: int) -> set[int]:
        return {row["row"] for row in split if row["label"] == label}

    for changed, unchanged in ((0, 1), (1, 0)):
        # Appended, so that the rows of the other class stay where they are.
        beside, _ = few_shot_split(labelled([*labels, *[changed] * more, *[2] * 3]), "label", 3, seed)
        assert of_class(alone, unchanged) == of_class(beside, unchanged)


def test_seeds_differ_and_the_order_is_shuffled() -> None:
    dataset = labelled([0] * 50 + [1] * 50)
    draws = [tuple(few_shot_split(dataset, "label", 5, seed)[0]["row"]) for seed in range(10)]
    assert len({frozenset(draw) for draw in draws}) == 10
    # Some run must not begin with all of class 0.
    assert any(set(draw[:5]) & set(range(50, 100)) for draw in draws)


def test_errors_name_the_class_and_the_remedy() -> None:
    features = Features({"label": ClassLabel(names=["cat", "dog"])})
    dataset = Dataset.from_dict({"label": [0, 0, 0, 1, 1]}, features=features)
    with pytest.raises(ValueError, match=r"`labeled_per_class` is 3, but class 'dog' has only 2 .*at most 2"):
        few_shot_split(dataset, "label", 3, 0)
    with pytest.raises(ValueError, match=r"class 1 has only 1"):
        few_shot_split(labelled([0, 0, 1]), "label", 2, 0)
    with pytest.raises(ValueError, match=r"`labeled_per_class` is 0"):
        few_shot_split(dataset, "label", 0, 0)
    with pytest.raises(ValueError, match=r"`label_column` is 'labels'.*\['label'\]"):
        few_shot_split(dataset, "labels", 1, 0)
    with pytest.raises(ValueError, match=r"`seed` is -1"):
        few_shot_split(dataset, "label", 1, -1)
    for bad in ([0, -1, 0], [0.5, 1.0, 1.5]):
        with pytest.raises(ValueError, match=r"must hold class ids"):
            few_shot_split(Dataset.from_dict({"label": bad}), "label", 1, 0)
    with pytest.raises(ValueError, match=r"must hold class ids"):
        few_shot_split(
            Dataset.from_dict({"label": [0, None]}, features=Features({"label": Value("int64")})), "label", 1, 0
        )


@examples(40)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=40), st.data())
def test_held_out_share_has_the_proportions_of_the_whole(labels: list[int], data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(labels) - 1))
    stays, held_out = hold_out(labelled(labels), size, seed=3, label_column="label")

    assert len(held_out) == size
    assert sorted([*stays["row"], *held_out["row"]]) == list(range(len(labels)))
    for label in set(labels):
        exact = labels.count(label) * size / len(labels)
        assert abs(list(held_out["label"]).count(label) - exact) < 1
    assert list(hold_out(labelled(labels), size, seed=3, label_column="label")[1]["row"]) == list(held_out["row"])


def test_held_out_rows_depend_on_the_seed_and_need_no_labels() -> None:
    dataset = labelled([0] * 100)
    draws = {tuple(hold_out(dataset, 10, seed)[1]["row"]) for seed in range(5)}
    assert len(draws) == 5
    assert all(len(set(draw)) == 10 and list(draw) == sorted(draw) for draw in draws)
    for size in (0, 100):
        with pytest.raises(ValueError, match=rf"`size` is {size}, .*between 1 and 99"):
            hold_out(dataset, size, 0)
    # The stream of the held-out share is not the stream of the few labelled examples.
    few, _ = few_shot_split(dataset, "label", 10, 0)
    _, held_out = hold_out(dataset, 10, 0, "label")
    assert not np.array_equal(sorted(few["row"]), list(held_out["row"]))


def test_a_name_of_the_feature_without_examples_is_no_class() -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["a", "unused", "c"])})
    dataset = Dataset.from_dict({"text": list("wxyz"), "label": [0, 0, 2, 2]}, features=features)
    few, rest = few_shot_split(dataset, "label", 1, seed=0)
    assert sorted(few["label"]) == [0, 2] == sorted(rest["label"])
    assert few.features["label"].names == ["a", "unused", "c"]


def test_all_classes_with_too_few_rows_are_named_or_taken_as_they_are() -> None:
    features = Features({"label": ClassLabel(names=["a", "b", "c", "unused"])})
    dataset = Dataset.from_dict({"label": [0, 1, 1, 2, 2, 2]}, features=features)
    with pytest.raises(ValueError, match=r"is 3, but class 'a' has only 1, class 'b' has only 2 examples: .*up_to"):
        few_shot_split(dataset, "label", 3, seed=0)
    few, rest = few_shot_split(dataset, "label", 2, seed=0, up_to=True)
    assert sorted(few["label"]) == [0, 1, 1, 2, 2] and rest["label"][:] == [2]
    # The rows of a class that has enough are those of a draw that all classes can fill.
    full, _ = few_shot_split(dataset.filter(lambda row: row["label"] == 2), "label", 2, seed=0)
    assert len(full) == 2
