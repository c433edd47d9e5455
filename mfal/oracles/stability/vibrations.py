"""Imaginary modes: whether a relaxed crystal is a minimum, or would follow a mode to another one.

    mfal discover --oracles mfal.oracles.stability:vibrations_oracle

Harmonic vibrations by CHGNet at the wave vectors of a supercell (`mfal.potentials.phonons`). A
campaign asks this of its finalists. Generated crystals have no imaginary mode in a quarter of the
cases on average over the generators that PhononBench compares (`experiments/generation_quality.py`
holds figures beside it).
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from mfal.errors import MfalError
from mfal.oracles.answering import answer_each
from mfal.oracles.bond_valence.maps import Estimate
from mfal.oracles.types import Oracle

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["TOLERANCE", "VIBRATIONS", "vibrations_oracle"]

VIBRATIONS = "imaginary_modes"
"""The oracle's name."""
VIBRATIONS_COST = 60.0
"""CPU seconds of a call: an estimate, from one supercell of 64 atoms on a busy machine."""
TOLERANCE = 0.1
"""THz below zero from which a frequency counts as imaginary: what an incomplete relaxation and
float64 differences leave of the three translations is less."""
_WIDTHS = (8.0, 6.0)
"""Å of the supercell, the first one with no more atoms than may be: force constants beyond half of
it are folded back."""
_LARGEST = 192
"""Atoms in the supercell, for the sake of time and memory."""


def vibrations_oracle() -> Oracle:
    """How many modes are imaginary at the wave vectors of a supercell; 0 means a minimum."""
    name, version = VIBRATIONS, "1-CHGNet-0.3.0"

    def answer(structure: "Structure") -> Estimate:
        found = _vibrations(structure)
        return Estimate(float(found["imaginary"]), None, found)

    return Oracle(
        name=name,
        version=version,
        fidelity=0,
        cost=VIBRATIONS_COST,
        unit="modes",
        higher_is_better=False,
        bounds=(0.0, 1e4),
        evaluate=answer_each(answer, name, version),
    )


def _vibrations(structure: "Structure") -> dict[str, Any]:
    from ase.data import atomic_masses

    from mfal.crystals.operations import find_operations
    from mfal.crystals.primitive import to_primitive
    from mfal.potentials.chgnet import chgnet_potential
    from mfal.potentials.phonons import find_phonons

    cell = to_primitive(structure).cell
    repeats = _repeats(cell)
    numbers = np.array([site.specie.Z for site in cell])
    crystal = (cell.cart_coords, cell.lattice.matrix, numbers)
    phonons = find_phonons(
        chgnet_potential(),
        *crystal,
        atomic_masses[numbers],
        repeats=repeats,
        operations=find_operations(*crystal),
    )
    return {
        "method": "harmonic, CHGNet 0.3.0",
        "imaginary": phonons.count_imaginary(TOLERANCE),
        "lowest_thz": float(phonons.frequencies.min()),
        "repeats": list(repeats),
        "atoms": len(cell) * int(np.prod(repeats)),
        "wave_vectors": len(phonons.wave_vectors),
    }


def _repeats(cell: "Structure") -> tuple[int, int, int]:
    from mfal.potentials.phonons import repeats_for_width

    sizes = []
    for width in _WIDTHS:
        repeats = repeats_for_width(cell.lattice.matrix, width)
        sizes.append(len(cell) * int(np.prod(repeats)))
        if sizes[-1] <= _LARGEST:
            return repeats
    raise MfalError(
        f"{cell.composition.reduced_formula}: its vibrations take {sizes[-1]} atoms, more than"
        f" {_LARGEST}",
        "compute them with mfal.potentials.find_phonons, which takes minutes",
    )
