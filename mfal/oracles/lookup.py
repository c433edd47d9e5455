"""An oracle that looks labels up in a table: campaigns replayed on measurements already made.

A retrospective campaign chooses among materials whose labels are known to the table but not to the
learner. So that the learner can't see a label that it hasn't paid for, give it the table without
them (`hide_labels`), and let this oracle answer.
"""

import hashlib
import math
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mfal.errors import MfalError
from mfal.oracles.types import Observation, Oracle

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from mfal.data.table import Label, MaterialTable

__all__ = ["MATERIAL", "hide_labels", "lookup_oracle", "with_material"]

MATERIAL = "material"
"""Key of a pymatgen structure's `properties` that names its row."""

FLOOR = -20.0
"""log10 of the least conductivity that a learner is asked to tell apart."""
LENGTH_TOLERANCE = 0.02
"""Relative, of a cell's lengths, within which a structure is taken for a row's."""
ANGLE_TOLERANCE = 1.0
"""Degrees."""
FRACTION_TOLERANCE = 0.005
"""Of each atomic fraction."""


class _Entry(NamedTuple):
    """What the table knows of one material."""

    value: float
    uncertainty: float | None
    censoring: str
    sources: tuple[str, ...]


def lookup_oracle(
    table: "MaterialTable",
    quantity: str = "ionic_conductivity",
    *,
    fidelity: int = 0,
    cost: float = 1.0,
    name: str = "lookup",
    higher_is_better: bool = True,
) -> Oracle:
    """An oracle that answers with a table's labels of one quantity.

    A structure is recognised by the id in its `properties` (`with_material`), or else by
    composition, space group and cell. Conductivities (S/cm) are answered as log10. Of several
    labels of a material the median of the exact ones counts; a detection limit is answered as the
    limit, with the kind of censoring in the provenance; an interval as its middle, with half its
    width as uncertainty. What the table doesn't know is a failed observation, and costs.

    Args:
      table: labelled materials, e.g. `mfal.data.load_obelix(folder)`.
      quantity: name of the labels to answer with; classes can't be.
      fidelity: rank among a campaign's oracles.
      cost: of one question.
      name: of the oracle in ledger and report.
      higher_is_better: whether larger values are what is looked for.

    Raises:
      MfalError: when no row has such a label, or units differ.
    """
    found = {
        identifier: [label for label in labels if label.quantity == quantity]
        for identifier, labels in zip(table.ids, table.labels, strict=True)
    }
    found = {identifier: labels for identifier, labels in found.items() if labels}
    units = {label.unit for labels in found.values() for label in labels}
    if len(units) != 1 or any(x.censoring == "class" for labels in found.values() for x in labels):
        known = sorted({label.quantity for labels in table.labels for label in labels})
        raise MfalError(
            f"the table has no numbers of one unit for {quantity!r}",
            f"choose among {', '.join(known) or 'nothing: it has no labels'}",
        )
    unit = units.pop()
    log10 = unit == "S/cm"
    answers = {identifier: _answer(labels, log10) for identifier, labels in found.items()}
    index = _Index(table)
    values = [answer.value for answer in answers.values()]

    def evaluate(structures: Sequence["Structure"]) -> list[Observation]:
        return [_observe(structure, index, answers, quantity) for structure in structures]

    return Oracle(
        name=name,
        version=_fingerprint(answers),
        fidelity=fidelity,
        cost=cost,
        unit="log10 S/cm" if log10 else unit,
        higher_is_better=higher_is_better,
        bounds=(FLOOR, 2.0) if log10 else (min(values), max(values)),
        evaluate=evaluate,
    )


def hide_labels(table: "MaterialTable", quantities: Sequence[str] | None = None) -> "MaterialTable":
    """The same materials without their labels, or without those of the named quantities.

    Notes that sources wrote about the values (`details["note"]`) go too.
    """
    rows = []
    for row in table:
        kept = (
            ()
            if quantities is None
            else tuple(label for label in row.labels if label.quantity not in quantities)
        )
        details = {key: value for key, value in row.details.items() if key != "note"}
        rows.append(row._replace(labels=kept, details=details))
    return type(table).from_rows(rows)


