"""Is the table of competing phases right? Known crystals against it, and measured energies.

    python experiments/hull_facts.py [--out FOLDER]

Every ordered embedded crystal is left out of the hull in turn and placed on that of all other
phases (the same composition from another source may stay): known crystals must lie on it or near.
And the formation energies of all compounds are set beside measured enthalpies of formation of the
solids at 298 K (`tables/formation_enthalpies.csv`: CRC Handbook, 95th ed.) and beside the measured
Gibbs energies of the embedded table, from which entropy sets them apart, most where a gas is bound.
Then crystals are drawn uniformly from a campaign's default space: for how many does the table bound
the hull distance, and for how many the window against lithium? Writes all as JSON.
"""

import argparse
import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from pymatgen.core import Composition

from mfal.campaign.config import CampaignConfig
from mfal.campaign.ledger.crystals import record_of
from mfal.campaign.problem import make_problem
from mfal.data.embedded import load_embedded
from mfal.data.units import KJ_PER_EV
from mfal.envs.random import sample_uniformly
from mfal.errors import MfalError
from mfal.oracles.stability.hull import competing_phases, hull_distance
from mfal.oracles.stability.thermochemistry import measured_table, potential_energies
from mfal.oracles.stability.window import equilibrium_window

ENTHALPIES = Path(__file__).parent / "tables" / "formation_enthalpies.csv"
ANIONS = ("N", "O", "F", "P", "S", "Cl", "Se", "Br", "I")


class LeftOut(NamedTuple):
    """A known crystal against all other phases."""

    id: str
    formula: str
    distance: float
    """eV per atom; negative where it beats them."""
    bounded: bool
    products: dict[str, float]


class Formation(NamedTuple):
    """A compound's energy of formation, eV per atom."""

    formula: str
    computed: float
    measured: float
    """Enthalpy, or Gibbs energy, at 298 K."""


def leave_one_out() -> list[LeftOut]:
    """Every ordered embedded crystal that is in the table, against the others."""
    own = {phase.key: phase for phase in competing_phases()}
    found = []
    for material in load_embedded():
        if material.id not in own:
            continue
        phase = own[material.id]
        place = hull_distance(phase.energy, phase.amounts, without=(material.id,))
        found.append(
            LeftOut(material.id, phase.formula, place.distance, place.bounded, place.products)
        )
    return found


def measured_enthalpies() -> dict[str, float]:
    """Of solids at 298 K, kJ per mole of the formula."""
    with ENTHALPIES.open(encoding="utf8") as file:
        return {row["formula"]: float(row["dhf_kj_per_mol"]) for row in csv.DictReader(file)}


def measured_gibbs_energies() -> dict[str, float]:
    """Of the embedded table, kJ per mole of the formula."""
    return {row.formula: row.gibbs for row in measured_table()}


def formation_energies(measured: Mapping[str, float]) -> list[Formation]:
    """Of all compounds of the table of competing phases that have a measured value.

    Args:
      measured: formulas to kJ per mole.
    """
    elements: dict[str, float] = {}
    lowest: dict[str, float] = {}
    for phase in competing_phases():
        if len(phase.amounts) == 1:
            symbol = next(iter(phase.amounts))
            elements[symbol] = min(elements.get(symbol, math.inf), phase.energy)
        else:
            formula = Composition(dict(phase.amounts)).reduced_formula
            lowest[formula] = min(lowest.get(formula, math.inf), phase.energy)
    found = []
    for name, value in measured.items():
        composition = Composition(name)
        energy = lowest.get(composition.reduced_formula)
        amounts = composition.get_el_amt_dict()
        if energy is None or not amounts.keys() <= elements.keys():
            continue
        apart = sum(elements[e] * n for e, n in amounts.items()) / composition.num_atoms
        known = value / KJ_PER_EV / composition.num_atoms
        found.append(Formation(composition.reduced_formula, energy - apart, known))
    return found


def by_anion(found: Sequence[Formation]) -> list[tuple[str, int, float, float]]:
    """Anion, number of its compounds, median of computed less measured, median of its size."""
    rows = []
    for anion in ("all", "with Li", *ANIONS):
        errors = [
            each.computed - each.measured
            for each in found
            if anion == "all"
            or (anion == "with Li" and "Li" in Composition(each.formula))
            or {e.symbol for e in Composition(each.formula)}.intersection(ANIONS) == {anion}
        ]
        if errors:
            rows.append(
                (anion, len(errors), float(np.median(errors)), float(np.median(np.abs(errors))))
            )
    return rows


def drawn_formulas(number: int, seed: int = 0) -> list[str]:
    """Formulas of crystals drawn uniformly from a campaign's default space."""
    config = CampaignConfig()
    problem = make_problem(config.space, config.oracles)
    states = sample_uniformly(problem.environment, jax.random.key(seed), number)
    crystals = jax.tree.map(np.asarray, jax.vmap(problem.to_crystal)(states))
    states = jax.tree.map(np.asarray, states)
    formulas = []
    for i in range(number):
        state, crystal = jax.tree.map(lambda leaf, i=i: leaf[i], (states, crystals))
        formulas.append(record_of(crystal, problem.oxidation_states(state), "random").formula)
    return formulas


def bounded_shares(formulas: Sequence[str]) -> dict[str, float]:
    """Shares of formulas whose hull distance, and whose window, the table bounds."""
    energies = potential_energies()
    hull = [hull_distance(0.0, formula).bounded for formula in formulas]
    windows = []
    for formula in formulas:
        try:
            equilibrium_window(formula, energies)
        except MfalError:
            windows.append(False)
        else:
            windows.append(True)
    return {"hull distance": float(np.mean(hull)), "window": float(np.mean(windows))}


def main() -> None:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/hull_facts"))
    parser.add_argument("--number", type=int, default=300, help="crystals drawn (300)")
    options = parser.parse_args()
    placed = leave_one_out()
    for name, some in (
        ("all", placed),
        ("bounded", [each for each in placed if each.bounded]),
        ("not bounded", [each for each in placed if not each.bounded]),
    ):
        distances = np.array([each.distance for each in some])
        print(
            f"{name}: {len(some)} known crystals, {100 * np.mean(distances <= 0.05):.0f} % within "
            f"50 meV per atom of the hull of the others, {100 * np.mean(distances <= 0.1):.0f} % "
            f"within 100, median {1000 * np.median(distances):.0f} meV"
        )
    for each in sorted(placed, key=lambda each: -each.distance):
        if each.distance > 0.05:
            products = " + ".join(each.products)
            print(f"  {each.formula} ({each.id}): {1000 * each.distance:.0f} meV above {products}")
    formed = {
        "enthalpy": formation_energies(measured_enthalpies()),
        "gibbs": formation_energies(measured_gibbs_energies()),
    }
    for name, found in formed.items():
        print(f"\n{name:9} compounds   computed less measured, eV per atom: median, median size")
        for anion, number, shift, size in by_anion(found):
            print(f"{anion:9} {number:9} {shift:35.3f} {size:12.3f}")
    shares = bounded_shares(drawn_formulas(options.number))
    for name, share in shares.items():
        print(f"{name}: bounded for {100 * share:.0f} % of {options.number} crystals drawn")
    options.out.mkdir(parents=True, exist_ok=True)
    content = {
        "phases": len(competing_phases()),
        "bounded": shares,
        "left_out": [each._asdict() for each in placed],
        "formation": {name: [e._asdict() for e in found] for name, found in formed.items()},
    }
    (options.out / "hull_facts.json").write_text(json.dumps(content, indent=1) + "\n")
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
