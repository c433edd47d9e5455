"""Oracles with energies of one cheap ASE calculator, for campaigns that look at stability."""

from functools import lru_cache
from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from pymatgen.core import Lattice, Structure

from mfal.oracles.stability.energies import Energies
from mfal.oracles.stability.potential_energy import (
    RelaxationConfig,
    energies_from_calculator,
    entry_from_calculator,
    formation_energy_oracle,
    reference_energies,
)
from mfal.oracles.stability.window import stability_oracle
from mfal.oracles.types import Oracle

STRENGTH = {"Li": -1.6, "O": 1.5, "S": 1.0}
AS_IT_STANDS = RelaxationConfig(max_steps=0)


class IonicBonds(Calculator):
    """An energy of mixing that depends on the elements' fractions alone."""

    implemented_properties = ("energy", "forces")

    def calculate(
        self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        charges = [STRENGTH[symbol] for symbol in atoms.get_chemical_symbols()]
        spread = float(np.std(charges)) ** 2
        self.results = {
            "energy": -spread * len(atoms),
            "forces": np.zeros((len(atoms), 3)),
        }


@lru_cache(maxsize=1)
def energies() -> Energies:
    """Elements and two binaries."""
    bcc = [
        Structure.from_spacegroup("Im-3m", Lattice.cubic(3.4), [symbol], [[0, 0, 0]])
        for symbol in ("Li", "O", "S")
    ]
    fluorite = [
        Structure.from_spacegroup(
            "Fm-3m", Lattice.cubic(a), ["Li", anion], [[0.25, 0.25, 0.25], [0, 0, 0]]
        )
        for anion, a in (("O", 4.6), ("S", 5.7))
    ]
    return energies_from_calculator(bcc + fluorite, IonicBonds(), AS_IT_STANDS, exhaustive=True)


def chain() -> tuple[Oracle, ...]:
    """Formation energy and hull distance below the toy campaign's own target."""
    from toy_oracles import three

    calculator = IonicBonds()
    return (
        formation_energy_oracle(
            calculator, reference_energies(energies()), config=AS_IT_STANDS, fidelity=0, cost=0.05
        ),
        stability_oracle(
            energies(),
            quantity="hull_distance",
            fidelity=1,
            cost=0.2,
            entry_of=lambda structure: entry_from_calculator(structure, calculator, AS_IT_STANDS),
        ),
        three()[2],
    )
