"""Random atoms on given Wyckoff positions, none too near another, by pyxtal's generator.

pyxtal 1.1 draws coordinates from the generator of its `Lattice`, which is a fresh one unless it is
set, whatever `random_state` is passed on: here both are one generator, so that a seed repeats.

Fredericks, Parrish, Sayre, Zhu, Comput. Phys. Commun. 261, 107810 (2021),
doi:10.1016/j.cpc.2020.107810.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from pyxtal.crystal import random_crystal
from pyxtal.lattice import Lattice
from pyxtal.symmetry import Group
from pyxtal.tolerance import Tol_matrix

from mfal.crystals.groups import WYCKOFF_MULTIPLICITY, wyckoff_letters
from mfal.crystals.relax import Arrangement, Orbit

__all__ = ["generated_arrangement"]

_ATTEMPTS = 3
"""At the coordinates of all atoms; where these fail, more seldom help."""


class _Generator(random_crystal):
    """pyxtal's generator in a cell that is given, with few attempts in place of its 400.

    It overrides a method that pyxtal doesn't promise to keep: hence its upper bound in pyproject.
    """

    def set_crystal(self) -> None:
        """Draw coordinates; `valid` tells whether they came out."""
        self.numattempts = 0
        self.lattice = self.lattice0
        self.volume = self.lattice.volume
        for _ in range(_ATTEMPTS):
            sites = self._set_coords()
            if sites:
                self.atom_sites = sites
                return


def generated_arrangement(
    space_group_number: int,
    cell: np.ndarray,
    species: Sequence[tuple[str, float]],
    assignment: Sequence[Sequence[int]],
    least: np.ndarray,
    rng: np.random.Generator,
) -> Arrangement | None:
    """Random free coordinates such that no atoms are nearer than `least`; None where none came.

    Args:
      space_group_number: 1 to 230.
      cell: [3, 3] rows a, b, c, Å, float64, standard conventional cell.
      species: (symbol, charge) of each kind of ion; no element twice.
      assignment: Wyckoff positions of each species' orbits, 0 for letter a.
      least: [S, S] shortest distances of the species, Å.
      rng: source of all randomness.
    """
    letters = wyckoff_letters(space_group_number)
    multiplicity = WYCKOFF_MULTIPLICITY[space_group_number - 1]
    symbols = tuple(symbol for symbol, _ in species)
    group = _group(space_group_number)
    lattice = Lattice.from_matrix(cell, ltype=group.lattice_type, reset=False)
    lattice.random_state = rng
    generator = _Generator(
        group=group,
        species=list(symbols),
        numIons=[int(multiplicity[list(own)].sum()) for own in assignment],
        lattice=lattice,
        sites=[[f"{multiplicity[p]}{letters[p]}" for p in own] for own in assignment],
        tm=_tolerances(symbols, tuple(np.asarray(least, float).ravel().tolist())),
        random_state=rng,
    )
    if not generator.valid:
        return None
    return tuple(
        Orbit(symbols.index(str(site.specie)), letters.index(site.wp.letter), site.position)
        for site in generator.atom_sites
    )


@lru_cache(maxsize=230)
def _group(number: int) -> Group:
    return Group(number)


@lru_cache(maxsize=64)
def _tolerances(symbols: tuple[str, ...], least: tuple[float, ...]) -> Tol_matrix:
    size = len(symbols)
    return Tol_matrix(
        *((symbols[i], symbols[j], least[i * size + j]) for i in range(size) for j in range(i + 1))
    )
