"""Build the table of competing phases: CHGNet's energies of elements, binaries, ternaries and more.

    pip download --no-deps crystal-toolkit==2026.7.20
    python experiments/tables/competing_phases.py relax --data DIR --wheel WHEEL --work WORK
    python experiments/tables/competing_phases.py pack --work WORK

`relax` takes structures from `competing_phases_sources.py` in tiers, the most valuable first: 0
elements; 1 binaries of the default elements; 2 embedded crystals; 3 known ternaries and more of the
default elements, and exchanged binaries; 4 exchanged ternaries with lithium; 5 lithium compounds of
further families; 6 their salts; 7 exchanged ions in families; 8 their alloys and ternaries; 9
elements that only embedded crystals hold. Energies are CHGNet 0.3.0's (B. Deng et al., Nat. Mach.
Intell. 5, 1031 (2023), doi:10.1038/s42256-023-00716-3). Databases' structures lie at the minimum of
the functional that it imitates, and are taken as they stand: relaxing the first 44 of them lowered
the energy by 0.2 meV per atom (median; 10 at most). Elements, measured crystals, exchanged ions and
simple types are relaxed within their symmetry. Every answer is appended to a file in WORK, so that
a run that was stopped goes on where it was; all tiers together take about an hour on one core.

`pack` writes `mfal/oracles/stability/tables/competing_phases.csv`.
"""

import argparse
import itertools
import json
import math
import pickle
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from competing_phases_pack import pack
from competing_phases_sources import (
    ANIONS,
    DEFAULT,
    FAMILIES,
    LARGEST,
    LARGEST_EMBEDDED,
    Candidate,
    binary_candidates,
    dielectric_candidates,
    element_candidates,
    elements_of,
    embedded_candidates,
    exchange_candidates,
    formula_of,
    primitive,
    simple_candidates,
)

from mfal.data import load_embedded
from mfal.oracles.stability.relaxing import RelaxedStructure, relax_structures
from mfal.potentials.chgnet import chgnet_potential
from mfal.potentials.relax import RelaxSettings, relax_crystals

SETTINGS = RelaxSettings(force=0.05, stress=0.2, steps=250)
AS_IT_STANDS = SETTINGS._replace(steps=1)
CHUNK = 24
"""Crystals relaxed between two writes."""
COMPARED = 6
"""Structures of one formula that are compared, those of the smallest cells."""
TURNS = ((0, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 9))
"""First and last tier of what is done before the next begin."""
EMBEDDED_TIER = 2
GUESSED = ("element", "exchange", "simple")
"""How keys of structures begin that are relaxed; elements, since they bear on everything."""


def candidates(data: Path, wheel: Path) -> Iterator[list[Candidate]]:
    """All candidates, a tier at a time, the most valuable first."""
    embedded_elements = {
        element.symbol
        for structure in load_embedded().structures()
        if structure is not None and structure.is_ordered
        for element in structure.composition.element_composition
    }
    wanted = DEFAULT | FAMILIES | embedded_elements
    found = list(element_candidates(data / "MP-PBE-Element-Refs.json.gz", wanted))
    yield found
    rest = [
        *simple_candidates(),
        *binary_candidates(
            data / "mp-binary-pbe-elasticity-2025.1.json.gz",
            "Materials Project, by matcalc:",
            wanted,
        ),
        *binary_candidates(
            data / "alexandria-binary-pbe-phonon-2025.1.json.gz",
            "Alexandria, by matcalc:",
            wanted,
        ),
        *dielectric_candidates(wheel, wanted),
        *embedded_candidates(),
    ]
    parents = []
    for one in {one.key: one for one in rest}.values():
        symbols = elements_of(one.structure)
        largest = 2 * LARGEST_EMBEDDED if one.tier == EMBEDDED_TIER else LARGEST
        if len(symbols) < 2 or len(one.structure) > largest:
            continue
        if one.tier == 9 and not symbols & (ANIONS | {"Li"}):
            continue
        parents.append(one)
    tiers: dict[int, list[Candidate]] = {}
    for one in parents:
        tiers.setdefault(one.tier, []).append(one)
    for tier in (1, EMBEDDED_TIER):
        yield tiers.pop(tier, [])
    for one in exchange_candidates(parents):
        tiers.setdefault(one.tier, []).append(one)
    for tier in sorted(tiers):
        yield tiers[tier]


def collected(data: Path, wheel: Path, work: Path) -> list[list[Candidate]]:
    """The candidates, found once and kept in the working folder."""
    path = work / "candidates.pickle"
    if not path.exists():
        tiers = [_smallest(tier) for tier in candidates(data, wheel) if tier]
        path.write_bytes(pickle.dumps(tiers))
    return list(pickle.loads(path.read_bytes()))


