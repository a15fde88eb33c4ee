"""What a trainer learns from, and what the log, the results and the card say of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
from numpy.typing import NDArray

from mixtext_hf.data.guesses import GuessTable


if TYPE_CHECKING:
    from mixtext_hf.training.trainer import MixTrainer

logger = logging.getLogger(__name__)


@dataclass
class Guesses:
    """
    What a trainer learns from.

    Args:
        table ([`GuessTable`]): Of all unlabelled texts.
        share (`float`): Of each class, the surest, that is learnt from.
        rounds (`list[dict]`): What each round before found, for the log and the card.
    """

    table: GuessTable
    share: float
    rounds: list[dict[str, Any]]

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The rows that are learnt from."""
        return self.table.surest(self.share)

    def metrics(self) -> dict[str, float]:
        """What the table of results has of them, by round where there are several."""
        found: dict[str, float] = {"guessed_samples": float(len(self.rows))}
        for facts in self.rounds:
            behind = f"_round_{facts['round']}" if len(self.rounds) > 1 else ""
            for name in ("accuracy", "accuracy_of_surest"):
                if name in facts:
                    found[f"guess_{name}{behind}"] = facts[name]
        return found

    def sentences(self) -> list[str]:
        """What the card says of them."""
        told = []
        for facts in self.rounds:
            which = f" of round {facts['round']}" if len(self.rounds) > 1 else ""
            right = f"; {facts['accuracy']:.1%} of them are right" if "accuracy" in facts else ""
            told.append(
                f"The classes of the unlabelled texts were guessed before training{which}: {facts['why']}{right}."
            )
        return told


def known_labels(trainer: MixTrainer) -> NDArray[np.int64] | None:
    """What is known of the classes of the unlabelled texts, -1 where nothing is; `None` if there is no such column."""
    texts = trainer.unlabeled_texts
    if texts is None or texts.label_column is None:
        return None
    column = texts.label_column
    rows = texts.dataset
    values = rows[column][:] if isinstance(rows, datasets.Dataset) else [row[column] for row in rows]
    return np.asarray([-1 if value is None else int(value) for value in values], dtype=np.int64)


def round_facts(number: int, table: GuessTable, trainer: MixTrainer) -> dict[str, Any]:
    """What there is to say of the guesses of a round, JSON-serialisable."""
    facts: dict[str, Any] = {
        "round": number,
        "shares": table.shares(),
        "why": f"by {table.about.get('guesser')}",
        **{k: table.about[k] for k in ("why", "combination") if k in table.about},
    }
    if "chosen" in table.about.get("report", {}):
        facts["chosen"] = table.about["report"]["chosen"]
    labels = known_labels(trainer)
    if labels is not None:
        rows = table.surest(trainer.args.surest_share(number))
        all_right, right = table.accuracy(labels), table.accuracy(labels, rows)
        if all_right is not None:
            facts |= {"accuracy": all_right, "accuracy_of_surest": right}
    return facts


def told(trainer: MixTrainer, guesses: Guesses) -> Guesses:
    if not guesses.rounds:
        guesses.rounds.append(round_facts(1, guesses.table, trainer))
    if trainer.is_world_process_zero():
        facts = guesses.rounds[-1]
        right = (
            f", {facts['accuracy']:.1%} right ({facts['accuracy_of_surest']:.1%} of these)"
            if facts.get("accuracy_of_surest")
            else ""
        )
        logger.info(
            "Guesses for round %d: learning from the surest %d of %d%s.",
            facts["round"],
            len(guesses.rows),
            len(guesses.table),
            right,
        )
    return guesses
