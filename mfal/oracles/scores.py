"""Structures scored from a program: what `mfal score` prints, as one value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mfal.errors import MfalError
from mfal.notebook import html_table

if TYPE_CHECKING:
    import pandas as pd
    from pymatgen.core import Structure

    from mfal.data.table import MaterialTable
    from mfal.oracles.types import Oracle

__all__ = ["Scores", "score_structures"]


class Scores(NamedTuple):
    """What oracles say of some structures."""

    names: tuple[str, ...]
    structures: tuple[Structure | None, ...]
    """As they were given; None where a table has no atoms that can be read."""
    results: tuple[dict[str, Any], ...]
    """Of each what `mfal score --json` gives: `formula`, `space_group`, `notes`, `oracles`, or an
    `error`."""

    def to_pandas(self) -> pd.DataFrame:
        """A row for each structure; units are in the names of the columns.

        For every oracle it holds its value (NaN where there is none, infinite where ions cannot get
        out) and its uncertainty; `notes` say what was odd or failed.
        """
        import pandas as pd

        return pd.DataFrame(
            [_flat(name, result) for name, result in zip(self.names, self.results, strict=True)]
        )

    def _repr_html_(self) -> str:
        """Formula, space group and values, for notebooks."""
        rows = [_flat(name, result) for name, result in zip(self.names, self.results, strict=True)]
        header = list(dict.fromkeys(key for row in rows for key in row))
        return html_table(header, [[row.get(key) for key in header] for row in rows])


def score_structures(
    structures: MaterialTable | Mapping[str, Structure] | Sequence[Structure],
    oracles: Sequence[Oracle] | None = None,
) -> Scores:
    """Asks oracles about structures, one after the other.

    Args:
      structures: a table, whose ids are the names; structures by name; or structures, which are
        called by their numbers.
      oracles: whom to ask; `mfal score`'s for lithium if left out, at about a second a structure.

    Returns:
      The scores, in the order of the structures. One that can't be scored has an error in its
      place.
    """
    from mfal.data.table import MaterialTable
    from mfal.oracles.scoring import score_structure, scoring_oracles

    asked = scoring_oracles() if oracles is None else tuple(oracles)
    given: Mapping[str, Structure | MfalError]
    if isinstance(structures, MaterialTable):
        given = {name: _atoms(structures, i) for i, name in enumerate(structures.ids)}
    elif isinstance(structures, Mapping):
        given = structures
    else:
        given = {str(i): structure for i, structure in enumerate(structures)}
    return Scores(
        tuple(given),
        tuple(None if isinstance(each, MfalError) else each for each in given.values()),
        tuple(
            {"error": str(each)} if isinstance(each, MfalError) else score_structure(each, asked)
            for each in given.values()
        ),
    )


def _atoms(table: MaterialTable, index: int) -> Structure | MfalError:
    """The structure of a row with the table's notes on it, or why there is none."""
    from mfal.crystals.checks import add_notes

    try:
        structure = table.structure(index)
    except MfalError as error:
        return error
    if structure is None:
        return MfalError(f"{table.ids[index]} has no atoms", "give a structure file for it")
    add_notes(structure, [str(note) for note in table.details[index].get("notes", ())])
    return structure


def _flat(name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """One row of the frame."""
    row: dict[str, Any] = {
        "name": name,
        "formula": result.get("formula", ""),
        "space_group": result.get("space_group"),
    }
    notes = [*result.get("notes", ())]
    for answer in result.get("oracles", ()):
        value = answer["value"]
        row[f"{answer['oracle']} ({answer['unit']})"] = math.nan if value is None else float(value)
        row[f"{answer['oracle']} uncertainty"] = answer["uncertainty"]
        if answer["status"] != "ok":
            notes.append(f"{answer['oracle']} {answer['status']}")
    row["notes"] = "; ".join([result["error"]] if "error" in result else notes)
    return row
