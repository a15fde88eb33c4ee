"""The README's loops, as they stand there, against MixTrainer with the same plans."""

import re
from pathlib import Path

import pytest
import torch
from tiny import tiny_batch, tiny_model

from mixtext_hf import MixTrainer, MixTrainingArguments, TMix


README = Path(__file__).parent.parent / "README.md"
STEPS = 5


def loop(name: str) -> str:
    text = README.read_text(encoding="utf-8")
    return re.search(rf"<!-- {name} -->\n```python\n(.*?)```", text, re.DOTALL).group(1)


def batches():
    generator = torch.Generator().manual_seed(3)
    for step in range(STEPS):
        yield {**tiny_batch(seed=step), "labels": torch.randint(0, 3, (4,), generator=generator)}


def run(source: str) -> list[float]:
    losses: list[float] = []
    source = re.sub(r"(\n    loss = .*)", r"\1\n    losses.append(loss.item())", source)
    namespace = {"model": tiny_model(), "seed": 7, "losses": losses, "batches": list(batches())}
    exec(compile(source, "README.md", "exec"), namespace)
    return losses


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    args = MixTrainingArguments(
        str(tmp_path_factory.mktemp("out")),
        seed=7,
        optim="adamw_torch",
        learning_rate=5e-5,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        per_device_train_batch_size=4,
        max_steps=STEPS,
        logging_steps=1,
        save_strategy="no",
        train_sampling_strategy="sequential",
        disable_tqdm=True,
        report_to="none",
        use_cpu=True,
    )
    rows = [{name: value[i] for name, value in batch.items()} for batch in batches() for i in range(4)]
    trainer = MixTrainer(model=tiny_model(), args=args, method=TMix(alpha=16.0, layers=(2, 3, 4)), train_dataset=rows)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("name", ["plain-loop", "accelerate-loop"])
def test_the_loop_reaches_the_loss_of_the_trainer(name, trained):
    losses = run(loop(name))
    assert len(losses) == STEPS
    assert len(set(losses)) == STEPS
    torch.testing.assert_close(losses, trained, rtol=0, atol=1e-6)


def test_what_the_readme_points_to_is_there():
    """Files and folders, and the headings within it; and nothing is left of what a writer meant to fill in."""
    text = README.read_text(encoding="utf-8")
    # Code shows links too.
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    }
    links = re.findall(r"\]\(([^)\s]+)\)", prose)
    assert len(links) > 10
    for link in links:
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        assert not path or (README.parent / path).exists(), link
        assert path or anchor in headings, link
    assert not re.search(r"@@|TODO|FIXME|XXX|TBD", prose)
