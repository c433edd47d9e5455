"""Write mfal/crystals/tables/wyckoff_orbits.npz: every operation of every Wyckoff position.

    python experiments/tables/wyckoff_orbits.py

The operations are pyxtal's (International Tables A; conventional cell, hexagonal axes for the
rhombohedral groups, unique axis b, origin choice 2), positions in the order of their letters.
Translations are multiples of 1/24, so both parts are small integers.
"""

from pathlib import Path

import numpy as np
from pyxtal.symmetry import Group

TABLE = Path(__file__).resolve().parents[2] / "mfal" / "crystals" / "tables" / "wyckoff_orbits.npz"


def main() -> None:
    """Collect, check and write the operations, one after the other."""
    linear, translation, start = [], [], np.zeros((230, 28), np.int32)
    count = 0
    for number in range(1, 231):
        positions = sorted(
            Group(number).Wyckoff_positions, key=lambda p: (p.letter.isupper(), p.letter)
        )
        for i, position in enumerate(positions):
            start[number - 1, i] = count
            matrices = np.array([op.affine_matrix[:3] for op in position.ops])
            assert len(matrices) == position.multiplicity
            integers, twentyfourths = matrices[:, :, :3], matrices[:, :, 3] * 24
            assert np.abs(integers - integers.round()).max() < 1e-6
            assert np.abs(twentyfourths - twentyfourths.round()).max() < 1e-4
            linear.append(integers.round().astype(np.int8))
            translation.append((twentyfourths.round() % 24).astype(np.int8))
            count += len(matrices)
        start[number - 1, len(positions) :] = count
    np.savez_compressed(
        TABLE,
        linear=np.concatenate(linear),
        translation=np.concatenate(translation),
        start=start,
    )
    print(f"{TABLE.name}: {count} operations, {TABLE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
