"""The sets of Sendek et al.: 40 measured conductors and 41 simulated ones.

The 40-set is what Energy Environ. Sci. 10, 306 (2017), doi:10.1039/C6EE02697D, trained on. The
41-set is Chem. Mater. 31, 342 (2019), doi:10.1021/acs.chemmater.8b03272: 21 materials chosen at
random and 21 by that model, one in both, simulated by molecular dynamics with forces from density
functional theory. Its numbers aren't public; what is known is on which side of 1e-4 S/cm they lie.
"""

from __future__ import annotations

import csv
import functools
import io
import math
from importlib.resources import files
from pathlib import Path
from typing import Any

from mfal.data.embedded import load_embedded
from mfal.data.rows import LATTICE_COLUMNS, composition_of_formula
from mfal.data.table import CONDUCTIVITY, Label, Material, MaterialTable
from mfal.errors import MfalError

__all__ = [
    "MD_CONDUCTIVITY",
    "SUPERIONIC_THRESHOLD",
    "load_set40",
    "load_set41",
    "merge_values",
]

MD_CONDUCTIVITY = "md_conductivity"
"""Quantity name of a conductivity at room temperature by DFT molecular dynamics, S/cm."""

SUPERIONIC_THRESHOLD = 1e-4
"""S/cm; conductors above it are called superionic by both papers."""

SOURCE_40 = "Sendek et al., Energy Environ. Sci. 10, 306 (2017); doi:10.1039/C6EE02697D"
SOURCE_41 = "Sendek et al., Chem. Mater. 31, 342 (2019); doi:10.1021/acs.chemmater.8b03272"
LICENCE = "facts, cited"


@functools.cache
def load_set40() -> MaterialTable:
    """40 structures of 39 formulas with measured conductivities at room temperature.

    Where the embedded table holds the structure, or one of the same formula and space group, it
    is attached. `details["note"]` tells what was corrected in the published formulas and where
    other compilations disagree by a decade or more; the values are those of the paper.
    """
    return MaterialTable.from_rows(_set40_row(row) for row in _read("set40.csv"))


@functools.cache
def load_set41() -> MaterialTable:
    """41 Materials Project entries, each with the side of 1e-4 S/cm on which it was simulated.

    Labels are censored: "above" or "below" `SUPERIONIC_THRESHOLD`; materials reported as marginal
    have none. One entry's formula isn't public: it has an id and a label, but no composition. Merge
    the paper's own numbers, if you have them, with `merge_values`.
    """
    return MaterialTable.from_rows(_set41_row(row) for row in _read("set41.csv"))


def merge_values(
    table: MaterialTable, path: str | Path, quantity: str = MD_CONDUCTIVITY, unit: str = "S/cm"
) -> MaterialTable:
    """A table whose labels of one quantity are replaced by the values in a CSV file.

    Args:
      table: any table.
      path: a CSV file with the columns `id` and `value`, and optionally `source`. A value is a
        number or a limit, such as "<1e-10".
      quantity: name of what is given.
      unit: its unit.

    Raises:
      MfalError: naming file and line; nothing is merged unless every line is right.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MfalError(f"{path} cannot be read ({error.strerror})", "check the path") from None
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows or not {"id", "value"} <= set(rows[0]):
        raise MfalError(f"{path} has no columns id and value", "name them in the first line")
    labels = list(table.labels)
    seen: set[str] = set()
    for line, row in enumerate(rows, 2):
        where = f"{path}, line {line}"
        if row["id"] not in table.ids:
            raise MfalError(f"{where}: no material {row['id']!r} in the table", "correct the id")
        if row["id"] in seen:
            raise MfalError(f"{where}: {row['id']} occurs twice", "keep one of the lines")
        seen.add(row["id"])
        cell = (row["value"] or "").strip()
        censoring = {"<": "below", ">": "above"}.get(cell[:1], "exact")
        try:
            value = float(cell.lstrip("<> "))
        except ValueError:
            raise MfalError(f"{where}: {cell!r} is no number", "correct or remove it") from None
        if unit == "S/cm" and not 0 < value < math.inf:
            raise MfalError(f"{where}: {cell} S/cm", "give a positive number or a limit") from None
        source = row.get("source") or path.name
        new = Label(quantity, value, unit, censoring, source=source)
        index = table.index(row["id"])
        labels[index] = (*(old for old in labels[index] if old.quantity != quantity), new)
    return MaterialTable.from_rows(
        row._replace(labels=mine) for row, mine in zip(table, labels, strict=True)
    )


def _read(name: str) -> list[dict[str, str]]:
    text = (files("mfal.data") / "tables" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))


def _set40_row(row: dict[str, str]) -> Material:
    known = _embedded(row)
    lattice: tuple[float, ...] = (math.nan,) * 6
    if known is not None:
        composition, lattice = known.composition, known.lattice
    elif row["cell"]:
        composition = composition_of_formula(row["cell"], row["id"])
        lattice = tuple(float(row[key]) for key in LATTICE_COLUMNS)
    else:
        composition = composition_of_formula(row["formula"], row["id"])
    return Material(
        id=row["id"],
        formula=row["formula"],
        composition=composition,
        space_group_number=int(row["space_group_number"] or 0),
        lattice=lattice,
        labels=(Label(CONDUCTIVITY, float(row["sigma"]), "S/cm", source=SOURCE_40),),
        source=SOURCE_40,
        licence=LICENCE,
        group=row["formula"],
        structure=None if known is None else known.structure,
        details={
            key: row[key]
            for key in ("name", "structure", "obelix", "confidence", "note")
            if row[key]
        },
    )


def _embedded(row: dict[str, str]) -> Material | None:
    """The embedded crystal that a row names, or else one of its formula and space group."""
    embedded = load_embedded()
    if row["structure"] in embedded.ids:
        return embedded.row(embedded.index(row["structure"]))
    for other in embedded:
        if str(other.space_group_number) == row["space_group_number"] and _proportions(
            other.formula
        ) == _proportions(row["formula"]):
            return other
    return None


@functools.cache
def _proportions(formula: str) -> tuple[tuple[str, float], ...]:
    amounts = composition_of_formula(formula, formula)
    total = sum(amounts.values())
    return tuple(sorted((symbol, round(x / total, 4)) for symbol, x in amounts.items()))


def _set41_row(row: dict[str, str]) -> Material:
    labels: tuple[Label, ...] = ()
    if row["class"]:
        side = "above" if row["class"] == "1" else "below"
        labels = (Label(MD_CONDUCTIVITY, SUPERIONIC_THRESHOLD, "S/cm", side, source=SOURCE_41),)
    details: dict[str, Any] = {
        key: float(row[key]) for key in ("p_sendek", "hull_eV", "gap_eV") if row[key]
    }
    details |= {key: row[key] for key in ("subset", "confidence", "note") if row[key]}
    return Material(
        id=row["id"],
        formula=row["formula"],
        composition=composition_of_formula(row["formula"], row["id"]) if row["formula"] else {},
        labels=labels,
        source=SOURCE_41,
        licence=LICENCE,
        group=row["formula"] or row["id"],
        details=details,
    )
