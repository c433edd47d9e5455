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
from typing import TYPE_CHECKING, NamedTuple

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

__all__ = ["LatePotential", "chgnet", "formation_energy", "hull_distance", "stable_conductors"]

RELAXATION = RelaxationConfig(max_steps=150, force=0.1)
"""Looser than that of the competing phases: at 0.1 eV/Å some meV per atom are left."""
COST = 0.5
"""CPU seconds, the conductivity oracle's being one; it relaxes a cell in some ten seconds."""


class LatePotential(NamedTuple):
    """A potential that is loaded when the first structure comes.

    A campaign's own process reads oracles' names and costs only; its workers load the network.
    """

    version: str
    calculator: str
    """Name of its ASE class, which versions and provenance state."""
    load: Callable[[], "Calculator"]


def chgnet() -> LatePotential:
    """CHGNet as it is installed.

    Raises:
      MfalError: it isn't.
    """
    if importlib.util.find_spec("chgnet") is None:
        raise MfalError("the calculator chgnet isn't installed", "pip install 'mfal[mlip]'")
    return LatePotential(version("chgnet"), "CHGNetCalculator", lambda: load_calculator("chgnet"))


def formation_energy(potential: LatePotential | None = None) -> Oracle:
    """Energy of formation from the elements by CHGNet, eV per atom, as the lowest fidelity.

    Args:
      potential: in CHGNet's stead; the embedded energies of the elements are CHGNet's.

    Raises:
      MfalError: CHGNet isn't installed.
    """
    potential = potential or chgnet()
    number = potential.version
    references = reference_energies(potential_energies())

    def make(calculator: "Calculator") -> Oracle:
        return formation_energy_oracle(
            calculator,
            references,
            config=RELAXATION,
            fidelity=0,
            cost=COST,
            version=f"1:{number}",
        )

    return _late(make, potential)


def hull_distance(potential: LatePotential | None = None) -> Oracle:
    """Distance from the hull by CHGNet, eV per atom, with the window in its provenance.

    Args:
      potential: in CHGNet's stead; the embedded energies of competing phases are CHGNet's.

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

    return _late(make, potential or chgnet())


def stable_conductors(potential: LatePotential | None = None) -> tuple[Oracle, ...]:
    """The default oracles with CHGNet's hull distance just below the target.

    Args:
      potential: in CHGNet's stead.

    Raises:
      MfalError: CHGNet isn't installed.
    """
    from mfal.oracles.ladder import default_oracles

    *cheap, target = default_oracles()
    chain = (*cheap, hull_distance(potential), target)
    return tuple(oracle._replace(fidelity=rank) for rank, oracle in enumerate(chain))


def _late(make: "Callable[[Calculator], Oracle]", potential: LatePotential) -> Oracle:
    """The oracle, whose calculator is loaded when the first structure comes."""
    from ase.calculators.calculator import Calculator

    @lru_cache(maxsize=1)
    def loaded() -> Oracle:
        return make(potential.load())

    def evaluate(structures: "Sequence[Structure]") -> list[Observation]:
        return list(loaded().evaluate(structures))

    placeholder = type(potential.calculator, (Calculator,), {})()
    return make(placeholder)._replace(evaluate=evaluate)
