"""Frequencies against closed forms and against phonopy with chgnet; what a soft mode looks like."""

import json
from functools import partial
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from mfal.crystals.operations import find_operations
from mfal.errors import MfalError
from mfal.potentials.chgnet import chgnet_potential
from mfal.potentials.neighbours import neighbour_tables
from mfal.potentials.phonon_symmetry import find_equivalence
from mfal.potentials.phonons import STEP, find_phonons, repeats_for_width
from mfal.potentials.types import Potential
from mfal.potentials.units import ACCELERATION

RECORDED = json.loads((Path(__file__).parent / "chgnet_phonons.json").read_text())["crystals"]


def springs(reach: float, length: float, stiffness: float) -> Potential:
    """Springs between all pairs nearer than `reach`, at rest at one length."""

    def energy(params, positions, cell, species, n):
        first, second = (
            jnp.take(positions, ends, axis=0, mode="fill", fill_value=0)
            for ends in (n.first, n.second)
        )
        vectors = second + n.image.astype(cell.dtype) @ cell - first
        real = (n.first < len(positions))[:, None]
        vectors = jnp.where(real, vectors, jnp.array([length, 0, 0], cell.dtype))
        stretch = jnp.sqrt(jnp.sum(vectors**2, -1)) - length
        return jnp.sum(params * stretch**2) / 2

    tables = partial(neighbour_tables, cutoff=reach, inner=0.1)
    return Potential("springs", "1", stiffness, energy, tables, reach)


def test_a_chain_of_atoms_has_its_dispersion():
    # Nearest neighbours along x alone: omega = 2 sqrt(k / m) |sin(pi q)|, and nothing across.
    stiffness, mass, length = 3.0, 7.0, 2.0
    cell = np.diag([length, 20.0, 20.0])
    found = find_phonons(
        springs(2.5, length, stiffness),
        np.zeros((1, 3)),
        cell,
        np.array([3]),
        np.array([mass]),
        repeats=(8, 1, 1),
    )
    q = found.wave_vectors[:, 0]
    omega = 2 * np.sqrt(stiffness / mass * ACCELERATION) * np.abs(np.sin(np.pi * q))
    np.testing.assert_allclose(found.frequencies[:, -1], omega / (2 * np.pi) * 1e3, atol=1e-4)
    # Across, a spring that turns by the step h is longer by h^2 / (2 length): a stiffness of
    # k (h / length)^2 / 2 in the differences, and none in the limit of no step.
    across = omega[:, None] * STEP / length / np.sqrt(2) / (2 * np.pi) * 1e3
    np.testing.assert_allclose(found.frequencies[:, :-1], np.tile(across, 2), atol=1e-4)
    assert found.imaginary == 0
    np.testing.assert_allclose(np.abs(found.modes[3, -1, 0]), [1, 0, 0], atol=1e-9)


def test_a_chain_under_pressure_buckles():
    length = 2.0
    cell = np.diag([0.95 * length, 20.0, 20.0])
    chain = (np.zeros((1, 3)), cell, np.array([3]), np.array([7.0]))
    found = find_phonons(springs(2.2, length, 3.0), *chain, repeats=(4, 1, 1))
    # Compressed springs push across: two transverse modes at each wave vector but zero.
    assert found.imaginary == 6
    assert found.count_imaginary(tolerance=1e3) == 0


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=row["formula"], marks=[pytest.mark.slow] * (row["formula"] != "LiF"))
        for row in RECORDED
    ],
)
def test_frequencies_are_those_of_phonopy_with_chgnet(row):
    cell = np.array(row["cell"])
    found = find_phonons(
        chgnet_potential(),
        np.array(row["fractions"]) @ cell,
        cell,
        np.array(row["species"]),
        np.array(row["masses"]),
        repeats=tuple(row["repeats"]),
    )
    np.testing.assert_allclose(found.wave_vectors, row["wave_vectors"])
    np.testing.assert_allclose(found.frequencies, row["frequencies"], atol=0.1)  # THz
    assert np.sum(np.abs(found.frequencies[0]) < 1e-3) == 3


def test_repeats_make_the_asked_for_width():
    skewed = np.array([[4.0, 0, 0], [-2.0, 3.4641, 0], [0, 0, 9.0]])
    # Across the hexagon's faces 3.46 Å, not 4.
    assert repeats_for_width(skewed) == (3, 3, 1)
    assert repeats_for_width(np.eye(3) * 8) == (1, 1, 1)


@pytest.mark.parametrize(
    ("masses", "repeats", "message"),
    [
        (np.ones(2), (1, 1, 1), "masses"),
        (np.zeros(1), (1, 1, 1), "masses"),
        (np.ones(1), (0, 1, 1), "repeats"),
    ],
)
def test_what_makes_no_sense_is_refused(masses, repeats, message):
    crystal = (np.zeros((1, 3)), np.eye(3) * 2, np.array([3]))
    with pytest.raises(MfalError, match=message):
        find_phonons(springs(2.5, 2.0, 1.0), *crystal, masses, repeats=repeats)


def test_one_atom_of_each_kind_stands_for_the_others():
    """A hexagonal crystal with two kinds of sites, and a supercell whose axes are not alike."""
    length = 3.0
    cell = length * np.array([[1, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, 1.4]])
    fractions = np.array([[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75], [0, 0, 0], [0, 0, 0.5]])
    species, masses = np.array([3, 3, 8, 8]), np.array([7.0, 7.0, 16.0, 16.0])
    crystal = (fractions @ cell, cell, species)
    operations = find_operations(*crystal)
    assert len(operations.rotations) == 24
    equivalence = find_equivalence(operations, (2, 2, 1))
    assert equivalence.like.tolist() == [0, 0, 2, 2]
    # Unequal repeats leave the operations that keep the supercell's lattice.
    for repeats in ((2, 2, 1), (2, 1, 1)):
        every, some = (
            find_phonons(springs(3.4, 2.7, 3.0), *crystal, masses, repeats=repeats, operations=o)
            for o in (None, operations)
        )
        # Central differences err by the square of the step, in each direction a little otherwise.
        np.testing.assert_allclose(some.force_constants, every.force_constants, atol=1e-3)
        np.testing.assert_allclose(some.frequencies, every.frequencies, atol=1e-3)
