"""Does a second potential say the same of generated crystals: are the same ones near the hull?

CHGNet relaxed the crystals of `generation_quality.py`, and its hull says which are metastable. Here
SevenNet-0 (Park, Kim, Hwang & Han, J. Chem. Theory Comput. 20, 4857 (2024),
doi:10.1021/acs.jctc.4c00190), equivariant where CHGNet is not, but trained on the same calculations
(MPtrj), relaxes them on from CHGNet's minima, and so it does with the phases that they compete
with.

- Crystals: of each source the first ones, in the order drawn, that CHGNet brought to rest.
- Phases: of a crystal's elements, the lowest of each formula, those that lie at most .05 eV per
  atom above the plane through CHGNet's products of decomposition, these among them; as far as their
  atoms are at hand: in the shipped tables, and with `--phases` in the file that
  `tables/competing_phases.py relax` writes. A phase without atoms counts for neither potential.
- Energies: SevenNet-0 gives those of the calculations as they stand, CHGNet the Materials Project's
  corrected ones. So the corrections of MP2020 are added (Wang et al., Sci. Rep. 11, 15496 (2021),
  doi:10.1038/s41598-021-94550-5), as pymatgen finds them.

Printed: how often both say metastable or not (within .1 eV per atom), Cohen's kappa, rank
correlation and differences of the hull distances, how far the minima lie apart, and whether they
are the same crystal. Intervals are 90 %, by bootstrap over crystals.

    pip install 'mfal[second]'
    python experiments/second_potential.py --pieces results/generation_quality.jsonl

Each phase and crystal is a line of results/second_potential.jsonl as soon as it is done: a stopped
run goes on where it was.
"""

import itertools
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.analysis.compatibility import MaterialsProject2020Compatibility
from pymatgen.core import Structure
from pymatgen.entries.computed_entries import ComputedStructureEntry
from scipy.optimize import linprog
from scipy.stats import spearmanr
from shared import Interval, do_pieces, interval, make_parser, write_record

from mfal.campaign.ledger.crystals import structure_of
from mfal.crystals.matching import same_crystal
from mfal.data import load_competing_phases, load_embedded
from mfal.errors import MfalError
from mfal.oracles.stability import CompetingPhase, competing_phases
from mfal.oracles.stability.hull import mixture_of
from mfal.oracles.stability.relaxing import relax_structures
from mfal.potentials import Potential, from_calculator
from mfal.potentials.relax import RelaxSettings

COUNT = 50
METASTABLE = 0.1  # eV per atom
NEAR = 0.05  # eV per atom above the plane through the products
SETTINGS = RelaxSettings(steps=200)
MODEL = "7net-0"


# --- the second potential -------------------------------------------------------------------------


def second_potential() -> Potential:
    """SevenNet-0, whose weights come with its package.

    Raises:
      MfalError: where it isn't installed.
    """
    try:
        from sevenn.calculator import SevenNetCalculator
    except ImportError as error:
        raise MfalError(
            f"SevenNet isn't installed ({error.name})", "pip install 'mfal[second]'"
        ) from error
    return from_calculator(SevenNetCalculator(MODEL, device="cpu"), "SevenNet-0")


def relaxed(structure: Structure, potential: Potential) -> dict[str, Any]:
    """What relaxing a structure gives, its energy corrected, eV per atom."""
    start = time.process_time()
    plain = structure.copy().remove_oxidation_states()
    one = relax_structures([plain], potential, SETTINGS)[0]
    # Collapsed cells and the like have no energy; nor have those that don't come to rest.
    energy = one.energy + correction(one.structure) if one.status == "converged" else None
    return {
        "energy": energy,
        "status": one.status,
        "steps": one.steps,
        "shift": one.shift,
        "volume_change": one.volume_change,
        "same": same_crystal(plain, one.structure),
        "seconds": round(time.process_time() - start, 2),
    }


