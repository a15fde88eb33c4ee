"""A trainer whose PuzzleMix keeps the saliency of its images: checkpoints hold it, and what cannot be kept is refused."""

import numpy as np
import pytest
import torch
from image_runs import image_rows, make_image_trainer
from runs import StopAt, arguments, assert_same_weights, series, weights
from safetensors.torch import load_file
from tiny import IMAGE_SIZE, tiny_image_model
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from mixtext_hf.methods import PuzzleMix
from mixtext_hf.models.embedded import small_image_processor
from mixtext_hf.training import MixTrainer


def make(folder, every=2, rows=20, **settings):
    return make_image_trainer(
        folder,
        image_rows(rows),
        mix_method="puzzlemix",
        **{
            "mix_kwargs": {"saliency_every": every},
            "image_augmentations": ["flip", "crop:3"],
            "per_device_train_batch_size": 4,
            "num_train_epochs": 3,
            **settings,
        },
    )


def count_saliency_passes(trainer):
    """The steps in which images were measured, and how many, as the run goes."""
    counts = []

    def count(model, args, inputs):
        if not model.training:
            counts.append((trainer.state.global_step, len(inputs["pixel_values"])))

    trainer.model.register_forward_pre_hook(count, with_kwargs=True)
    return counts


def test_each_image_is_measured_in_every_kth_epoch_and_trained_on_in_all(tmp_path):
    trainer = make(tmp_path, rows=18)
    counts = count_saliency_passes(trainer)
    trainer.train()
    # Five batches an epoch, the last of two rows.
    expected = [(step, 2 if step % 5 == 4 else 4) for step in (*range(5), *range(10, 15))]
    assert counts == expected
    assert trainer._memory.archive["saliency_epoch"].tolist() == [2] * 18
    assert np.isfinite(series(trainer, "loss")).all() and series(trainer, "saliency_undefined") == [0] * 15


def test_the_first_epoch_is_that_of_a_run_that_keeps_nothing(tmp_path):
    """With every=1 nothing is kept, and no batch says which rows it holds."""
    runs = {every: make(tmp_path, every) for every in (1, 2)}
    for trainer in runs.values():
        trainer.train()
    plain, kept = (series(trainer, "loss") for trainer in runs.values())
    assert plain[:5] == kept[:5] and plain[5:] != kept[5:]
    assert runs[1]._memory.archive == {}
    assert not {"visits", "frames"} & set(next(iter(runs[1].get_train_dataloader())))
    assert {"visits", "frames"} <= set(next(iter(runs[2].get_train_dataloader())))


@pytest.mark.parametrize(("stop", "workers"), [(3, 0), (7, 2)])
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_a_resumed_run_ends_where_the_uninterrupted_one_does(tmp_path, stop, workers):
    """From a step in which maps were kept for the first time, and from one in which they serve."""
    settings = {
        "optim": "adamw_torch",
        "learning_rate": 1e-3,
        "dataloader_num_workers": workers,
        "image_augmentations": ["random_resized_crop:0.4", "flip"],
    }
    whole = make(tmp_path / "whole", **settings)
    whole.train()
    settings |= {"save_strategy": "steps", "save_steps": stop}
    make(tmp_path / "stopped", callbacks=[StopAt(stop)], **settings).train()
    kept = load_file(tmp_path / "stopped" / f"checkpoint-{stop}" / "archive.safetensors")
    assert (kept["saliency_epoch"] >= 0).sum() == min(4 * stop, 20)
    resumed = make(tmp_path / "stopped", **{**settings, "save_total_limit": 1})
    counts = count_saliency_passes(resumed)
    resumed.train(resume_from_checkpoint=True)
    assert_same_weights(weights(whole.model), weights(resumed.model))
    assert torch.equal(whole._memory.archive["saliency"], resumed._memory.archive["saliency"])
    # Those of the first epoch that were kept are not measured again.
    assert [step for step, _ in counts] == [*range(stop, 5), *range(10, 15)]


def test_a_second_training_begins_with_nothing_kept(tmp_path):
    trainer = make(tmp_path, learning_rate=0.0, num_train_epochs=1)
    trainer.train()
    counts = count_saliency_passes(trainer)
    trainer.train()
    assert len(counts) == 5


def test_rows_of_a_last_batch_that_is_dropped_are_measured_when_they_come(tmp_path):
    trainer = make(tmp_path, 3, rows=18, dataloader_drop_last=True)
    counts = count_saliency_passes(trainer)
    trainer.train()
    later = [count for step, count in counts if step >= 4]
    assert [count for step, count in counts if step < 4] == [4] * 4
    assert 0 < sum(later) <= 2
    assert (trainer._memory.archive["saliency_epoch"] >= 0).sum() == 16 + sum(later)


def test_what_moves_in_other_ways_is_refused(tmp_path, monkeypatch):
    for name in ("rand_augment", "augmix"):
        with pytest.raises(ValueError, match=rf"image_augmentations=\['flip', '{name}'\]: {name} moves"):
            make(tmp_path, image_augmentations=["flip", name])
    with (
        monkeypatch.context() as patch,
        pytest.raises(ValueError, match=r"crop frames with black what .* saliency_every to 1"),
    ):
        # Of a processor that resizes nothing, where one crop comes after the other.
        patch.setattr("mixtext_hf.training.images.model_resize", lambda *processor: None)
        make(tmp_path, image_augmentations=["random_resized_crop", "crop:3"])
    make(tmp_path, 1, image_augmentations=["random_resized_crop", "crop:3", "rand_augment"])
    make(tmp_path, image_augmentations=["flip", "crop:3", "erasing"], max_steps=2).train()
    make(tmp_path, image_augmentations=["crop:3", "random_resized_crop", "flip"], max_steps=2).train()


def test_a_processor_that_crops_after_a_crop_is_refused(tmp_path):
    height, width = IMAGE_SIZE
    side = min(height, width)
    sizes = {"size": {"shortest_edge": side + 8}, "crop_size": {"height": side, "width": side}}

    def trainer(augmentations, processor):
        args = arguments(
            tmp_path, mix_method="puzzlemix", mix_kwargs={"saliency_every": 2}, image_augmentations=augmentations
        )
        return MixTrainer(tiny_image_model("resnet"), args, train_dataset=image_rows(8), processing_class=processor)

    crops = CLIPImageProcessorPil(**sizes)
    with pytest.raises(
        ValueError, match=r"\['crop:3'\]: after crop the image processor crops .* use random_resized_crop"
    ):
        trainer(["crop:3"], crops)
    for augmentations in (["flip"], ["flip", "random_resized_crop"]):
        trainer(augmentations, crops)
    trainer(["crop:3"], small_image_processor((side + 8, side), 3))


def test_pixels_that_are_ready_cannot_be_followed(tmp_path):
    ready = [{"pixel_values": torch.randn(3, *IMAGE_SIZE), "label": i % 3} for i in range(8)]
    with pytest.raises(ValueError, match=r"saliency_every=4 follows raw images .* has none"):
        make_image_trainer(tmp_path, ready, method=PuzzleMix(saliency_every=4))
    make_image_trainer(tmp_path, ready, method=PuzzleMix(), max_steps=1).train()
