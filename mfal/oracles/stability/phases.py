"""Tables of competing phases as files: read, written, and made from other sources.

The same CSV as the table that comes with the package: key, formula, energy in eV per atom, space
group, volume in Å³ per atom, source. All energies of a file must come from one method.
"""

import csv
import hashlib
import io
import math
from collections.abc import Iterable, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING

from mfal.crystals.formulas import formula_amounts
from mfal.errors import MfalError, warn
from mfal.oracles.stability.types import CompetingPhase

if TYPE_CHECKING:
    from mfal.data.table import MaterialTable
    from mfal.potentials.relax import RelaxSettings
    from mfal.potentials.types import Potential

__all__ = [
    "fingerprint",
    "phases_from_materials_project",
    "phases_of_table",
    "read_phases",
    "write_phases",
]

COLUMNS = (
    *("key", "formula", "energy_ev_per_atom", "space_group", "volume_a3_per_atom", "source"),
)


def read_phases(path: Path | Traversable | str) -> tuple[CompetingPhase, ...]:
    """Competing phases from a CSV file.

    Raises:
      MfalError: an unreadable file, or a row that is no phase.
    """
    file = Path(path) if isinstance(path, str) else path
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise MfalError(f"{path}: {reason}", "give a file of `mfal data phases`") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = set(COLUMNS) - set(reader.fieldnames or ())
    if missing:
        raise MfalError(
            f"{path}: no column {', '.join(sorted(missing))}", "give a file of `mfal data phases`"
        )
    return tuple(_phase(row, f"{path}, line {reader.line_num}") for row in reader)


def write_phases(path: Path | str, phases: Iterable[CompetingPhase]) -> None:
    """Write competing phases as CSV, those of few elements first.

    Raises:
      MfalError: the file can't be written.
    """
    from mfal.data.table_json import write_text

    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for phase in sorted(phases, key=lambda p: (len(p.amounts), p.formula, p.energy, p.key)):
        volume = "" if math.isnan(phase.volume) else f"{phase.volume:.3f}"
        group = phase.space_group_number or ""
        writer.writerow(
            [phase.key, phase.formula, f"{phase.energy:.5f}", group, volume, phase.source]
        )
    write_text(Path(path), out.getvalue())


def fingerprint(phases: Sequence[CompetingPhase]) -> str:
    """Eight letters that change with any key or energy."""
    text = "\n".join(f"{phase.key} {phase.energy:.5f}" for phase in phases)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def phases_from_materials_project(
    elements: Sequence[str], *, api_key: str | None = None
) -> tuple[CompetingPhase, ...]:
    """All entries of a chemical system, MP2020 corrections applied; CHGNet is trained on such.

    Raises:
      MfalError: as `mfal.oracles.stability.energies.energies_from_materials_project`.
    """
    from mfal.oracles.stability.energies import energies_from_materials_project

    energies = energies_from_materials_project(elements, api_key=api_key)
    return tuple(
        CompetingPhase(
            plain_formula(entry.composition.get_el_amt_dict()),
            _reduced(entry.composition.get_el_amt_dict()),
            float(entry.energy_per_atom),
            0,
            math.nan,
            "Materials Project",
            str(entry.entry_id),
        )
        for entry in energies.entries
    )


def phases_of_table(
    table: "MaterialTable",
    potential: "Potential | None" = None,
    settings: "RelaxSettings | None" = None,
) -> tuple[CompetingPhase, ...]:
    """The materials of a table, relaxed by CHGNet or another potential, as competing phases.

    Partly occupied ones and those without atoms are left out, and so are those that don't relax;
    a warning says how many.
    """
    from mfal.oracles.stability.relaxing import relax_structures
    from mfal.potentials.relax import DEFAULT

    rows = [
        (material, structure)
        for material, structure in zip(table, table.structures(), strict=True)
        if structure is not None and structure.is_ordered
    ]
    relaxed = relax_structures(
        [structure.get_primitive_structure() for _, structure in rows],
        potential,
        settings or DEFAULT,
        symprec=0.02,
    )
    phases = [
        CompetingPhase(
            plain_formula(one.structure.composition.get_el_amt_dict()),
            _reduced(one.structure.composition.get_el_amt_dict()),
            one.energy,
            one.space_group_after,
            one.structure.volume / len(one.structure),
            material.source,
            material.id,
        )
        for (material, _), one in zip(rows, relaxed, strict=True)
        if one.status == "converged"
    ]
    if len(phases) < len(table):
        warn(
            f"{len(table) - len(phases)} of {len(table)} materials are left out: without atoms, "
            "partly occupied, or not relaxed"
        )
    return tuple(phases)


def plain_formula(amounts: dict[str, float]) -> str:
    """The reduced formula without brackets, elements by Pauling's electronegativity.

    >>> plain_formula({"O": 8.0, "P": 2.0, "Li": 6.0})
    'Li3PO4'
    """
    from pymatgen.core import Composition

    reduced = _reduced(amounts)
    order = [element.symbol for element in sorted(Composition(reduced))]
    return "".join(f"{s}{'' if reduced[s] == 1 else format(reduced[s], 'g')}" for s in order)


def _reduced(amounts: dict[str, float]) -> dict[str, float]:
    """Smallest whole numbers; a single element is one atom."""
    from pymatgen.core import Composition

    if len(amounts) == 1:
        return dict.fromkeys(amounts, 1.0)
    reduced = Composition(amounts).reduced_composition
    return {element.symbol: float(amount) for element, amount in reduced.items()}


def _phase(row: dict[str, str], where: str) -> CompetingPhase:
    try:
        energy = float(row["energy_ev_per_atom"])
        amounts = formula_amounts(row["formula"])
        group = int(row["space_group"] or 0)
        volume = float(row["volume_a3_per_atom"] or "nan")
    except (MfalError, TypeError, ValueError) as error:
        raise MfalError(
            f"{where}: {error}", "give a formula and an energy in eV per atom"
        ) from error
    if not math.isfinite(energy):
        raise MfalError(f"{where}: an energy of {energy}", "give a finite energy in eV per atom")
    return CompetingPhase(
        row["formula"], amounts, energy, group, volume, row["source"] or "", row["key"]
    )
