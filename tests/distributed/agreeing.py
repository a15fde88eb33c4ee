"""Launched on two processes, `agreeing.py FOLDER WHAT...`: what must be the same in both, or as in one; each writes what it saw.

`test_agreeing.py` starts it, and calls parts of it in one process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import PartialState
from image_runs import image_rows, make_image_trainer
from runs import MODELS, arguments, group_plan, make_trainer, tiny_rows, weights
from table_files import write_table
from tiny import tiny_batch, tiny_image_model, tiny_images, tiny_model, tiny_tokenizer
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import AutoModelForImageClassification, TrainerCallback

from mixtext_hf.cli import main as cli
from mixtext_hf.cli import train_text
from mixtext_hf.methods import MixMethod, PuzzleMix, PuzzleTMix, SSMix
from mixtext_hf.models import make_mixable
from mixtext_hf.training import MixTrainer, saving
from mixtext_hf.training.ranks import leave_group, share_buffers
from mixtext_hf.training.stopping import Stopped


def main() -> None:
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    results = {name: PARTS[name](folder) for name in sys.argv[2:]}
    (folder / f"rank{rank}.json").write_text(json.dumps(results), encoding="utf-8")
    leave_group()


def threads_of_the_group() -> list[str]:
    """Those that would touch tensors while the interpreter ends; where the system tells the names of threads."""
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    return sorted(name for name in names if "gloo" in name)


def sums(model: torch.nn.Module) -> dict[str, float]:
    """Of each weight and buffer."""
    return {name: value.double().sum().item() for name, value in weights(model).items()}


def texts(folder: Path) -> dict[str, Any]:
    """The weights that some steps lead to."""
    found = {}
    for method in ("erm", "tmix"):
        args = arguments(folder / method, mix_method=method, max_steps=3, save_strategy="steps", save_steps=2)
        trainer = make_trainer(tiny_model("bert", dropout=0.1), args, tiny_rows(32))
        trainer.train()
        found[method] = sums(trainer.model)
    return found


def batch_norm(folder: Path) -> dict[str, Any]:
    """What the model in training, that at the end and the saved one say of the same images."""
    rows = image_rows(10, seed=5)
    trainer = resnet(folder / "batch_norm", eval_dataset=rows, eval_strategy="steps", eval_steps=1, max_steps=3)
    trainer.train()
    output = trainer.predict(rows)
    trainer.save_model()
    trainer.accelerator.wait_for_everyone()
    saved = AutoModelForImageClassification.from_pretrained(trainer.args.output_dir).eval()
    with torch.no_grad():
        logits = saved(trainer.data_collator(rows)["pixel_values"]).logits
    return {
        "weights": sums(trainer.model),
        "predicted": torch.as_tensor(output.predictions).tolist(),
        "by the saved one": logits.tolist(),
        "losses": [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry],
        "loss by the saved one": trainer.loss(logits, torch.arange(10) % 3).item(),
        "test_loss": output.metrics["test_loss"],
    }


def resuming(folder: Path) -> dict[str, Any]:
    """PuzzleMix on a network with batch norms, resumed from each of its steps: the weights that differ in the end."""
    method = PuzzleMix(clean_lam=0.0)
    settings = {"gradient_accumulation_steps": 2, "learning_rate": 1e-2, "max_steps": 4}
    whole = resnet(folder / "whole", method=method, save_strategy="steps", save_steps=1, **settings)
    whole.train()
    expected = weights(whole.model)
    different = {}
    for step in (1, 2, 3):
        resumed = resnet(folder / f"from {step}", method=method, save_strategy="steps", save_steps=1, **settings)
        try:
            resumed.train(resume_from_checkpoint=str(folder / "whole" / f"checkpoint-{step}"))
        except RuntimeError as error:
            # Older releases of transformers load to `cpu:0`, which torch does not know: no Trainer resumes there.
            if "tagged with cpu:0" not in str(error):
                raise
            return {"resumes": False}
        found = weights(resumed.model)
        different[step] = [name for name in expected if not torch.equal(expected[name], found[name])]
    return {"resumes": True, "different": different, "weights": sums(whole.model)}


def kept(folder: Path) -> dict[str, Any]:
    """
    PuzzleMix that keeps the saliency of 18 images for two epochs, each process mixing in steps of its own: what both keep in the end,
    and the weights, uninterrupted and resumed in the epoch that measures nothing.
    """
    settings = {
        "method": PuzzleMix(saliency_every=2, prob=0.6),
        "image_augmentations": ["flip", "crop:2"],
        "learning_rate": 1e-2,
        "num_train_epochs": 4,
        "save_strategy": "steps",
        "save_steps": 4,
    }
    return whole_and_resumed(folder / "kept", lambda out: resnet(out, rows=image_rows(18), **settings))


def kept_texts(folder: Path) -> dict[str, Any]:
    """The same of SSMix and PuzzleMix in hidden states, on texts of which some have no label; and the passes of the uninterrupted runs."""
    rows = tiny_rows(18)
    for row in rows[:3]:
        row["label"] = -1
    found: dict[str, Any] = {}
    for method in (SSMix(saliency_every=2, prob=0.6), PuzzleTMix(saliency_every=2, prob=0.6)):
        passes: dict[str, list[list[int]]] = {}

        def make(out: Path, method: MixMethod = method, passes: dict[str, list[list[int]]] = passes) -> Any:
            args = arguments(
                out,
                per_device_train_batch_size=2,
                gradient_accumulation_steps=2,
                num_train_epochs=4,
                save_strategy="steps",
                save_steps=4,
            )
            trainer = make_trainer(tiny_model("bert", dropout=0.1), args, rows, method=method)
            made = passes[out.name] = []
            trainer.model.register_forward_pre_hook(
                lambda model, args, inputs: made.append([trainer.state.global_step, len(inputs["input_ids"])]),
                with_kwargs=True,
            )
            return trainer

        of_method = whole_and_resumed(folder / f"kept {method.name}", make)
        found[method.name] = {**of_method, "passes": passes[f"kept {method.name} whole"]}
    return found


def whole_and_resumed(folder: Path, make: Callable[[Path], Any]) -> dict[str, Any]:
    """What a run keeps in the end, and its weights: uninterrupted, and resumed from its fourth step."""
    found: dict[str, Any] = {}
    whole = folder.with_name(f"{folder.name} whole")
    for name, resume in (("whole", None), ("resumed", str(whole / "checkpoint-4"))):
        trainer = make(folder.with_name(f"{folder.name} {name}"))
        try:
            trainer.train(resume_from_checkpoint=resume)
        except RuntimeError as error:
            if "tagged with cpu:0" not in str(error):
                raise
            return {**found, "resumes": False}
        archive = trainer._memory.archive
        found[name] = {
            "maps": archive["saliency"].double().flatten(1).sum(dim=1).tolist(),
            "epochs": archive["saliency_epoch"].tolist(),
            "weights": sums(trainer.model),
        }
    return {**found, "resumes": True}


def resnet(folder: Path, *, rows: Any = None, **settings: Any) -> Any:
    """A trainer of a network with batch norms."""
    rows = image_rows(32) if rows is None else rows
    return make_image_trainer(
        folder, rows, model=tiny_image_model("resnet"), **{"per_device_train_batch_size": 4, **settings}
    )


def loss_of_rows(folder: Path, batch: int = 4) -> dict[str, list[float]]:
    """The loss of an evaluation, of rows that make no whole batches and of fewer than a batch, with and without hidden labels."""
    found = {}
    for labels in ("classes", "multi", "scores"):
        rows = tiny_rows(13, labels, seed=9)
        hidden = [{**row, "label": -1} if i in (1, 8, 9, 12) else row for i, row in enumerate(rows)]
        args = arguments(folder / labels, mix_method="erm", per_device_eval_batch_size=batch)
        trainer = make_trainer(tiny_model("bert", **MODELS[labels]), args, rows)
        sets = {"all": rows, "few": rows[:3], **({"hidden": hidden} if labels == "classes" else {})}
        for name, some in sets.items():
            found[f"{labels} {name}"] = [
                trainer.evaluate(some)["eval_loss"],
                trainer.predict(some, metric_key_prefix="other").metrics["other_loss"],
                trainer.loss(*one_by_one(trainer, some)).item(),
            ]
    return found


def one_by_one(trainer: Any, rows: list[dict[str, Any]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels of rows, each in a batch of its own."""
    batches = [trainer.data_collator([row]) for row in rows]
    with torch.no_grad():
        model = trainer.model.eval()
        logits = [model(**{n: v for n, v in batch.items() if n != "labels"}).logits for batch in batches]
    return torch.cat(logits), torch.cat([batch["labels"] for batch in batches])