def correction(structure: Structure) -> float:
    """The Materials Project's correction of a calculated energy, eV per atom.

    Without those for GGA+U, which no element of the default space needs.
    """
    # The length of oxygen's bonds says whether it is an oxide, for which atoms are needed.
    entry = ComputedStructureEntry(structure, 0.0, parameters={"run_type": "GGA", "hubbards": {}})
    rules = MaterialsProject2020Compatibility(check_potcar=False)
    if rules.process_entry(entry) is None:
        raise MfalError(f"{structure.formula}: no corrected energy", "leave it out")
    return float(entry.correction_per_atom)


# --- what competes --------------------------------------------------------------------------------


def phase_structures(path: Path | None) -> dict[str, Structure]:
    """Atoms of competing phases by their keys."""
    found = {}
    for table in (load_embedded(), load_competing_phases()):
        for material, structure in zip(table, table.structures(), strict=True):
            if structure is not None and structure.is_ordered:
                found[material.id] = structure
    lines = path.read_text(encoding="utf-8").splitlines() if path else []
    for row in map(json.loads, lines):
        if "positions" in row:
            found.setdefault(
                row["key"], Structure(row["lattice"], row["species"], row["positions"])
            )
    return found


def competitors(
    amounts: Mapping[str, float], phases: Sequence[CompetingPhase], near: float = NEAR
) -> list[CompetingPhase]:
    """Phases of a composition's elements that lie near the plane through its products.

    The programme of `mfal.oracles.stability.hull`; its dual variables are the elements' chemical
    potentials where the products are in balance, which span that plane.
    """
    elements = sorted(amounts)
    own = [phase for phase in phases if phase.amounts.keys() <= amounts.keys()]
    shares = np.array([[p.amounts.get(e, 0.0) for p in own] for e in elements])
    shares /= shares.sum(0)
    wanted = np.array([amounts[e] for e in elements]) / sum(amounts.values())
    energies = np.array([phase.energy for phase in own])
    found = linprog(energies, A_eq=shares, b_eq=wanted, bounds=(0, None), method="highs")
    if found.x is None:
        raise MfalError(f"{'-'.join(elements)}: no phases at hand", "give --phases")
    above = energies - found.eqlin.marginals @ shares
    lowest: dict[str, CompetingPhase] = {}
    for phase, height in zip(own, above, strict=True):
        # Products lie in the plane, but for rounding.
        first = lowest.get(phase.formula)
        if height <= near + 1e-9 and (first is None or phase.energy < first.energy):
            lowest[phase.formula] = phase
    return [lowest[formula] for formula in sorted(lowest)]


def distance(
    energy: float, amounts: Mapping[str, float], phases: Sequence[CompetingPhase]
) -> float:
    """How far above the lowest mixture of phases an energy lies, all of it eV per atom."""
    shares = mixture_of(amounts, phases)
    return energy - sum(share * phases[index].energy for index, share in shares.items())


# --- figures --------------------------------------------------------------------------------------


def chosen(paths: Sequence[Path], sources: Sequence[str], count: int) -> dict[str, dict[str, Any]]:
    """Of each source the first crystals, in the order drawn, that CHGNet brought to rest."""
    rows = {}
    for path in paths:
        for line in filter(None, path.read_text(encoding="utf-8").splitlines()):
            name, row = json.loads(line)
            rows[name] = row
    own = [
        sorted(
            (name for name in rows if name.split()[0] == source and rows[name]["valid"]),
            key=lambda name: int(name.split()[1]),
        )
        for source in sources
    ]
    # The sources by turns, so that a stopped run compares equal numbers.
    turns = itertools.zip_longest(*(names[:count] for names in own))
    return {name: rows[name] for turn in turns for name in turn if name is not None}


