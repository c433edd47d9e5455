"""CHGNet's energies as fidelities of a campaign: formation energy, distance from the hull, window.

    mfal discover --oracles mfal.oracles.stability.mlip:stable_conductors

CHGNet (Deng et al., Nat. Mach. Intell. 5, 1031 (2023), doi:10.1038/s42256-023-00716-3) needs the
extra `mlip`. Competing phases and elements are the embedded ones, relaxed with it, so only their
chemistries are answered: Li-P-S with Ge, Cl, Br or I, Li-La-Zr-O, Li-Nb-O, Li-Ta-O, Li-P-O. For
another calculator or more chemistries make a function like these from
`mfal.oracles.stability.potential_energy` and `mfal.oracles.stability.window`.
"""

import importlib.util
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from mfal.errors import MfalError
from mfal.oracles.stability.potential_energy import (
    RelaxationConfig,
    entry_from_calculator,
    formation_energy_oracle,
    load_calculator,
    reference_energies,
)
from mfal.oracles.stability.thermochemistry import potential_energies
from mfal.oracles.stability.window import stability_oracle
from mfal.oracles.types import Observation, Oracle

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from pymatgen.core import Structure

__all__ = ["formation_energy", "hull_distance", "stable_conductors"]

NAME = "chgnet"
RELAXATION = RelaxationConfig(max_steps=150, force=0.1)
"""Looser than that of the competing phases: at 0.1 eV/Å some meV per atom are left."""
COST = 0.5
"""Cost units, the conductivity oracle's being one; it relaxes a cell in some ten seconds."""


def formation_energy() -> Oracle:
    """Energy of formation from the elements by CHGNet, eV per atom, as the lowest fidelity.

    Raises:
      MfalError: CHGNet isn't installed.
    """
    references = reference_energies(potential_energies())

    def make(calculator: "Calculator") -> Oracle:
        return formation_energy_oracle(
            calculator,
            references,
            config=RELAXATION,
            fidelity=0,
            cost=COST,
            version=f"1:{version(NAME)}",
        )

    return _late(make)


def hull_distance() -> Oracle:
    """Distance from the hull by CHGNet, eV per atom, with the window in its provenance.

    Raises:
      MfalError: CHGNet isn't installed.
    """

    def make(calculator: "Calculator") -> Oracle:
        return stability_oracle(
            potential_energies(),
            quantity="hull_distance",
            cost=COST,
            entry_of=lambda structure: entry_from_calculator(structure, calculator, RELAXATION),
        )

    return _late(make)


def stable_conductors() -> tuple[Oracle, ...]:
    """The default oracles with CHGNet's hull distance just below the target.

    Raises:
      MfalError: CHGNet isn't installed.
    """
    from mfal.oracles.ladder import default_oracles

    *cheap, target = default_oracles()
    chain = (*cheap, hull_distance(), target)
    return tuple(oracle._replace(fidelity=rank) for rank, oracle in enumerate(chain))


def _late(make: "Callable[[Calculator], Oracle]") -> Oracle:
    """The oracle, whose calculator is loaded when the first structure comes.

    A campaign's own process reads oracles' names and costs only; its workers load the network.
    """
    if importlib.util.find_spec(NAME) is None:
        raise MfalError(f"the calculator {NAME} isn't installed", "pip install 'mfal[mlip]'")
    from ase.calculators.calculator import Calculator

    @lru_cache(maxsize=1)
    def loaded() -> Oracle:
        return make(load_calculator(NAME))

    def evaluate(structures: "Sequence[Structure]") -> list[Observation]:
        return list(loaded().evaluate(structures))

    placeholder = type("CHGNetCalculator", (Calculator,), {})()
    return make(placeholder)._replace(evaluate=evaluate)
