"""The 230 space groups as NumPy tables, indexed by space group number - 1.

Settings are those of the conventional cell: hexagonal axes for the rhombohedral groups, unique axis
b for the monoclinic ones, so multiplicities and lattice parameters speak of the same cell.
Source: International Tables for Crystallography A, by way of pyxtal and spglib
(`experiments/tables/space_groups.py` writes the file that is read here).

>>> GROUP_SYMBOLS[224], CRYSTAL_SYSTEM_NAMES[CRYSTAL_SYSTEM[224]], wyckoff_letters(225)[:3]
('Fm-3m', 'cubic', ('a', 'b', 'c'))
"""

from importlib import resources

import numpy as np

__all__ = [
    "CRYSTAL_SYSTEM",
    "CRYSTAL_SYSTEM_NAMES",
    "GROUP_SYMBOLS",
    "LATTICE_SYSTEM",
    "LATTICE_SYSTEM_NAMES",
    "NUM_GROUPS",
    "POINT_GROUP",
    "POINT_GROUP_NAMES",
    "POINT_KIND",
    "POINT_KIND_NAMES",
    "WYCKOFF_FREEDOM",
    "WYCKOFF_MULTIPLICITY",
    "wyckoff_letters",
]

NUM_GROUPS = 230
"""Space groups of the International Tables; arrays are indexed by the number less one."""

CRYSTAL_SYSTEM_NAMES = (
    "triclinic",
    "monoclinic",
    "orthorhombic",
    "tetragonal",
    "trigonal",
    "hexagonal",
    "cubic",
)
"""The seven crystal systems."""

LATTICE_SYSTEM_NAMES = (
    "triclinic",
    "monoclinic",
    "orthorhombic",
    "tetragonal",
    "rhombohedral",
    "hexagonal",
    "cubic",
)
"""The seven lattice systems: trigonal groups have one of two."""

POINT_KIND_NAMES = (
    "centrosymmetric",
    "non-centrosymmetric",
    "polar",
    "enantiomorphic",
    "enantiomorphic-polar",
)


def _load() -> dict[str, np.ndarray]:
    with (
        resources.files("mfal.crystals").joinpath("tables/space_groups.npz").open("rb") as file,
        np.load(file) as arrays,
    ):
        tables = dict(arrays)
    for table in tables.values():
        table.flags.writeable = False
    return tables


_TABLES = _load()

GROUP_SYMBOLS: tuple[str, ...] = tuple(_TABLES["symbol"].tolist())
"""Short Hermann-Mauguin symbols."""

CRYSTAL_SYSTEM: np.ndarray = _TABLES["crystal_system"]
"""[230] int8, position in CRYSTAL_SYSTEM_NAMES."""

LATTICE_SYSTEM: np.ndarray = np.where(
    _TABLES["rhombohedral"], 4, np.array([0, 1, 2, 3, 5, 5, 6])[CRYSTAL_SYSTEM]
).astype(np.int8)
"""[230] int8, position in LATTICE_SYSTEM_NAMES. Trigonal groups are rhombohedral or hexagonal."""

POINT_GROUP: np.ndarray = _TABLES["point_group"]
"""[230] int8, crystal class, position in POINT_GROUP_NAMES."""

POINT_GROUP_NAMES: tuple[str, ...] = tuple(_TABLES["point_group_symbol"].tolist())
"""The 32 crystal classes in the order of the International Tables."""

POINT_KIND: np.ndarray = _TABLES["point_kind"]
"""[230] int8, position in POINT_KIND_NAMES. Each kind excludes the others: "polar" stands for
polar but not enantiomorphic, "non-centrosymmetric" for neither."""

WYCKOFF_MULTIPLICITY: np.ndarray = _TABLES["multiplicity"]
"""[230, 27] int16, atoms in the conventional cell of each Wyckoff position, in the order of the
letters (the general position last); 0 where a group has fewer positions."""

WYCKOFF_FREEDOM: np.ndarray = _TABLES["freedom"]
"""[230, 27] int8, free coordinates of each position, 0 to 3; -1 where there is no position. A
position without free coordinates can be occupied at most once."""


def wyckoff_letters(number: int) -> tuple[str, ...]:
    """Letters of the positions of a space group, 'a' first; 'A' follows 'z' in Pmmm."""
    count = int((WYCKOFF_MULTIPLICITY[number - 1] > 0).sum())
    return tuple("abcdefghijklmnopqrstuvwxyzA"[:count])
