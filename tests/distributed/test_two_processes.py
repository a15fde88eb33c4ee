"""Two processes make the trajectory of one with the same global batch, and draw mixes of their own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from image_runs import run_images
from runs import SumOfTwo, arguments, assert_same_trajectory, make_trainer, partly_labelled_rows, run, series
from sentences import run_sentences
from tiny import tiny_model
from two_processes import LONG_TAIL, consistency, drawn_alike, fgsm_accuracy, mix_with

from mixtext_hf.methods import ERM, Mixup, PuzzleMix, SSMix, TMix, TransMix


pytestmark = pytest.mark.distributed
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What both ranks wrote; one launch for all tests."""
    folder = tmp_path_factory.mktemp("two_processes")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    paths = [str(HERE.parent), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(
        [sys.executable, str(HERE / "launched.py"), str(port), "two_processes", str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return [json.loads((folder / f"rank{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1)]


@pytest.mark.parametrize("method", ["erm", "tmix"])
def test_same_global_batch_same_trajectory(ranks, tmp_path, method):
    reference = run(tmp_path, 16, 1, mix_method=method)
    assert_same_trajectory(reference, ranks[0]["runs"][f"{method} 8x1"])
    assert_same_trajectory(reference, ranks[0]["runs"][f"{method} 4x2"])


def test_weights_of_classes_are_those_of_one_process(ranks, tmp_path):
    reference = run(tmp_path, 16, 1, **LONG_TAIL)
    assert_same_trajectory(reference, ranks[0]["runs"]["long tail 8x1"])
    assert_same_trajectory(reference, ranks[0]["runs"]["long tail 4x2"])
    assert_same_trajectory(drawn_alike(tmp_path, 16), ranks[0]["runs"]["drawn alike 8x1"])


def test_two_losses_a_step_are_their_sum(ranks, tmp_path):
    reference = run(tmp_path, 16, 1, method=SumOfTwo())
    assert_same_trajectory(reference, ranks[0]["runs"]["two losses 8x1"])
    assert_same_trajectory(reference, ranks[0]["runs"]["two losses 4x2"])


@pytest.mark.parametrize("clean_lam", [0.0, 0.5])
def test_puzzlemix_makes_the_trajectory_of_one_process(ranks, tmp_path, clean_lam):
    """Its saliency is taken in a pass of its own, or with the loss of the clean images."""
    reference = run_images(tmp_path, 16, 1, PuzzleMix(clean_lam=clean_lam))
    for pieces in ("8x1", "4x2"):
        assert_same_trajectory(reference, ranks[0]["runs"][f"puzzlemix {clean_lam} {pieces}"])


def test_clean_rows_beside_mixed_ones_make_the_trajectory_of_one_process(ranks, tmp_path):
    for pieces in ("8x1", "4x2"):
        on_images = run_images(tmp_path, 16, 1, Mixup(clean_lam=0.5))
        assert_same_trajectory(on_images, ranks[0]["runs"][f"mixup 0.5 {pieces}"])
        on_texts = run(tmp_path, 16, 1, method=TMix(clean_lam=0.5))
        assert_same_trajectory(on_texts, ranks[0]["runs"][f"tmix 0.5 {pieces}"])


def test_tokens_make_the_trajectory_of_one_process(ranks, tmp_path):
    """Sentences have different numbers of labels, and so have the pieces of a batch."""
    for method in (ERM(), TMix()):
        reference = run_sentences(tmp_path, 16, 1, method)
        assert_same_trajectory(reference, ranks[0]["runs"][f"tokens {method.name} 8x1"])


def test_ssmix_makes_the_trajectory_of_one_process(ranks, tmp_path):
    """Its saliency is the gradient of a pass through the wrapper of the processes, which is not shared between them."""
    reference = run(tmp_path, 16, 1, method=SSMix())
    for pieces in ("8x1", "4x2"):
        assert_same_trajectory(reference, ranks[0]["runs"][f"ssmix {pieces}"])


def test_transmix_makes_the_trajectory_of_one_process(ranks, tmp_path):
    """The attention is that of the pass through the wrapper of the processes."""
    reference = run_images(tmp_path, 16, 1, TransMix())
    for pieces in ("8x1", "4x2"):
        assert_same_trajectory(reference, ranks[0]["runs"][f"transmix {pieces}"])


def test_ranks_with_fewer_labels_weigh_less(ranks, tmp_path):
    args = arguments(tmp_path, mix_method="erm", train_sampling_strategy="sequential", per_device_train_batch_size=16)
    trainer = make_trainer(tiny_model("bert"), args, partly_labelled_rows())
    trainer.train()
    reference = {name: series(trainer, name) for name in ("loss", "grad_norm")}
    assert_same_trajectory(reference, ranks[0]["runs"]["uneven labels"])


def test_every_rank_draws_its_own_plans(ranks):
    one, other = ranks[0]["random"], ranks[1]["random"]
    assert len(one["lam"]) == len(other["lam"]) == 4
    assert not set(one["lam"]) & set(other["lam"])
    assert one["index"] != other["index"]


@pytest.mark.parametrize("saliency", ["of a pass of its own", "of the clean loss"])
def test_a_rank_that_mixes_alone_keeps_no_other_waiting(ranks, saliency):
    """The statistics of batch norms go round before every step, whoever mixes in it."""
    one, other = (rank["chance"][("of a pass of its own", "of the clean loss").index(saliency)] for rank in ranks)
    assert len(one["mixed"]) == 12
    assert any(mixed != of_other for mixed, of_other in zip(one["mixed"], other["mixed"], strict=True))
    assert one["state"] == other["state"]


def test_logged_terms_are_averages_over_steps_and_ranks(ranks):
    one, other = ranks[0]["random"], ranks[1]["random"]
    for drawn, logged in (("lam", "logged_lam"), ("layer", "logged_layer")):
        values = [one[drawn], other[drawn]]
        expected = [sum(v[i] + v[i + 1] for v in values) / 4 for i in (0, 2)]
        assert one[logged] == pytest.approx(expected, rel=1e-5)
        # An average over one rank alone would be another number.
        assert one[logged] != pytest.approx([(values[0][i] + values[0][i + 1]) / 2 for i in (0, 2)], rel=1e-3)


def test_the_weights_stay_equal_on_both_ranks(ranks):
    one, other = ranks[0]["random"], ranks[1]["random"]
    assert one["weights"] == other["weights"]


def test_consistency_training_makes_the_trajectory_of_one_process(ranks, tmp_path):
    assert_same_trajectory(consistency(tmp_path, 16), ranks[0]["runs"]["consistency 8x1"])


@pytest.mark.parametrize("name", ["ssmix", "puzzle_tmix"])
def test_guesses_that_are_mixed_by_saliency_make_the_trajectory_of_one_process(ranks, tmp_path, name):
    assert_same_trajectory(mix_with(tmp_path, 16, name), ranks[0]["runs"][f"mix with {name} 8x1"])


def test_ranks_never_see_the_same_unlabelled_row_in_a_step(ranks):
    one, other = (rank["two streams"]["seen"] for rank in ranks)
    assert len(one) == len(other) == ranks[0]["two streams"]["steps"] == 12
    for own, others in zip(one, other, strict=True):
        assert len({*own, *others}) == 14
    # 75 rows make five batches of 7 on two ranks, and the next five are another order.
    for start in (0, 5):
        rows = [row for step in range(start, start + 5) for rank in (one, other) for row in rank[step]]
        assert len(set(rows)) == 70
    assert one[:5] != one[5:10]


def test_adversarial_accuracy_counts_every_image_once(ranks, tmp_path):
    reference = fgsm_accuracy(tmp_path, 8)
    assert 0 < reference["accuracy"] < 1 and reference["labels"] == [0, 1, 2] * 7
    assert ranks[0]["fgsm"] == ranks[1]["fgsm"] == reference


def test_two_streams_resume_bit_for_bit_on_two_processes(ranks):
    assert ranks[0]["two streams"]["weights"] == ranks[1]["two streams"]["weights"]
    for rank in ranks:
        found = rank["two streams"]
        if not found["resumes"]:
            pytest.skip("this release of transformers cannot resume several processes on the CPU")
        assert found["bit-equal"]
        assert found["seen again"] == found["seen"][6:]


def test_guesses_are_the_same_on_both_ranks_and_rounds_resume_bit_for_bit(ranks):
    one, other = (rank["rounds"] for rank in ranks)
    assert one["weights"] == other["weights"] and one["guesses"] == other["guesses"] and one["rows"] == other["rows"]
    assert sum(one["guesses"]) == pytest.approx(75, abs=1e-3) and len(one["rows"]) < 75
    assert one["ended"] and other["ended"]
    if not one["resumes"]:
        pytest.skip("this release of transformers cannot resume several processes on the CPU")
    assert one["bit-equal"] and other["bit-equal"]


def test_a_column_of_guesses_is_read_once_and_refused_where_the_processes_share_no_folder(ranks):
    one, other = (rank["column"] for rank in ranks)
    assert one["guesses"] == other["guesses"] and len(one["guesses"]) == 40
    assert one["guesses"][0] == pytest.approx([0.2, 0.5, 0.3])
    for found in (one, other):
        assert "is not one folder for all processes: rank 1 does not see what rank 0 writes" in found["refused"]
