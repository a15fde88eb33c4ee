"""The mean of a logged term over runs."""

import logged_means as means
import pytest


LOG = """Training on 40 texts.
step 2/10, epoch 0.4: loss 1.5, mask_constant 0.5, mix_lambda 0.25
step 8/10, epoch 1.6: loss 1.2, mask_constant 0
step 10/10, epoch 2: loss 1.1, loss_clean 3e-05, mask_constant 1
train: loss 0.79 (40 texts, 31.3 s)
"""


def test_a_line_counts_by_its_steps():
    assert means.mean_of_run(LOG, "mask_constant") == pytest.approx((2 * 0.5 + 6 * 0 + 2 * 1) / 10)
    assert means.mean_of_run(LOG, "loss_clean") == pytest.approx(3e-05)
    assert means.mean_of_run(LOG, "constant") is None  # the end of a name is no name


def test_a_run_that_went_on_counts_no_step_twice():
    again = "step 8/10, epoch 1.6: mask_constant 0\nstep 6/10, epoch 1.2: mask_constant 1\nstep 8/10, epoch 1.6: mask_constant 0.5\n"
    assert means.mean_of_run(again, "mask_constant") == pytest.approx((6 * 1 + 2 * 0.5) / 8)


def test_runs_of_a_comparison(tmp_path, capsys):
    for name, log in (
        ("a_b-labels10-seed0-0123abcd", LOG),
        ("a_b-labels10-seed1-0123abce", LOG),
        ("x-all-seed0-0123abcd", ""),
    ):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "output.log").write_text(log)
    assert means.main(["mix_lambda", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == ["| a_b | 10 | 2 | 0.250 |"]
    file = tmp_path / "means.csv"
    assert means.main(["mix_lambda", str(tmp_path), "--output_file", str(file)]) == 0
    assert file.read_text().splitlines() == ["variant,labeled_per_class,runs,mix_lambda", "a_b,10,2,0.25"]
    file.unlink()
    assert means.main(["gone", str(tmp_path), "--output_file", str(file)]) == 1
    assert not file.exists()
    assert "No run in" in capsys.readouterr().err
