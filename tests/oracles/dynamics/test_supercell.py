from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfal.errors import MfalError
from mfal.oracles.dynamics.supercell import cell_widths, smallest_supercell, wide_supercell


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_supercells_are_wide_enough_and_no_larger_than_plain_multiples(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(4, 9, 3)) + rng.normal(0, 1.2, (3, 3))
    matrix = smallest_supercell(cell, 8.0)
    number = abs(np.linalg.det(matrix))
    assert number >= 1
    assert cell_widths(matrix @ cell).min() > 8.0 - 1e-6
    plain = np.ceil(8.0 / cell_widths(cell) - 1e-9)
    assert round(number) <= plain.prod()


def test_a_face_centred_lattice_needs_fewer_cells_than_its_cube() -> None:
    primitive = 4.62 / 2 * np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])  # Li2O
    number = abs(np.linalg.det(smallest_supercell(primitive, 8.0)))
    assert 20 < number < 32  # 2 x 2 x 2 cubes hold 32
    assert smallest_supercell(np.diag([8.0, 9.0, 8.5]), 8.0).tolist() == np.eye(3).tolist()


def test_no_smaller_supercell_is_wide_enough() -> None:
    # Seven hexagons make one whose edges are longer by the root of seven, and six never do.
    a, c = 3.6, 11.2
    hexagonal = np.array([[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, c]])
    matrix = smallest_supercell(hexagonal, 8.0)
    assert abs(round(np.linalg.det(matrix))) == 7
    assert cell_widths(matrix @ hexagonal).min() == pytest.approx(np.sqrt(7) * a * np.sqrt(3) / 2)
    # Against all sets of three short vectors of a lattice that has no symmetry.
    rng = np.random.default_rng(1)
    cell = np.diag([4.1, 5.2, 6.3]) + rng.normal(0, 0.8, (3, 3))
    found = round(abs(np.linalg.det(smallest_supercell(cell, 8.0))))
    short = np.array(list(np.ndindex(5, 5, 5))) - 2
    short = short[(short @ [25, 5, 1] > 0) & (np.linalg.norm(short @ cell, axis=1) < 12)]
    sets = short[np.array(list(combinations(range(len(short)), 3)))]
    number = np.abs(np.linalg.det(sets)).round().astype(int)
    sets, number = sets[number > 0], number[number > 0]
    widths = 1 / np.linalg.norm(np.linalg.inv(sets @ cell), axis=1)
    assert found == number[widths.min(1) >= 8.0].min()


def test_a_supercell_is_the_same_crystal() -> None:
    cell = np.array([[4.0, 0, 0], [1.5, 4.2, 0], [-0.7, 0.9, 5.1]])
    fractions = np.array([[0.1, 0.2, 0.3], [0.6, 0.5, 0.9], [0.9, 0.05, 0.5]])
    places, large, kinds = wide_supercell(fractions @ cell, cell, np.array([3, 8, 15]), 8.0)
    number = round(abs(np.linalg.det(large) / np.linalg.det(cell)))
    assert len(places) == 3 * number
    assert np.bincount(kinds)[[3, 8, 15]].tolist() == [number] * 3
    # Each atom is that of the small cell, and no place is taken twice.
    for kind, fraction in zip((3, 8, 15), fractions, strict=True):
        offset = places[kinds == kind] @ np.linalg.inv(cell) - fraction
        assert np.abs(offset - np.rint(offset)).max() < 1e-9
        inside = np.mod(places[kinds == kind] @ np.linalg.inv(large) + 1e-6, 1).round(5)
        assert len(np.unique(inside, axis=0)) == number


def test_a_flat_cell_is_refused() -> None:
    with pytest.raises(MfalError, match="without volume"):
        smallest_supercell(np.ones((3, 3)), 8.0)
