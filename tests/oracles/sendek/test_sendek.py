import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from mfal.data.embedded import load_embedded
from mfal.errors import MfalError
from mfal.oracles.sendek.regression import expected_features, superionic_probability
from mfal.oracles.sendek.sampled import sampled_features


def _embedded(name: str) -> Structure:
    table = load_embedded()
    return table.structures()[table.ids.index(name)]


@pytest.mark.parametrize(
    ("row", "published"),
    [
        ("mp-dielectric-4576", 0.837),  # LiCl, mp-22905
        ("mp-dielectric-336", 0.655),  # Li3ErCl6, mp-676361
        ("mp-dielectric-4067", 0.760),  # KLiS, mp-8430
        ("mp-dielectric-207", 0.775),  # RbLiS, mp-8751
        ("mp-dielectric-3062", 0.518),  # SrLi(BS2)3, mp-558219
        ("mp-dielectric-501", 0.604),  # Li2GePbS4, mp-19896
        ("mp-dielectric-4306", 1.000),  # LiSO3F, mp-7744
    ],
)
def test_published_predictions(row: str, published: float) -> None:
    # Sendek et al. 2017, the 21 predictions, on the same Materials Project structures.
    assert superionic_probability(expected_features(_embedded(row))) == pytest.approx(
        published, abs=2e-3
    )


def test_published_features_of_li3p() -> None:
    features = expected_features(_embedded("mp-dielectric-4142"))
    np.testing.assert_allclose(features[[0, 1, 3, 4]], [11.333, 1.21, 2.502, 2.591], atol=1e-3)


def _rock_salt(a: float = 5.0) -> Structure:
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(a), ["Li", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )


def test_rock_salt_by_hand() -> None:
    a = 5.0
    features = expected_features(_rock_salt(a))
    # 12 Li at a/sqrt 2; round Cl 6 Li (difference 3.16 - 0.98) and 12 Cl (none) within 4 Å.
    expected = [12.0, 6 * 2.18 / 18, 12.0, a / 2, a / np.sqrt(2)]
    np.testing.assert_allclose(features, expected, rtol=1e-12)


@given(
    seed=st.integers(0, 10**6),
    scaling=st.sampled_from([[2, 1, 1], [1, 2, 1], [[1, 1, 0], [0, 1, 0], [0, 0, 1]]]),
)
@settings(max_examples=15, deadline=None)
def test_independent_of_how_the_crystal_is_written(seed: int, scaling: list) -> None:
    rng = np.random.default_rng(seed)
    lattice = Lattice.from_parameters(*rng.uniform(4, 7, 3), *rng.uniform(70, 110, 3))
    species = ["Li", "Li", "P", "S", "S", "O"]
    structure = Structure(lattice, species, rng.uniform(0, 1, (6, 3)))
    changed = structure.copy()
    changed.make_supercell(scaling)
    changed.translate_sites(range(len(changed)), rng.uniform(0, 1, 3))
    order = rng.permutation(len(changed))
    changed = Structure.from_sites([changed[k] for k in order])
    np.testing.assert_allclose(expected_features(changed), expected_features(structure), rtol=1e-6)


def test_sampling_an_ordered_crystal_is_the_definition() -> None:
    structure = _embedded("mp-dielectric-336")
    sampled = sampled_features(structure)
    assert sampled.draws == 1
    np.testing.assert_allclose(sampled.features, expected_features(structure), rtol=1e-12)


def test_expectation_by_enumeration() -> None:
    # Two Li sites far from each other, half filled, in a cell with one Cl: each pair is there with
    # the product of occupancies, which the formula for pair means takes exactly.
    structure = Structure(
        Lattice.cubic(3.9),
        [{"Li": 0.5}, "Cl"],
        [[0, 0, 0], [0.5, 0.5, 0.5]],
    )
    features = expected_features(structure)
    assert features[0] == pytest.approx(6 * 0.5)
    assert features[3] == pytest.approx(3.9 * np.sqrt(3) / 2)
    # Nearest Li: shells of 6, 12, 8, ... images, each filled half.
    shells = [(6, 1.0), (12, np.sqrt(2)), (8, np.sqrt(3)), (6, 2.0)]
    mean, left = 0.0, 1.0
    for size, distance in shells:
        mean += left * (1 - 0.5**size) * distance * 3.9
        left *= 0.5**size
    assert features[4] == pytest.approx(mean, abs=1e-4)


def test_sampling_agrees_with_expectation_where_sites_are_independent() -> None:
    unit = Structure(Lattice.cubic(3.9), [{"Li": 0.6}, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    cell = unit * (4, 4, 4)  # large, so that the number of Li hardly varies between draws
    sampled = sampled_features(cell, seed=1)
    expected = expected_features(cell)
    np.testing.assert_allclose(sampled.features, expected, rtol=0.03)
    assert sampled.spread > 0


def test_sites_too_close_are_never_filled_together() -> None:
    split = Structure(
        Lattice.cubic(6.0),
        [{"Li": 0.5}, {"Li": 0.5}, "Cl"],
        [[0, 0, 0], [0.2, 0, 0], [0.5, 0.5, 0.5]],
    )
    sampled = sampled_features(split)
    assert sampled.hard_sphere == 2.0
    assert sampled.features[4] > 4.0  # not the 1.2 Å between the halves


@pytest.mark.parametrize(
    ("species", "what"), [(["Na", "Cl"], "no Li"), (["Li", "Li"], "nothing but Li")]
)
def test_refuses(species: list[str], what: str) -> None:
    structure = Structure(Lattice.cubic(4), species, [[0, 0, 0], [0.5, 0.5, 0.5]])
    with pytest.raises(MfalError, match=what):
        expected_features(structure)


def test_sampling_gives_up_where_no_neighbour_is_in_reach() -> None:
    lonely = Structure(Lattice.cubic(40.0), [{"Li": 0.5}, "Cl"], [[0, 0, 0], [0.1, 0, 0]])
    with pytest.raises(MfalError, match="no occupation"):
        sampled_features(lonely)