def with_material(structure: "Structure", identifier: str) -> "Structure":
    """A copy of a structure that names the row it belongs to."""
    copy = structure.copy()
    copy.properties = {**copy.properties, MATERIAL: identifier}
    return copy


class _Index:
    """Finds the row of a structure."""

    def __init__(self, table: "MaterialTable") -> None:
        self.ids = table.ids
        self.rows = {identifier: i for i, identifier in enumerate(table.ids)}
        total = table.composition.sum(1, keepdims=True)
        self.fractions = table.composition / np.where(total > 0, total, 1)
        self.lattice = table.lattice
        self.by_group: dict[int, list[int]] = defaultdict(list)
        for i, number in enumerate(table.space_group_number):
            self.by_group[int(number)].append(i)

    def find(self, structure: "Structure") -> list[str]:
        """Ids of the rows that a structure may be, nearest cell first."""
        named = structure.properties.get(MATERIAL)
        if named is not None:
            return [str(named)] if named in self.rows else []
        from mfal.crystals.structures import crystal_from_structure

        crystal = crystal_from_structure(structure)
        fractions = np.asarray(crystal.composition) / np.asarray(crystal.composition).sum()
        lattice = np.asarray(crystal.lattice)
        near: list[tuple[float, str]] = []
        for i in self.by_group[int(crystal.space_group_number)]:
            lengths = np.abs(np.sort(self.lattice[i, :3]) / np.sort(lattice[:3]) - 1).max()
            angles = np.abs(np.sort(self.lattice[i, 3:]) - np.sort(lattice[3:])).max()
            amounts = np.abs(self.fractions[i] - fractions).max()
            if (
                lengths < LENGTH_TOLERANCE
                and angles < ANGLE_TOLERANCE
                and amounts < FRACTION_TOLERANCE
            ):
                near.append((float(lengths + amounts), self.ids[i]))
        return [identifier for _, identifier in sorted(near)]


def _observe(
    structure: "Structure", index: _Index, answers: dict[str, _Entry], quantity: str
) -> Observation:
    start = time.perf_counter()

    def failed(why: str) -> Observation:
        return Observation(math.nan, None, f"failed: {why}", time.perf_counter() - start, {})

    try:
        ids = index.find(structure)
    except MfalError as error:
        return failed(str(error))
    formula = structure.composition.reduced_formula
    if not ids:
        return failed(f"{formula} is not in the table; ask another oracle")
    labelled = [identifier for identifier in ids if identifier in answers]
    if not labelled:
        return failed(f"{ids[0]} has no {quantity} in the table; ask another oracle")
    answer = answers[labelled[0]]
    provenance: dict[str, Any] = {
        "method": "looked up",
        "material": labelled[0],
        "censoring": answer.censoring,
        "sources": list(answer.sources),
    }
    seconds = time.perf_counter() - start
    return Observation(answer.value, answer.uncertainty, "ok", seconds, provenance)


def _answer(labels: list["Label"], log10: bool) -> _Entry:
    def scale(value: float) -> float:
        if not log10:
            return value
        return math.log10(value) if value > 0 else FLOOR

    sources = tuple(label.source for label in labels if label.source)
    exact = [scale(label.value) for label in labels if label.censoring == "exact"]
    if exact:
        spread = float(np.std(exact, ddof=1)) if len(exact) > 1 else None
        return _Entry(float(np.median(exact)), spread, "exact", sources)
    label = labels[0]
    if label.censoring == "interval":
        low, high = scale(label.value), scale(label.upper)
        return _Entry((low + high) / 2, (high - low) / 2, "interval", sources)
    return _Entry(scale(label.value), None, label.censoring, sources)


def _fingerprint(answers: dict[str, _Entry]) -> str:
    """A version that changes whenever an answer does."""
    text = repr(sorted(answers.items()))
    return f"1-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
