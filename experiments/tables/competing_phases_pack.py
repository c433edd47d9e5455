"""Write the table of competing phases from the answers of `competing_phases.py`.

What is kept: elements and embedded crystals; of every other formula the lowest, and what lies at
most `NEAR` above it, if it lies at most `COMPETES` above the hull of all. Exchanged ions must be
the lowest of their formula. Energies go to a CSV file, the structures of all but the embedded
crystals and of exchanged ions to a table of mfal's own format: the former are known anyway, and
the latter bound the hull, but nobody has made them that we know of.
"""

import gzip
import json
import pickle
from collections import defaultdict
from pathlib import Path
from typing import Any

from competing_phases_sources import SYMPREC, primitive
from pymatgen.core import Lattice, Structure

from mfal.crystals.structures import space_group_number
from mfal.data.asymmetric import asymmetric_unit
from mfal.data.table import Material, MaterialTable
from mfal.data.table_json import to_json
from mfal.errors import MfalError
from mfal.oracles.stability.hull import mixture_of
from mfal.oracles.stability.phases import plain_formula, read_phases, write_phases
from mfal.oracles.stability.types import CompetingPhase

PACKAGE = Path(__file__).parents[2] / "mfal"
ENERGIES = PACKAGE / "oracles" / "stability" / "tables" / "competing_phases.csv"
STRUCTURES = PACKAGE / "data" / "tables" / "competing_phases.json.gz"
NEAR = 0.02
"""eV per atom above the lowest of its formula."""
COMPETES = 0.10
"""eV per atom above the hull; what lies higher bounds nothing that one looks for."""
EARLIER = "chgnet-"
"""Keys of phases that chgnet 0.4.2 itself relaxed; kept until the script has others."""
LEAST_VOLUME = 4.0
"""Å³ per atom; below lie collapsed cells (diamond, the densest of all, has 5.6)."""


def pack(work: Path, embedded: frozenset[str]) -> None:
    """Write both tables.

    Args:
      work: folder with the answers.
      embedded: keys of the embedded crystals.
    """
    rows = [
        row
        for row in _rows(work)
        if row["energy"] is not None
        and row["status"] in ("converged", "as it stands")
        and row["volume"] > LEAST_VOLUME
        and (row["status"] == "converged" or not row["key"].startswith(("element", "simple")))
    ]
    kept = _distinct(_competing(rows, embedded), embedded)
    standing = {
        one.key: one
        for tier in pickle.loads((work / "candidates.pickle").read_bytes())
        for one in tier
    }
    structures = {row["key"]: _structure(row, standing) for row in kept}
    made = {plain_formula(row["amounts"]) for row in kept}
    earlier = [
        phase
        for phase in read_phases(ENERGIES)
        if phase.key.startswith(EARLIER) and phase.formula not in made
    ]
    phases = [
        CompetingPhase(
            plain_formula(row["amounts"]),
            row["amounts"],
            row["energy"],
            _group(structures[row["key"]]),
            row["volume"],
            row["source"],
            row["key"],
        )
        for row in kept
    ]
    write_phases(ENERGIES, [*phases, *earlier])
    materials = [
        _material(row, structures[row["key"]])
        for row in sorted(kept, key=lambda row: str(row["key"]))
        if row["key"] not in embedded and not row["key"].startswith("exchange")
    ]
    text = to_json(MaterialTable.from_rows(materials))
    STRUCTURES.write_bytes(gzip.compress(text.encode(), mtime=0))
    for path in (ENERGIES, STRUCTURES):
        print(f"{len(kept)} of {len(rows)} rows, {path.stat().st_size / 1e3:.0f} kB -> {path}")


def _competing(rows: list[dict[str, Any]], embedded: frozenset[str]) -> list[dict[str, Any]]:
    phases = [CompetingPhase(r["formula"], r["amounts"], r["energy"], 0, 0.0, "", "") for r in rows]
    lowest: dict[str, float] = defaultdict(lambda: float("inf"))
    for row in rows:
        lowest[row["formula"]] = min(lowest[row["formula"]], row["energy"])
    kept, distances = [], {}
    for row in rows:
        above = row["energy"] - lowest[row["formula"]]
        if row["key"] in embedded:
            kept.append(row)
            continue
        if above > (0.0 if row["key"].startswith("exchange") else NEAR):
            continue
        if row["formula"] not in distances:
            distances[row["formula"]] = _above(row, phases)
        if len(row["amounts"]) == 1 or distances[row["formula"]] <= COMPETES:
            kept.append(row)
    return kept


def _above(row: dict[str, Any], phases: list[CompetingPhase]) -> float:
    known = [phase for phase in phases if phase.amounts.keys() <= row["amounts"].keys()]
    try:
        shares = mixture_of(row["amounts"], known)
    except MfalError:
        return float("inf")
    return float(row["energy"] - sum(share * known[k].energy for k, share in shares.items()))


def _distinct(rows: list[dict[str, Any]], embedded: frozenset[str]) -> list[dict[str, Any]]:
    """Of the same phase from several databases one row; embedded crystals keep their own."""
    seen = set()
    distinct = []
    for row in sorted(rows, key=lambda row: (row["energy"], row["key"])):
        same = (row["formula"], round(row["energy"], 3), round(row["volume"], 1))
        if row["key"] in embedded:
            distinct.append(row)
        elif same not in seen:
            seen.add(same)
            distinct.append(row)
    return distinct


def _rows(work: Path) -> list[dict[str, Any]]:
    """Every structure's answer, the relaxed one where there is one."""
    found: dict[str, dict[str, Any]] = {}
    for name in ("standing.jsonl", "relaxed.jsonl"):
        for line in (work / name).read_text(encoding="utf8").splitlines():
            row = json.loads(line)
            found[row["key"]] = row
    return list(found.values())


def _structure(row: dict[str, Any], standing: dict[str, Any]) -> Structure:
    if "positions" in row:
        return Structure(Lattice(row["lattice"]), row["species"], row["positions"])
    return primitive(standing[row["key"]].structure)


def _group(structure: Structure) -> int:
    try:
        return space_group_number(structure, SYMPREC)
    except MfalError:
        return 0


def _material(row: dict[str, Any], structure: Structure) -> Material:
    unit = asymmetric_unit(structure, symprec=SYMPREC, charged=False)
    return Material(
        id=row["key"],
        formula=plain_formula(row["amounts"]),
        composition=unit.composition,
        space_group_number=unit.space_group_number,
        lattice=unit.lattice,
        source=row["source"],
        licence="" if row["key"].startswith("simple") else "CC BY 4.0",
        structure=unit,
    )
