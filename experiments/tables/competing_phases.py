"""Build the table of competing phases: CHGNet's energies of elements, binaries, ternaries and more.

    pip download --no-deps crystal-toolkit==2026.7.20
    python experiments/tables/competing_phases.py relax --data DIR --wheel WHEEL --work WORK
    python experiments/tables/competing_phases.py pack --work WORK

`relax` takes structures from `competing_phases_sources.py` in tiers, the most valuable first, and
relaxes them within their symmetry by CHGNet 0.3.0 (B. Deng et al., Nat. Mach. Intell. 5, 1031
(2023), doi:10.1038/s42256-023-00716-3): 0 elements; 1 binaries of the default elements; 2 embedded
crystals; 3 known ternaries and more of the default elements, and exchanged binaries; 4 exchanged
ternaries with lithium; 5 lithium compounds of further families; 6 their salts; 7 exchanged ions in
families; 8 their alloys and ternaries; 9 elements that only embedded crystals hold. Databases'
structures lie at the minimum of the functional that CHGNet imitates: their energies are taken as
they stand, and of each formula the lowest are relaxed if they lie near the hull. Elements, embedded
crystals and exchanged ions are always relaxed. Every answer is appended to a file in WORK, so that
a run that was stopped goes on where it was; all tiers together take about two hours on one core.

`pack` writes `mfal/oracles/stability/tables/competing_phases.csv`.
"""

import argparse
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
from mfal.errors import MfalError
from mfal.oracles.stability.hull import mixture_of
from mfal.oracles.stability.relaxing import RelaxedStructure, relax_structures
from mfal.oracles.stability.types import CompetingPhase
from mfal.potentials.chgnet import chgnet_potential
from mfal.potentials.relax import RelaxSettings, relax_crystals

SETTINGS = RelaxSettings(force=0.05, stress=0.2, steps=250)
AS_IT_STANDS = SETTINGS._replace(steps=1)
CHUNK = 24
"""Crystals relaxed between two writes."""
COMPARED = 6
"""Structures of one formula that are compared as they stand, those of the smallest cells."""
A_FORMULA = 2
"""Structures of one formula that are relaxed at most."""
NEXT = 0.02
"""eV per atom above the lowest of its formula, as they stand, up to which the next is relaxed."""
FAR = 0.05
"""eV per atom above the hull, as they stand; what lies farther is hardly a competitor, and its
energy as it stands, at its database's minimum, is enough."""
EMBEDDED_TIER = 2
GUESSED = ("exchange", "simple")
"""How keys of structures begin that are at no minimum of any functional."""


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
    start = time.process_time()
    for tier in collected(data, wheel, work):
        waiting = [c for c in tier if _compared(c) and c.key not in standing.rows]
        print(
            f"tier {tier[0].tier}: {len(tier)} structures, {len(waiting)} to be compared",
            flush=True,
        )
        for chunk in _chunks(waiting, 2 * CHUNK):
            if time.monotonic() > end:
                return
            for one, energy in zip(chunk, _as_they_stand(potential, chunk), strict=True):
                standing.add(one.key, _row(one) | {"energy": energy, "status": "as it stands"})
        chosen = [c for c in _chosen(tier, standing, relaxed) if c.key not in relaxed.rows]
        print(f"tier {tier[0].tier}: {len(chosen)} to be relaxed", flush=True)
        done = 0
        for chunk in _chunks(chosen, CHUNK):
            if time.monotonic() > end:
                return
            for one, answer in zip(chunk, _relax(potential, chunk, SETTINGS), strict=True):
                relaxed.add(one.key, _row(one) | _outcome(answer))
            done += len(chunk)
            print(
                f"tier {tier[0].tier}: {done} of {len(chosen)}, "
                f"{(time.process_time() - start) / 60:.1f} CPU min",
                flush=True,
            )


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


def _compared(one: Candidate) -> bool:
    """Whether it is relaxed only if it is among the lowest of its formula as it stands."""
    return one.tier not in (0, EMBEDDED_TIER) and not one.key.startswith(GUESSED)


def _smallest(tier: Sequence[Candidate]) -> list[Candidate]:
    """At most `COMPARED` of a formula where they are compared."""
    kept: list[Candidate] = []
    counts: dict[str, int] = {}
    for one in sorted(tier, key=lambda one: len(one.structure)):
        formula = formula_of(one.structure)
        counts[formula] = counts.get(formula, 0) + 1
        if not _compared(one) or counts[formula] <= COMPARED:
            kept.append(one)
    return kept


def _chosen(tier: Sequence[Candidate], standing: Book, relaxed: Book) -> list[Candidate]:
    by_formula: dict[str, list[tuple[float, Candidate]]] = {}
    chosen = [one for one in tier if not _compared(one)]
    for one in filter(_compared, tier):
        energy = standing.rows[one.key]["energy"]
        if energy is not None:
            by_formula.setdefault(formula_of(one.structure), []).append((energy, one))
    phases = _phases(standing, relaxed)
    for group in by_formula.values():
        group.sort(key=lambda pair: pair[0])
        limit = min(group[0][0] + NEXT, FAR + group[0][0] - _above(*group[0][::-1], phases))
        chosen += [one for energy, one in group[:A_FORMULA] if energy <= limit]
    return chosen


def _phases(*books: Book) -> list[CompetingPhase]:
    return [
        CompetingPhase(row["formula"], row["amounts"], row["energy"], 0, 0.0, "", row["key"])
        for book in books
        for row in book.rows.values()
        if row["energy"] is not None
        and row["status"] in ("converged", "steps used up", "as it stands")
    ]


def _above(one: Candidate, energy: float, phases: Sequence[CompetingPhase]) -> float:
    elements = elements_of(one.structure)
    known = [phase for phase in phases if phase.amounts.keys() <= elements]
    amounts = {e.symbol: float(n) for e, n in one.structure.composition.element_composition.items()}
    try:
        shares = mixture_of(amounts, known)
    except MfalError:
        return 0.0
    return energy - sum(share * known[k].energy for k, share in shares.items())


def _chunks(waiting: Sequence[Candidate], size: int) -> Iterator[list[Candidate]]:
    """Primitive cells, crystals of about one size and density together, small ones first.

    So compiled programs serve for many, and little is padded.
    """
    cells = [one._replace(structure=primitive(one.structure)) for one in waiting]
    ordered = sorted(
        cells,
        key=lambda one: ((len(one.structure) - 1) // 8, one.structure.volume / len(one.structure)),
    )
    for start in range(0, len(ordered), size):
        yield list(ordered[start : start + size])


def _relax(
    potential: Any, chunk: Sequence[Candidate], settings: RelaxSettings
) -> list[RelaxedStructure]:
    return relax_structures(
        [one.structure for one in chunk], potential, settings, symprec=0.02, batch=1
    )


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
