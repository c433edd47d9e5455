import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from mfal.data.embedded import load_embedded
from mfal.oracles.bond_valence.framework import framework_of
from mfal.oracles.bond_valence.site_energy import grid_shape, symmetric_map
from mfal.oracles.bond_valence.symmetry import morton_order, symmetric_grid
from tests.oracles.bond_valence.pairwise import grid_energies

# Cubic, hexagonal, orthorhombic, monoclinic; ordered and partly occupied.
NAMES = ("mp-dielectric-4595", "mp-dielectric-2008", "mp-dielectric-3263", "obelix-nhq")


@pytest.mark.parametrize("name", NAMES)
def test_the_map_is_the_one_without_symmetry(name: str) -> None:
    table = load_embedded()
    structure = table.structures()[table.ids.index(name)]
    framework = framework_of(structure)
    grid = symmetric_grid(framework, 0.35)
    least = grid_shape(framework.lattice, 0.35)
    assert all(n >= m for n, m in zip(grid.shape, least, strict=True))
    orbits = len(np.unique(grid.representative))
    assert orbits < 0.6 * len(grid.representative)
    full = grid_energies(framework, grid.shape)
    low = full < 20.0
    fast = symmetric_map(framework, grid)
    np.testing.assert_allclose(fast[low], full[low], atol=2e-4)


def test_without_symmetry_each_point_stands_for_itself() -> None:
    rng = np.random.default_rng(0)
    lattice = Lattice.from_parameters(4, 5, 6, 80, 95, 103)
    structure = Structure(lattice, ["Li+", "P5+", "O2-", "O2-"], rng.uniform(0, 1, (4, 3)))
    grid = symmetric_grid(framework_of(structure), 0.5)
    np.testing.assert_array_equal(grid.representative, np.arange(np.prod(grid.shape)))


def test_species_on_a_site_tell_it_apart() -> None:
    lattice = Lattice.cubic(4)
    places = [[0.5, 0.5, 0.5], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]]
    alike = Structure(lattice, ["Li+", {"O2-": 0.5}, {"O2-": 0.5}], places)
    unlike = Structure(lattice, ["Li+", {"O2-": 0.5}, {"O2-": 0.5, "F-": 0.5}], places)
    orbits = [
        len(np.unique(symmetric_grid(framework_of(s), 0.4).representative)) for s in (alike, unlike)
    ]
    assert orbits[0] < orbits[1]


def test_morton_runs_are_compact() -> None:
    index = np.stack(np.unravel_index(np.arange(16**3), (16,) * 3), axis=-1)
    runs = index[morton_order(index)].reshape(-1, 64, 3)
    assert (np.ptp(runs, axis=1) == 3).all()
