"""What decided: what each question was thought worth, and how far its answer surprised.

The ledger holds with each question what was expected when it was decided on; the surprise is what
the answer then was, in standard deviations from the mean.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mfal.errors import MfalError
from mfal.report.page_parts import as_table
from mfal.report.summary import Summary

__all__ = ["QUESTIONS_NAME", "Asking", "askings_of", "questions_table", "write_questions"]

QUESTIONS_NAME = "questions.csv"


class Asking(NamedTuple):
    """One question about a proposed crystal, with what was expected of it."""

    id: int
    round: int
    formula: str
    space_group: int
    fidelity: int
    cost: float
    """Nominal CPU seconds."""
    seconds: float | None
    """CPU seconds that it took."""
    worth: float | None
    """Improvement on the ten best expected of the plan that it begins, per CPU second; None where
    the strategy says none, as in the following."""
    chance: float | None
    """Of an answer."""
    stable: float | None
    """Of meeting the requirement on stability."""
    expected: float | None
    std: float | None
    observed: float | None
    """None where it failed."""

    @property
    def surprise(self) -> float | None:
        """Standard deviations by which the answer lay above what was expected."""
        if self.observed is None or self.expected is None or not self.std:
            return None
        return (self.observed - self.expected) / self.std


def askings_of(summary: Summary) -> list[Asking]:
    """All ended questions about proposed crystals, in the order of decision."""
    found = []
    for answer in summary.answers:
        query, kept = answer.query, answer.query.predicted
        if query.round == 0 or answer.kind == "abandoned":
            continue
        mean, std = (kept.get(name) or [None] * len(summary.oracles) for name in ("mean", "std"))
        found.append(
            Asking(
                query.id,
                query.round,
                query.crystal.formula,
                query.crystal.space_group,
                query.fidelity,
                query.cost,
                answer.seconds,
                kept.get("worth"),
                kept.get("chance"),
                kept.get("stable"),
                mean[query.fidelity],
                std[query.fidelity],
                answer.value,
            )
        )
    return found


def questions_table(summary: Summary) -> str:
    """By fidelity: what questions were worth and cost, how many were answered, how surprising."""
    askings = askings_of(summary)
    head = ["fidelity", "questions", "best worth now", "chance of an answer", "answered"]
    head += ["r.m.s. surprise", "CPU s charged", "CPU s taken"]
    last = max((each.round for each in askings if each.worth is not None), default=None)
    rows: list[list[Any]] = []
    for m, oracle in enumerate(summary.oracles):
        mine = [each for each in askings if each.fidelity == m]
        worths = [e.worth for e in mine if e.worth is not None and e.round == last]
        chances = [e.chance for e in mine if e.chance is not None]
        surprises = [e.surprise for e in mine if e.surprise is not None]
        rows.append(
            [
                oracle.name,
                len(mine),
                f"{max(worths):.2g} per CPU s" if worths else "none asked",
                f"{np.mean(chances):.0%}" if chances else None,
                f"{np.mean([e.observed is not None for e in mine]):.0%}" if mine else None,
                f"{np.sqrt(np.mean(np.square(surprises))):.2f}" if surprises else None,
                f"{sum(e.cost for e in mine):.4g}",
                f"{sum(e.seconds or 0.0 for e in mine):.4g}",
            ]
        )
    caption = "What decided: worth of the latest round's best question, expectations and surprises"
    return as_table(caption, head, rows)


def write_questions(summary: Summary, folder: Path) -> Path:
    """Writes questions.csv, a row for each question about a proposed crystal."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*Asking._fields, "surprise"])
    for each in askings_of(summary):
        row = each._replace(fidelity=summary.oracles[each.fidelity].name)  # type: ignore[arg-type]
        writer.writerow(_cells([*row, each.surprise]))
    path = folder / QUESTIONS_NAME
    try:
        path.write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise MfalError(
            f"{path}: {error.strerror}", "make the folder writable or free some space"
        ) from None
    return path


def _cells(values: Sequence[Any]) -> list[Any]:
    return ["" if v is None else f"{v:.6g}" if isinstance(v, float) else v for v in values]
