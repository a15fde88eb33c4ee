"""What the commands tell the loaders: nothing that both loaders take is forgotten."""

from inspect import signature
from types import SimpleNamespace

from mixtext_hf.cli.evaluation_inputs import DataArguments as MeasuredData
from mixtext_hf.cli.run import Run
from mixtext_hf.cli.run_arguments import HubArguments, rows_asked_for
from mixtext_hf.cli.train_image import DataArguments as ImageData
from mixtext_hf.cli.train_text import DataArguments as TextData
from mixtext_hf.data import load_image_datasets, load_text_datasets


def taken_by_both() -> set[str]:
    texts, images = (signature(load).parameters for load in (load_text_datasets, load_image_datasets))
    # The revision of a data set has no flag; the names of classes are those of the model.
    return texts.keys() & images.keys() - {"revision", "label_names"}


def told(data_args, *, seed: int = 3) -> dict:
    return Run.rows_to_train_on(
        SimpleNamespace(data_args=data_args, model_args=HubArguments(token="t"), args=SimpleNamespace(seed=seed))
    )


def test_training_tells_all_that_both_loaders_take():
    for kind in (TextData, ImageData):
        assert told(kind()).keys() == taken_by_both()


def test_an_argument_goes_to_the_parameter_of_its_name():
    data_args = TextData(**{name: name for name in taken_by_both() - {"seed", "cache_dir", "token"}})
    assert all(told(data_args)[name] == name for name in taken_by_both() - {"seed", "cache_dir", "token"})
    assert told(data_args)["token"] == "t"


def test_rows_are_chosen_by_the_seed_of_the_run_unless_they_have_their_own():
    assert told(TextData())["seed"] == 3
    assert told(TextData(split_seed=0))["seed"] == 0


def test_measuring_tells_the_loaders_nothing_that_is_for_training_alone():
    asked = rows_asked_for(MeasuredData(validation_split_fraction=0.1), HubArguments(), seed=1)
    assert asked["validation_split_fraction"] == 0.1 and asked["seed"] == 1
    assert taken_by_both() - asked.keys() == {
        "labeled_per_class",
        "up_to",
        "imbalance",
        "max_train_samples",
        "label_noise",
        "label_noise_kind",
        "noisy_label_column",
    }