def kappa(pairs: Sequence[tuple[bool, bool]]) -> float:
    """Cohen's kappa of two verdicts (Educ. Psychol. Meas. 20, 37 (1960)); NaN where all agree."""
    first, second = np.array(pairs, float).T
    chance = first.mean() * second.mean() + (1 - first.mean()) * (1 - second.mean())
    agreed = float(np.mean(first == second))
    return (agreed - chance) / (1 - chance) if chance < 1 else math.nan


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Interval]:
    """How far two potentials agree on crystals that both have placed."""
    distances = [(row["chgnet"], row["second"]) for row in rows]
    verdicts = [(a <= METASTABLE, b <= METASTABLE) for a, b in distances]
    return {
        "metastable by CHGNet": interval([float(a) for a, _ in verdicts]),
        "metastable by the second": interval([float(b) for _, b in verdicts]),
        "same verdict": interval([float(a == b) for a, b in verdicts]),
        "kappa": interval(verdicts, kappa),
        "rank correlation": interval(distances, lambda d: spearmanr(*zip(*d)).statistic),  # noqa: B905
        "mean difference, eV/atom": interval([b - a for a, b in distances]),
        "mean absolute difference, eV/atom": interval([abs(b - a) for a, b in distances]),
        "shift between minima, Å": interval([row["shift"] for row in rows]),
        "volume change": interval([abs(row["volume_change"]) for row in rows]),
        "same crystal": interval([float(row["same"]) for row in rows]),
    }


def main() -> None:
    """Relax phases and crystals, compare, print."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--pieces", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument("--sources", nargs="+", default=("random", "sampler"))
    parser.add_argument("--count", type=int, default=COUNT, help="crystals of each source")
    parser.add_argument("--phases", type=Path, metavar="FILE", help="more phases with atoms")
    options = parser.parse_args()
    start, potential = time.perf_counter(), second_potential()
    atoms = phase_structures(options.phases)
    phases = [phase for phase in competing_phases() if phase.key in atoms]
    rows = chosen(options.pieces, options.sources, options.count)
    rivals = {name: competitors(row["crystal"][0], phases) for name, row in rows.items()}

    tasks: dict[str, Callable[[], Any]] = {}
    for name, row in rows.items():
        for phase in rivals[name]:
            cell = atoms[phase.key].get_primitive_structure()
            tasks.setdefault(f"phase {phase.key}", partial(relaxed, cell, potential))
        tasks[name] = partial(relaxed, structure_of(row["arrangement"]), potential)
    done = do_pieces(options.out / "second_potential.jsonl", tasks, options.minutes)

    compared, left_out = [], 0
    for name, row in rows.items():
        own = [f"phase {phase.key}" for phase in rivals[name]]
        if name not in done or any(each not in done for each in own):
            continue
        found = [
            phase._replace(energy=done[each]["energy"])
            for phase, each in zip(rivals[name], own, strict=True)
        ]
        if done[name]["energy"] is None or any(phase.energy is None for phase in found):
            left_out += 1
            continue
        compared.append(
            {
                "name": name,
                "formula": row["formula"],
                "chgnet": distance(row["energy"], row["crystal"][0], rivals[name]),
                "second": distance(done[name]["energy"], row["crystal"][0], found),
                **{key: done[name][key] for key in ("shift", "volume_change", "same")},
            }
        )
    shown = {"all": compared}
    for source in options.sources:
        shown[source] = [row for row in compared if row["name"].split()[0] == source]
    table = {name: figures(each) for name, each in shown.items() if each}
    print(f"{'':36}" + "".join(f"{name:>24}" for name in table))
    print(f"{'crystals':36}" + "".join(f"{len(shown[name]):>24}" for name in table))
    for measure in next(iter(table.values()), {}):
        cells = [each[measure] for each in table.values()]
        text = [f"{c.middle:.3f} [{c.low:.3f}, {c.high:.3f}]" for c in cells]
        print(f"{measure:36}" + "".join(f"{cell:>24}" for cell in text))
    print(f"left out, as SevenNet brought them or a phase not to rest: {left_out}")
    plain = {name: {k: v._asdict() for k, v in each.items()} for name, each in table.items()}
    record = {
        "figures": plain,
        "crystals": compared,
        "left_out": left_out,
    }
    write_record(
        options.out / "second_potential.json", record, options, time.perf_counter() - start
    )


if __name__ == "__main__":
    main()