def sharded(folder: Path) -> dict[str, Any]:
    """The gradients of a mixed batch where each layer is spread over both processes, and buffers of a network beside those."""
    mesh = init_device_mesh("cpu", (2,))

    def gradients(model: Any, shard: bool) -> dict[str, torch.Tensor]:
        mixer = make_mixable(model.train())
        for layer in model.base_model.encoder.layer if shard else ():
            fully_shard(layer, mesh=mesh)
        if shard:
            fully_shard(model, mesh=mesh)
        with mixer.applying(group_plan(4)):
            model(**tiny_batch()).logits.square().sum().backward()
        return {
            name: p.grad.full_tensor() if shard else p.grad
            for name, p in model.named_parameters()
            if p.grad is not None
        }

    whole, spread = gradients(tiny_model("bert"), False), gradients(tiny_model("bert"), True)
    network = tiny_image_model("resnet").train()
    fully_shard(network, mesh=mesh)
    network(**tiny_images("resnet", seed=int(os.environ["RANK"])))
    share_buffers(network)
    return {
        "names": whole.keys() == spread.keys(),
        "apart": max((whole[name] - spread[name]).abs().max().item() for name in whole),
        "size": max(gradient.abs().max().item() for gradient in whole.values()),
        "buffers": {name: buffer.double().sum().item() for name, buffer in network.named_buffers()},
    }


