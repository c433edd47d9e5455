"""Laws that any potential obeys, in float64, where rounding hides nothing.

One compiled program serves nearly all: crystals are padded to the same sizes.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.potentials import (
    chgnet_potential,
    energy_forces_stress,
    pad_atoms,
    sizes_of,
)

ATOMS = 4
PERTURBED = np.array([[0.02, -0.05, 0.1], [2.1, 1.95, 2.05]])
CELL = np.array([[0.1, 2.05, 1.98], [2.07, -0.08, 2.01], [1.95, 2.1, 0.03]])
LIF = np.array([3, 9])


@pytest.fixture(autouse=True, scope="module")
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def potential():
    return chgnet_potential()


@pytest.fixture(scope="module")
def sizes(potential):
    """Sizes that hold the densest of the crystals below, with a skin."""
    crystal = (*supercell(PERTURBED, 0.95 * CELL, (1, 2, 1)), np.tile(LIF, 2))
    return sizes_of(potential.neighbours(*crystal, skin=0.4))


@pytest.fixture(scope="module")
def program(potential):
    return jax.jit(partial(energy_forces_stress, potential.energy))


@pytest.fixture(scope="module")
def answer(potential, sizes, program):
    """Energy, forces, stress of (positions, cell, species), in numpy."""

    def ask(positions, cell, species, skin=0.0):
        padded = pad_atoms([(positions, cell, species)], ATOMS)
        places, cells, kinds = (leaf[0] for leaf in padded)
        assert places.dtype == jnp.float64
        tables = potential.neighbours(places, cells, kinds, skin=skin, sizes=sizes)
        assert sizes_of(tables) == sizes
        energy, forces, stress = program(potential.params, places, cells, kinds, tables)
        assert not np.asarray(forces)[len(species) :].any()
        return float(energy), np.asarray(forces)[: len(species)], np.asarray(stress)

    return ask


@pytest.fixture(scope="module")
def unmoved(answer):
    return answer(PERTURBED, CELL, LIF)


def supercell(positions, cell, times):
    """The same crystal in a cell whose vectors are so many `times` as long."""
    steps = np.stack(np.meshgrid(*map(np.arange, times), indexing="ij"), -1).reshape(-1, 3)
    return (steps[:, None] @ cell + positions).reshape(-1, 3), np.array(times)[:, None] * cell


def rotation(seed):
    orthogonal, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return orthogonal * np.linalg.det(orthogonal)


def test_a_rotated_crystal_has_rotated_forces_and_stress(answer, unmoved):
    energy, forces, stress = unmoved
    turn = rotation(0)
    turned = answer(PERTURBED @ turn, CELL @ turn, LIF)
    assert turned[0] == pytest.approx(energy, abs=1e-9)
    assert np.allclose(turned[1], forces @ turn, atol=1e-8)
    assert np.allclose(turned[2], turn.T @ stress @ turn, atol=1e-9)
    assert np.abs(forces).max() > 0.05


def test_a_mirrored_crystal_has_the_same_energy(answer, unmoved):
    mirror = np.diag([1, 1, -1])
    energy, forces, _ = unmoved
    mirrored = answer(PERTURBED @ mirror, CELL @ mirror, LIF)
    assert mirrored[0] == pytest.approx(energy, abs=1e-9)
    assert np.allclose(mirrored[1], forces @ mirror, atol=1e-8)


def test_moving_everything_or_one_atom_by_a_lattice_vector_changes_nothing(answer, unmoved):
    energy, forces, stress = unmoved
    moved = PERTURBED + np.array([0.3, -7.1, 2.2])
    moved[1] += 2 * CELL[0] - CELL[2]
    again = answer(moved, CELL, LIF)
    assert again[0] == pytest.approx(energy, abs=1e-9)
    assert np.allclose(again[1], forces, atol=1e-8)
    assert np.allclose(again[2], stress, atol=1e-9)
    assert np.allclose(forces.sum(0), 0, atol=1e-9)


def test_another_choice_of_lattice_vectors_changes_nothing(answer, unmoved):
    energy, forces, stress = unmoved
    other = np.array([[1, 3, -2], [0, 1, 1], [0, 0, 1]]) @ CELL
    again = answer(PERTURBED, other, LIF)
    assert again[0] == pytest.approx(energy, abs=1e-9)
    assert np.allclose(again[1], forces, atol=1e-8)
    assert np.allclose(again[2], stress, atol=1e-9)


def test_the_order_of_atoms_does_not_matter(answer, unmoved):
    energy, forces, _ = unmoved
    again = answer(PERTURBED[::-1], CELL, LIF[::-1])
    assert again[0] == pytest.approx(energy, abs=1e-9)
    assert np.allclose(again[1], forces[::-1], atol=1e-8)


def test_a_supercell_has_its_multiple_of_the_energy(potential, program, unmoved):
    energy, forces, stress = unmoved
    places, cell = supercell(PERTURBED, CELL, (2, 2, 2))
    kinds = np.tile(LIF, 8)
    tables = potential.neighbours(places, cell, kinds)
    large = program(potential.params, jnp.asarray(places), jnp.asarray(cell), kinds, tables)
    assert float(large[0]) / 8 == pytest.approx(energy, abs=1e-6)
    assert np.allclose(large[1], np.tile(forces, (8, 1)), atol=1e-6)
    assert np.allclose(large[2], stress, atol=1e-8)


def test_forces_are_the_numerical_gradient(answer, unmoved):
    _, forces, _ = unmoved
    step = 3e-5
    for direction in np.random.default_rng(0).normal(size=(2, 2, 3)):
        up, down = (answer(PERTURBED + s * step * direction, CELL, LIF)[0] for s in (1, -1))
        assert (down - up) / (2 * step) == pytest.approx(np.vdot(forces, direction), abs=1e-6)


@pytest.mark.slow
def test_stress_is_the_numerical_derivative_by_strain(answer, unmoved):
    _, _, stress = unmoved
    volume, step = abs(np.linalg.det(CELL)), 1e-5
    for i, j in np.ndindex(3, 3):
        strain = np.zeros((3, 3))
        strain[i, j] = step
        energies = []
        for sign in (1, -1):
            deformation = np.eye(3) + sign * strain
            energies.append(answer(PERTURBED @ deformation, CELL @ deformation, LIF)[0])
        numerical = (energies[0] - energies[1]) / (2 * step * volume)
        assert numerical == pytest.approx(stress[i, j], abs=1e-7)


@pytest.mark.parametrize(
    ("places", "kinds"),
    [([[0, 0, 0], [6.0, 0, 0]], [3, 9]), ([[0, 0, 0], [3.0, 0, 0], [0.3, 1.8, 0]], [3, 8, 15])],
    ids=["outer cutoff", "inner cutoff"],
)
def test_energy_and_forces_are_continuous_where_a_neighbour_crosses_a_cutoff(answer, places, kinds):
    box, places, direction = 30 * np.eye(3), np.array(places), np.zeros((len(kinds), 3))
    direction[1, 0] = 1
    # A third-power cutoff: the second derivative is continuous too, so that a step of 1e-4 Å shows
    # in the forces as a straight line.
    distances = np.array([-2e-4, -1e-4, -1e-9, 1e-9, 1e-4, 2e-4])
    answers = [answer(places + d * direction, box, kinds) for d in distances]
    forces = np.array([found[1][1, 0] for found in answers])
    energies = np.array([found[0] for found in answers])
    assert abs(energies[2] - energies[3]) < 1e-8
    assert abs(forces[2] - forces[3]) < 1e-7
    assert np.abs(np.diff(forces[[0, 1, 3, 4, 5]], 2)).max() < 1e-6


def test_a_skin_changes_nothing(answer, unmoved):
    for part, same in zip(unmoved, answer(PERTURBED, CELL, LIF, skin=0.4), strict=True):
        assert np.allclose(part, same, atol=1e-9)


def test_atoms_out_of_reach_add_up(answer):
    alone = [answer(np.zeros((1, 3)), 30 * np.eye(3), [kind])[0] for kind in (3, 9)]
    together = answer(np.array([[0, 0, 0], [9.0, 0, 0]]), 30 * np.eye(3), LIF)
    assert together[0] == pytest.approx(sum(alone), abs=1e-9)
    assert np.allclose(together[1], 0, atol=1e-12)


@pytest.mark.slow
def test_forces_can_be_differentiated_again(answer, potential, sizes):
    places, cells, kinds = (leaf[0] for leaf in pad_atoms([(PERTURBED, CELL, LIF)], ATOMS))
    tables = potential.neighbours(places, cells, kinds, sizes=sizes)
    direction = np.zeros((ATOMS, 3))
    direction[:2] = [[0.3, -1, 0.2], [0.5, 0.1, 0.8]]

    @jax.jit
    def hessian_product(places):
        def along(places):
            gradient = jax.grad(potential.energy, argnums=1)
            return jnp.vdot(gradient(potential.params, places, cells, kinds, tables), direction)

        return jax.grad(along)(places)

    step = 1e-5
    up, down = (answer(PERTURBED + s * direction[:2], CELL, LIF)[1] for s in (step, -step))
    numerical = (down - up) / (2 * step)
    assert np.allclose(np.asarray(hessian_product(places))[:2], numerical, atol=1e-5)
    assert np.abs(numerical).max() > 1
