"""The atoms of each Wyckoff position as affine functions of its free coordinates.

Read from `tables/wyckoff_orbits.npz`, which `experiments/tables/wyckoff_orbits.py` builds from
pyxtal's tables (International Tables for Crystallography A, standard settings, origin choice 2).
"""

from functools import cache
from importlib import resources

import numpy as np

__all__ = ["wyckoff_operations"]


@cache
def _tables() -> dict[str, np.ndarray]:
    path = resources.files("mfal.crystals").joinpath("tables/wyckoff_orbits.npz")
    with path.open("rb") as file, np.load(file) as arrays:
        return dict(arrays)


def wyckoff_operations(number: int, position: int) -> tuple[np.ndarray, np.ndarray]:
    """Linear parts [m, 3, 3] and translations [m, 3] of a Wyckoff position, float64.

    Its m atoms in the conventional cell lie at `linear @ (x, y, z) + translation`, in fractional
    coordinates, up to whole cells. `position` counts from 0 for letter a, as the tables of
    `mfal.crystals.groups` do.

    >>> wyckoff_operations(225, 1)[1][0]
    array([0.5, 0.5, 0.5])
    """
    tables = _tables()
    start, stop = tables["start"][number - 1, position : position + 2]
    linear = tables["linear"][start:stop].astype(float)
    return linear, tables["translation"][start:stop] / 24.0
