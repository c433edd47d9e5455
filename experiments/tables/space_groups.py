"""Write mfal/crystals/tables/space_groups.npz: symmetry of the 230 space groups as arrays.

Wyckoff positions come from pyxtal (conventional cell, hexagonal axes for the rhombohedral groups,
unique axis b for the monoclinic ones), symbols, crystal classes and operations from spglib. The
number of free coordinates of a position is the rank of its representative's linear part, counted
here from the operation itself; it must agree with pyxtal's own number.

Usage: python experiments/tables/space_groups.py
"""

from pathlib import Path

import numpy as np
import spglib
from pyxtal.symmetry import Group

TABLE = Path(__file__).resolve().parents[2] / "mfal" / "crystals" / "tables" / "space_groups.npz"

NUM_GROUPS, MAX_POSITIONS = 230, 27
# First and last space group of each crystal system, International Tables for Crystallography A.
SYSTEM_ENDS = (2, 15, 74, 142, 167, 194, 230)


def default_settings() -> dict[int, tuple[int, str, str, str]]:
    """Hall number, symbol, point group and Hall symbol of each group's first listed setting."""
    settings: dict[int, tuple[int, str, str, str]] = {}
    for hall_number in range(1, 531):
        kind = spglib.get_spacegroup_type(hall_number)
        entry = (
            hall_number,
            kind.international_short,
            kind.pointgroup_international,
            kind.hall_symbol,
        )
        settings.setdefault(kind.number, entry)
    return settings


def main() -> None:
    """Collect, check and write the tables."""
    settings = default_settings()
    symbols, point_group_names, point_group = [], [], np.zeros(NUM_GROUPS, np.int8)
    kind = np.zeros(NUM_GROUPS, np.int8)
    rhombohedral = np.zeros(NUM_GROUPS, bool)
    multiplicity = np.zeros((NUM_GROUPS, MAX_POSITIONS), np.int16)
    freedom = np.full((NUM_GROUPS, MAX_POSITIONS), -1, np.int8)

    for g in range(NUM_GROUPS):
        number = g + 1
        hall_number, symbol, crystal_class, _ = settings[number]
        symbols.append(symbol)
        rhombohedral[g] = symbol.startswith("R")
        if crystal_class not in point_group_names:
            point_group_names.append(crystal_class)
        point_group[g] = point_group_names.index(crystal_class)

        rotations = spglib.get_symmetry_from_database(hall_number)["rotations"]
        centric = any((r == -np.eye(3)).all() for r in rotations)
        chiral = all(round(np.linalg.det(r)) == 1 for r in rotations)
        # A polar class leaves a direction unmoved: the mean rotation is not zero.
        polar = bool(np.abs(np.mean(rotations, axis=0)).max() > 1e-9)
        kind[g] = 0 if centric else 1 + 2 * chiral + polar

        positions = sorted(
            Group(number).Wyckoff_positions, key=lambda p: (p.letter.isupper(), p.letter)
        )
        for i, position in enumerate(positions):
            operation = np.asarray(position.ops[0].affine_matrix, float)[:3]
            rank = np.linalg.matrix_rank(operation[:, :3])
            assert rank == position.get_dof(), (number, position.letter)
            multiplicity[g, i], freedom[g, i] = position.multiplicity, rank

    assert len(point_group_names) == 32, point_group_names
    assert (np.diff(point_group) >= 0).all()
    np.savez_compressed(
        TABLE,
        symbol=np.array(symbols),
        crystal_system=np.searchsorted(SYSTEM_ENDS, np.arange(1, 231)).astype(np.int8),
        rhombohedral=rhombohedral,
        point_group=point_group,
        point_group_symbol=np.array(point_group_names),
        point_kind=kind,
        multiplicity=multiplicity,
        freedom=freedom,
    )
    print(f"{TABLE.name}: {TABLE.stat().st_size} bytes; kinds {np.bincount(kind).tolist()}")


if __name__ == "__main__":
    main()
