import numpy as np
from pymatgen.core import Lattice, Structure

from mfal.oracles.bond_valence.decorations import sample_decoration
from mfal.oracles.bond_valence.framework import framework_of
from tests.oracles.bond_valence.pairwise import reference_energies


def _mixed() -> Structure:
    lattice = Lattice.orthorhombic(4, 5, 6)
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.25, 0.25, 0.75], [0.7, 0.2, 0.3]]
    species = [{"Li+": 0.5}, {"Ti4+": 0.25, "Zr4+": 0.75}, {"O2-": 0.75}, "O2-"]
    return Structure(lattice, species, places) * (2, 2, 1)


def test_amounts_are_those_of_the_composition() -> None:
    structure = _mixed()
    drawn = sample_decoration(structure, 0)
    amounts = drawn.composition.get_el_amt_dict()
    assert amounts == {"Li": 2.0, "Ti": 1.0, "Zr": 3.0, "O": 7.0}
    assert all(site.is_ordered for site in drawn if "Li" not in site.species_string)


def test_the_mean_over_decorations_is_the_weighted_map() -> None:
    structure = _mixed()
    points = np.random.default_rng(0).uniform(0, 1, (20, 3))
    mean = np.mean(
        [
            reference_energies(framework_of(sample_decoration(structure, seed)), points)
            for seed in range(150)
        ],
        axis=0,
    )
    weighted = reference_energies(framework_of(structure), points)
    np.testing.assert_allclose(mean, weighted, rtol=0.15, atol=0.15)


def test_halves_of_a_split_site_are_never_together() -> None:
    lattice = Lattice.cubic(5)
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.6, 0.5, 0.5]]
    split = Structure(lattice, ["Li+", {"O2-": 0.5}, {"O2-": 0.5}], places) * (2, 2, 2)
    for seed in range(5):
        drawn = sample_decoration(split, seed)
        oxygen = [k for k, site in enumerate(drawn) if site.species_string == "O2-"]
        distances = drawn.distance_matrix[np.ix_(oxygen, oxygen)]
        assert distances[~np.eye(len(oxygen), dtype=bool)].min() > 1.0


def test_the_same_seed_gives_the_same_draw() -> None:
    assert sample_decoration(_mixed(), 3) == sample_decoration(_mixed(), 3)
    assert sample_decoration(_mixed(), 3) != sample_decoration(_mixed(), 4)