def relax_all(data: Path, wheel: Path, work: Path, minutes: float) -> None:
    """Relax what isn't yet, tier by tier, for so long."""
    work.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * minutes
    relaxed, standing = Book(work / "relaxed.jsonl"), Book(work / "standing.jsonl")
    potential = chgnet_potential()
    measured = {material.id for material in load_embedded() if material.details["kind"] != "dft"}
    start = time.process_time()
    tiers = collected(data, wheel, work)
    for first, last in TURNS:
        some = [one for tier in tiers for one in tier if first <= one.tier <= last]
        at_rest = [
            one
            for one in some
            if not one.key.startswith(GUESSED)
            and one.key not in measured
            and one.key not in standing.rows
        ]
        for chunk in _chunks(at_rest):
            if time.monotonic() > end:
                return
            for one, energy in zip(chunk, _as_they_stand(potential, chunk), strict=True):
                standing.add(one.key, _row(one) | {"energy": energy, "status": "as it stands"})
            _tell(chunk, start, "as they stand")
        others = [
            one
            for one in some
            if (one.key.startswith(GUESSED) or one.key in measured) and one.key not in relaxed.rows
        ]
        for chunk in _chunks(others):
            if time.monotonic() > end:
                return
            answers = relax_structures(
                [one.structure for one in chunk], potential, SETTINGS, symprec=0.02, batch=1
            )
            for one, answer in zip(chunk, answers, strict=True):
                relaxed.add(one.key, _row(one) | _outcome(answer))
            _tell(chunk, start, "relaxed")


def _tell(chunk: Sequence[Candidate], start: float, how: str) -> None:
    minutes = (time.process_time() - start) / 60
    print(f"tier {chunk[-1].tier}: {len(chunk)} {how}, {minutes:.1f} CPU min", flush=True)


class Book:
    """Rows by key in a file of JSON lines, appended to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text(encoding="utf8").splitlines() if path.exists() else []
        self.rows: dict[str, dict[str, Any]] = {}
        for line in lines:
            try:
                row = json.loads(line)
            except json.JSONDecodeError:  # cut off when the run was stopped
                continue
            self.rows[row["key"]] = row

    def add(self, key: str, row: dict[str, Any]) -> None:
        """Keep a row, on disk too."""
        self.rows[key] = row
        with self.path.open("a", encoding="utf8") as file:
            file.write(json.dumps(row) + "\n")


def _smallest(tier: Sequence[Candidate]) -> list[Candidate]:
    """At most `COMPARED` of a formula from databases."""
    kept: list[Candidate] = []
    counts: dict[str, int] = {}
    for one in sorted(tier, key=lambda one: len(one.structure)):
        formula = formula_of(one.structure)
        counts[formula] = counts.get(formula, 0) + 1
        if counts[formula] <= COMPARED or one.tier == EMBEDDED_TIER:
            kept.append(one)
    return kept


def _chunks(waiting: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """Primitive cells, tier by tier; within one of about one size and density together.

    So compiled programs serve for many, and little is padded.
    """

    def alike(one: Candidate) -> tuple[int, int, float]:
        atoms = len(one.structure)
        return one.tier, (atoms - 1) // 8, one.structure.volume / atoms

    ordered = sorted(waiting, key=alike)
    for _, tier in itertools.groupby(ordered, key=lambda one: one.tier):
        cells = (one._replace(structure=primitive(one.structure)) for one in tier)
        while chunk := list(itertools.islice(cells, CHUNK)):
            yield chunk


def _as_they_stand(potential: Any, chunk: Sequence[Candidate]) -> list[float | None]:
    """Energies, eV per atom; None where there is none."""
    crystals = [
        (
            one.structure.cart_coords,
            one.structure.lattice.matrix,
            np.array([site.specie.Z for site in one.structure]),
        )
        for one in chunk
    ]
    answers = relax_crystals(potential, crystals, None, AS_IT_STANDS, batch=1)
    return [None if math.isnan(answer.energy) else answer.energy for answer in answers]


def _row(one: Candidate) -> dict[str, Any]:
    composition = one.structure.composition.element_composition.reduced_composition
    return {
        "key": one.key,
        "tier": one.tier,
        "source": one.source,
        "formula": formula_of(one.structure),
        "amounts": {e.symbol: float(n) for e, n in composition.items()},
        "volume": one.structure.volume / len(one.structure),
    }


def _outcome(answer: RelaxedStructure) -> dict[str, Any]:
    there = not math.isnan(answer.energy)
    return {
        "energy": answer.energy if there else None,
        "status": answer.status,
        "steps": answer.steps,
        "volume": answer.structure.volume / len(answer.structure),
        "volume_change": answer.volume_change if there else None,
        "groups": [answer.space_group_before, answer.space_group_after],
        "lattice": [[round(float(x), 5) for x in v] for v in answer.structure.lattice.matrix],
        "species": [site.specie.symbol for site in answer.structure],
        "positions": [[round(float(x), 5) for x in s.frac_coords] for s in answer.structure],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    relax = commands.add_parser("relax", help="relax what isn't yet")
    relax.add_argument("--data", type=Path, required=True, help="folder with matcalc's files")
    relax.add_argument("--wheel", type=Path, required=True, help="crystal-toolkit's wheel")
    relax.add_argument("--minutes", type=float, default=1e6, help="begin nothing after these")
    packing = commands.add_parser("pack", help="write the table")
    for command in (relax, packing):
        command.add_argument("--work", type=Path, required=True, help="folder for the answers")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.command == "relax":
        relax_all(options.data, options.wheel, options.work, options.minutes)
    else:
        pack(options.work, frozenset(load_embedded().ids))
