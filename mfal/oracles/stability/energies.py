"""Energies of a compound and of all that competes with it: one table, one source.

Hull distances and stability windows compare energies, so all of them must come from one method:
nothing here mixes sources. Embedded tables are in `mfal.oracles.stability.thermochemistry`,
energies from an interatomic potential in `mfal.oracles.stability.potential_energy`.
"""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pymatgen.core import Composition
from pymatgen.entries.computed_entries import ComputedEntry

from mfal.crystals.hidden import is_hidden
from mfal.errors import MfalError

__all__ = [
    "Energies",
    "chemical_system",
    "energies_from_json",
    "energies_from_materials_project",
    "without_hidden",
]

LARGEST_FILE = 256 * 2**20
"""Bytes; more than any chemical system needs."""
MIXED_FUNCTIONALS = frozenset({"GGA", "GGA+U"})
"""Calculations that one set of corrections makes comparable; any other mixture is refused."""


class Energies(NamedTuple):
    """Energies from one source."""

    entries: tuple[ComputedEntry, ...]
    """Total energies in eV of one formula unit or cell, elements included, all on one scale."""
    source: str
    """Where they come from, as it is to be cited."""
    exhaustive: bool
    """Whether the source means to hold every known compound of its elements. If not, a window is
    given only after `mfal.oracles.stability.coverage` has found the competing phases that bound
    it."""


def chemical_system(energies: Energies, elements: Iterable[str]) -> tuple[ComputedEntry, ...]:
    """The entries that hold no other elements than these."""
    allowed = set(elements)
    return tuple(
        entry
        for entry in energies.entries
        if {element.symbol for element in entry.composition.elements} <= allowed
    )


def without_hidden(energies: Energies, hide: Sequence[str]) -> Energies:
    """The same source without what it tells of compounds of these formulas."""
    if not hide:
        return energies
    left = (e for e in energies.entries if not is_hidden(e.composition.get_el_amt_dict(), hide))
    return energies._replace(entries=tuple(left))


def energies_from_json(path: Path | str, *, exhaustive: bool = False) -> Energies:
    """Read a list of pymatgen's `ComputedEntry` dictionaries.

    Only numbers and formulas are read, and no class named in the file is loaded.

    Args:
      path: JSON file: [{"composition": {"Li": 2, "O": 1}, "energy": eV of that composition,
        "correction": eV, "entry_id": ..., "parameters": {"run_type": ...}}, ...]; all but
        composition and energy may be absent.
      exhaustive: whether the file holds all compounds of its elements (as a query of a database).

    Raises:
      MfalError: an unreadable file, an entry without a usable energy, or mixed functionals.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise MfalError(f"{path}: larger than {LARGEST_FILE // 2**20} MiB", "split the file")
        rows = json.loads(path.read_text(encoding="utf8"))
    except OSError as error:
        raise MfalError(f"{path}: {error.strerror}", "give a readable JSON file") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise MfalError(f"{path}: not JSON ({error})", "write it with json.dump") from error
    if not isinstance(rows, list) or not rows:
        raise MfalError(f"{path}: no entries", "give a JSON list of ComputedEntry dictionaries")
    entries = tuple(_entry(row, f"{path}: entry {index}") for index, row in enumerate(rows))
    kinds = {str(entry.parameters.get("run_type")) for entry in entries}
    if len(kinds) > 1 and not kinds <= MIXED_FUNCTIONALS:
        raise MfalError(
            f"{path}: energies of different methods ({', '.join(sorted(kinds))})",
            "keep one method, energies of two can't be compared",
        )
    return Energies(entries, path.name, exhaustive)


def energies_from_materials_project(
    elements: Sequence[str], *, api_key: str | None = None
) -> Energies:
    """Query the Materials Project for all entries of a chemical system, MP2020 corrections applied.

    Args:
      elements: symbols; lithium is added where absent.
      api_key: the user's key; the environment's MP_API_KEY unless given.

    Raises:
      MfalError: the client isn't installed, there is no key, no network, or no answer.
    """
    try:
        from mp_api.client import MPRester
    except ImportError as error:
        raise MfalError(
            "the Materials Project's client isn't installed", "pip install 'mfal[mp]'"
        ) from error
    key = api_key or os.environ.get("MP_API_KEY")
    if not key:
        raise MfalError(
            "no key for the Materials Project",
            "set MP_API_KEY to the key that materialsproject.org/api shows",
        )
    system = sorted({"Li", *elements})
    try:
        with MPRester(key) as client:
            found = client.get_entries_in_chemsys(
                system, additional_criteria={"thermo_types": ["GGA_GGA+U"]}
            )
    except Exception as error:  # the client raises many kinds, some private
        raise MfalError(
            f"the Materials Project didn't answer for {'-'.join(system)}: {_one_line(error)}",
            "check the network and the key, or give a JSON file of entries",
        ) from error
    if not found:
        raise MfalError(
            f"the Materials Project has no entries for {'-'.join(system)}", "check the elements"
        )
    entries = tuple(
        ComputedEntry(entry.composition, entry.energy, entry_id=entry.entry_id) for entry in found
    )
    return Energies(entries, "Materials Project, GGA/GGA+U, CC BY 4.0", exhaustive=True)


def _entry(row: Any, where: str) -> ComputedEntry:
    try:
        composition = Composition(row["composition"])
        energy = float(row["energy"]) + float(row.get("correction") or 0.0)
        parameters = dict(row.get("parameters") or {})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MfalError(
            f"{where}: {type(error).__name__} {error}", "give a composition and an energy in eV"
        ) from error
    if not composition or any(amount <= 0 for amount in composition.values()):
        raise MfalError(f"{where}: empty composition", "give the amounts of the elements")
    if not abs(energy) < 1e6:
        raise MfalError(f"{where}: energy {energy}", "give a finite energy in eV")
    return ComputedEntry(
        composition,
        energy,
        entry_id=str(row.get("entry_id", where)),
        parameters={"run_type": parameters.get("run_type")},
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
