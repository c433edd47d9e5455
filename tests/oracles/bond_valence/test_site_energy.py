import warnings

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from scipy.spatial.transform import Rotation

from mfal.data.embedded import load_embedded
from mfal.oracles.bond_valence.framework import Framework, framework_of
from mfal.oracles.bond_valence.pair_potentials import coulomb_parameters, morse_row
from mfal.oracles.bond_valence.site_energy import grid_shape, site_energies
from tests.oracles.bond_valence.pairwise import (
    coulomb_energy,
    grid_energies,
    morse_energy,
    reference_energies,
)

# Ordered compounds of six anions; small cells, as the peer is slow.
COMPARED = (
    "mp-dielectric-4595",  # Li2O
    "mp-dielectric-4583",  # Li2S
    "mp-dielectric-4576",  # LiCl
    "mp-dielectric-4528",  # LiBr
    "mp-dielectric-4602",  # LiF
    "mp-dielectric-3263",  # Li3PO4
    "mp-dielectric-501",  # Li2PbGeS4
    "mp-dielectric-4627",  # LiCrO2
    "mp-dielectric-3722",  # LiYS2
    "mp-dielectric-2008",  # Li3N
    "mp-dielectric-4067",  # KLiS
    "mp-dielectric-4504",  # Li2Te
)


def _embedded() -> dict[str, Structure]:
    table = load_embedded()
    return {name: table.structures()[table.ids.index(name)] for name in COMPARED}


def _decorated(structure: Structure) -> Structure:
    from mfal.crystals.charges import balanced_charges

    charged = structure.copy()
    charged.remove_oxidation_states()
    charged.add_oxidation_state_by_element(
        {
            symbol: round(charge)
            for symbol, charge in balanced_charges(charged.composition.get_el_amt_dict()).items()
        }
    )
    return charged


@pytest.mark.filterwarnings("ignore")
def test_agrees_with_bvlain() -> None:
    lain = pytest.importorskip("bvlain")
    for name, structure in _embedded().items():
        charged = _decorated(structure)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peer = lain.Lain(verbose=False)
            peer.read_structure(charged, oxi_check=False)
            theirs = peer.bvse_distribution(mobile_ion="Li1+", r_cut=10.0, resolution=0.6, k=1200)
        axes = [np.linspace(0, 1, count) for count in theirs.shape]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        ours = site_energies(framework_of(charged), points)
        theirs = theirs.ravel()
        # On top of a cation they have infinity or its rounding, and we a very large number.
        sound = theirs < 1e9
        assert (ours[~sound] > 500).all(), name
        assert sound.mean() > 0.8, name
        assert np.abs(ours - theirs)[sound].max() < 1e-4, name
        exact = reference_energies(framework_of(charged), points)
        np.testing.assert_allclose(exact[sound], theirs[sound], rtol=1e-11, atol=1e-10)


def test_kernel_agrees_with_the_float64_reference() -> None:
    for name in COMPARED[:6]:
        framework = framework_of(_embedded()[name])
        shape = grid_shape(framework.lattice, 0.4)
        energies = grid_energies(framework, shape)
        index = np.random.default_rng(0).integers(0, shape, (200, 3))
        reference = reference_energies(framework, index / np.asarray(shape))
        ours = energies[tuple(index.T)]
        np.testing.assert_allclose(ours, reference, atol=1e-4, rtol=2e-6)


def test_two_ions_by_hand() -> None:
    # One anion and one cation in a cell too large for images to matter at the points asked.
    lattice = 40.0 * np.eye(3)
    row = morse_row("O", -2)
    strength, inverse = coulomb_parameters("P", 5)
    framework = Framework(
        lattice,
        np.array([[0.5, 0.5, 0.5]]),
        np.array([[row.r_min, row.alpha, row.d0]]),
        np.array([[0.5, 0.5, 0.6]]),
        np.array([[strength, inverse]]),
        np.zeros((0, 3)),
        np.zeros(0),
        False,
        (),
    )
    at_minimum = np.array([[0.5 + row.r_min / 40.0, 0.5, 0.5]])
    distance = np.hypot(row.r_min, 4.0)
    expected = -row.d0 / 2 + coulomb_energy(distance, strength, inverse)
    assert site_energies(framework, at_minimum)[0] == pytest.approx(expected, abs=1e-5)
    # 14.4 · 5 / sqrt(2 · 3) and 1 / (0.74 (1.28 + 1.07))
    assert strength == pytest.approx(29.394, abs=1e-3)
    assert inverse == pytest.approx(0.57504, abs=1e-4)
    assert morse_energy(row.r_min, *row) == pytest.approx(-0.49408)


def test_invariances() -> None:
    structure = _decorated(_embedded()["mp-dielectric-3263"])
    rng = np.random.default_rng(1)
    points = rng.uniform(0, 1, (300, 3))
    base = site_energies(framework_of(structure), points)
    tolerance = {"atol": 2e-4, "rtol": 1e-5}

    rotation = Rotation.random(random_state=1).as_matrix()
    rotated = Structure(
        Lattice(structure.lattice.matrix @ rotation.T), structure.species, structure.frac_coords
    )
    np.testing.assert_allclose(site_energies(framework_of(rotated), points), base, **tolerance)

    shift = rng.uniform(-2, 2, 3)
    shifted = Structure(structure.lattice, structure.species, structure.frac_coords + shift)
    moved = site_energies(framework_of(shifted), points + shift)
    np.testing.assert_allclose(moved, base, **tolerance)

    order = rng.permutation(len(structure))
    shuffled = Structure.from_sites([structure[k] for k in order])
    np.testing.assert_allclose(site_energies(framework_of(shuffled), points), base, **tolerance)

    cell = np.array([[2, 0, 0], [0, 1, 0], [1, 0, 1]])  # a supercell in a skew cell
    larger = structure * cell
    place = points @ structure.lattice.matrix @ np.linalg.inv(larger.lattice.matrix)
    np.testing.assert_allclose(site_energies(framework_of(larger), place), base, **tolerance)


def test_occupancy_is_the_mean_over_occupations() -> None:
    lattice = Lattice.orthorhombic(5, 6, 7)
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.25, 0.25, 0.75], [0.7, 0.2, 0.3]]
    points = np.random.default_rng(2).uniform(0, 1, (100, 3))

    def energies(first: object, second: object) -> np.ndarray:
        structure = Structure(lattice, ["Li+", first, second, "O2-"], places)
        return reference_energies(framework_of(structure), points)

    shared = {"Ti4+": 0.25, "Zr4+": 0.75}
    mixed = energies(shared, {"O2-": 0.5})
    weights = {("Ti4+", 1): 0.125, ("Ti4+", 0): 0.125, ("Zr4+", 1): 0.375, ("Zr4+", 0): 0.375}
    total = np.zeros(len(points))
    for (cation, filled), weight in weights.items():
        second = "O2-" if filled else {"O2-": 1e-9}
        total += weight * energies(cation, second)
    np.testing.assert_allclose(mixed, total, atol=1e-6, rtol=1e-6)


def test_a_grid_shifted_by_one_of_its_steps_is_the_same_grid_rolled() -> None:
    for name in ("mp-dielectric-4595", "mp-dielectric-3263"):
        framework = framework_of(_embedded()[name])
        shape = grid_shape(framework.lattice, 0.5)
        moved = grid_energies(framework, shape, (1 / shape[0], 0, 0))
        rolled = np.roll(grid_energies(framework, shape), -1, 0)
        np.testing.assert_allclose(moved, rolled, atol=1e-4, rtol=1e-5)
