"""Embedded energies: measured ones of a thousand compounds, computed ones of a few systems.

The measured values are standard Gibbs energies of formation at 298.15 K; each row of
`tables/thermochemistry.csv` names its source, and where only an enthalpy is published, says that
the entropy was estimated (typical error 4 kJ/mol). The zero of the scale is the elements' reference
states at 1 bar, so the windows hold for room temperature, gases at 1 bar included. What was left
out, and why, is in `tables/thermochemistry_rejected.csv`.

The computed values are the Materials Project's of Li-Fe-O-P, and CHGNet's of the competing phases
of `mfal.oracles.stability.hull`; the scripts in `experiments/tables/` make them. The tables never
mix.
"""

import csv
from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import as_file, files
from typing import NamedTuple

from pymatgen.core import Composition
from pymatgen.entries.computed_entries import ComputedEntry

from mfal.data.units import KJ_PER_EV
from mfal.oracles.stability.energies import Energies, energies_from_json
from mfal.oracles.stability.hull import competing_phases
from mfal.oracles.stability.types import CompetingPhase

__all__ = [
    "Measured",
    "computed_energies",
    "embedded_energies",
    "energies_of_phases",
    "measured_energies",
    "measured_table",
    "potential_energies",
]


class Measured(NamedTuple):
    """One measured energy of formation."""

    formula: str
    gibbs: float
    """kJ per mole of the formula, at 298.15 K, from the elements."""
    method: str
    source: str
    citation: str


@lru_cache(maxsize=1)
def measured_table() -> tuple[Measured, ...]:
    """All embedded measured values."""
    with (files("mfal.oracles.stability") / "tables" / "thermochemistry.csv").open(
        encoding="utf8"
    ) as file:
        rows = csv.DictReader(file)
        return tuple(
            Measured(
                row["formula"],
                float(row["dgf_kj_per_mol"]),
                row["method"],
                row["source"],
                row["citation"],
            )
            for row in rows
        )


@lru_cache(maxsize=1)
def measured_energies() -> Energies:
    """Measured Gibbs energies of formation, with the elements at zero."""
    entries = [
        ComputedEntry(Composition(row.formula), row.gibbs / KJ_PER_EV, entry_id=row.source)
        for row in measured_table()
    ]
    present = {element for entry in entries for element in entry.composition.elements}
    entries += [
        ComputedEntry(Composition(element.symbol), 0.0, entry_id="reference state")
        for element in sorted(present)
    ]
    return Energies(tuple(entries), "measured Gibbs energies, 298 K", exhaustive=False)


@lru_cache(maxsize=1)
def computed_energies() -> Energies:
    """The Materials Project's entries of Li-Fe-O-P, MP2020 corrections applied, CC BY 4.0."""
    resource = files("mfal.oracles.stability") / "tables" / "materials_project_li_fe_o_p.json"
    with as_file(resource) as path:
        energies = energies_from_json(path, exhaustive=True)
    return energies._replace(source="Materials Project, Li-Fe-O-P, CC BY 4.0")


@lru_cache(maxsize=1)
def potential_energies() -> Energies:
    """CHGNet's energies of the elements and compounds of `competing_phases`, relaxed."""
    return energies_of_phases(competing_phases(), "CHGNet 0.3.0")


def energies_of_phases(
    phases: Iterable[CompetingPhase], source: str = "competing phases given"
) -> Energies:
    """Competing phases as entries for windows; of each formula the lowest."""
    lowest: dict[str, CompetingPhase] = {}
    for phase in phases:
        if phase.formula not in lowest or phase.energy < lowest[phase.formula].energy:
            lowest[phase.formula] = phase
    entries = tuple(
        ComputedEntry(
            Composition(dict(phase.amounts)),
            phase.energy * sum(phase.amounts.values()),
            entry_id=phase.key,
        )
        for phase in lowest.values()
    )
    return Energies(entries, source, exhaustive=False)


def embedded_energies() -> tuple[Energies, ...]:
    """All embedded sources, the most trusted first."""
    return (measured_energies(), computed_energies(), potential_energies())