class Told(MixTrainer):
    """Some of the processes get a signal in the middle of step 3."""

    ranks: tuple[int, ...] = ()

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        if self.state.global_step == 2 and self.args.process_index in self.ranks:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss


def signals(folder: Path) -> dict[str, Any]:
    """Where each process ends and by what, when both or one of them are told to stop; and the checkpoint that it finds whole then."""
    found, finish = {}, saving.finish

    def slowly(folder: Path, about: Mapping[str, Any]) -> None:
        time.sleep(0.3)
        finish(folder, about)

    saving.finish = slowly
    for ranks in ((0, 1), (0,), (1,)):
        name = " and ".join(map(str, ranks))
        args = arguments(folder / f"told {name}", max_steps=60)
        trainer = make_trainer(tiny_model("bert"), args, tiny_rows(32), kind=Told)
        trainer.ranks = ranks
        with pytest.raises(Stopped) as ended:
            trainer.train()
        checkpoints = [path.name for path in sorted((folder / f"told {name}").glob("checkpoint-*"))]
        assert ended.value.checkpoint is not None
        found[name] = [ended.value.exit_code, ended.value.step, ended.value.checkpoint.name, checkpoints]
    saving.finish = finish
    return found


class Slow(TrainerCallback):
    """Takes its time, and says who trains."""

    def __init__(self, folder: Path):
        self.folder = folder

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        time.sleep(0.05)
        if state.global_step == 2:
            (self.folder / f"trains{args.process_index}").write_text(str(os.getpid()), encoding="utf-8")


class SlowTrainer(MixTrainer):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.add_callback(Slow(Path(str(self.args.output_dir)).parent))


def command(folder: Path) -> dict[str, Any]:
    """The command until somebody stops it: with which status, and what is left of the group."""
    train_text.MixTrainer = SlowTrainer  # type: ignore[misc]
    return run_command(folder, "out", 300)


def whole_command(folder: Path) -> dict[str, Any]:
    """The command until it is done, too."""
    if os.environ["RANK"] == "0":
        prepare_command(folder)
    PartialState().wait_for_everyone()
    return run_command(folder, "done", 2)


def run_command(folder: Path, output: str, steps: int) -> dict[str, Any]:
    given = [
        f"--train_file={folder / 'train.csv'}",
        f"--model_name_or_path={folder / 'base'}",
        f"--output_dir={folder / output}",
    ]
    flags = [
        f"--max_steps={steps}",
        "--max_seq_length=16",
        "--do_train",
        "--save_strategy=no",
        "--report_to=none",
        "--use_cpu",
    ]
    status = None
    try:
        cli.main(["train-text", *given, *flags])
    except SystemExit as ended:
        status = ended.code
    return {"status": status, "left": threads_of_the_group()}


def prepare_command(folder: Path) -> None:
    """What the command reads."""
    tiny_model("bert", num_labels=2).base_model.save_pretrained(folder / "base")
    tiny_tokenizer().save_pretrained(folder / "base")
    rows = [{"text": f"w{i % 7} w{i % 5}", "label": "ab"[i % 2]} for i in range(40)]
    write_table(folder / "train.csv", rows)


PARTS: dict[str, Callable[[Path], Any]] = {
    "texts": texts,
    "batch_norm": batch_norm,
    "resuming": resuming,
    "kept": kept,
    "kept_texts": kept_texts,
    "loss_of_rows": loss_of_rows,
    "sharded": sharded,
    "signals": signals,
    "command": command,
    "whole_command": whole_command,
}

if __name__ == "__main__":
    main()
