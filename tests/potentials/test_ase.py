"""A potential as an ASE calculator, and an ASE calculator as a potential."""

import jax
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.optimize import BFGS

from mfal.potentials.ase import as_calculator, from_calculator
from mfal.potentials.chgnet import chgnet_potential
from mfal.potentials.evaluation import evaluate_crystals
from mfal.potentials.types import energy_forces_stress, pad_atoms
from tests.potentials.analytic import argon, lennard_jones


def rattled(amplitude: float = 0.1):
    atoms = bulk("LiF", "rocksalt", 4.0, cubic=True)
    atoms.rattle(amplitude, seed=1)
    return atoms


def crystal(atoms):
    return np.array(atoms.positions), np.array(atoms.cell), np.array(atoms.numbers)


def test_the_calculator_says_what_the_potential_says():
    atoms = rattled()
    atoms.calc = as_calculator(chgnet_potential())
    (expected,) = evaluate_crystals(chgnet_potential(), [crystal(atoms)])
    assert atoms.get_potential_energy() == pytest.approx(expected.energy, abs=1e-5)
    np.testing.assert_allclose(atoms.get_forces(), expected.forces, atol=1e-5)
    np.testing.assert_allclose(atoms.get_stress(voigt=False), expected.stress, atol=1e-6)
    np.testing.assert_allclose(atoms.get_magnetic_moments(), expected.magnetic_moments, atol=1e-5)


def test_the_calculator_keeps_its_tables_right_while_atoms_move():
    potential = lennard_jones(0.01, 3.4, 6.0)
    positions, cell, species = argon(2)
    atoms = Atoms(species, positions, cell=cell, pbc=True)

    def check():
        (expected,) = evaluate_crystals(potential, [crystal(atoms)])
        assert atoms.get_potential_energy() == pytest.approx(expected.energy, abs=1e-4)

    atoms.calc = as_calculator(potential, skin=0.2)
    check()
    kept = atoms.calc.tables
    atoms.positions[0] += 0.05
    check()
    assert atoms.calc.tables is kept
    for move in (0.3, 0.9):
        atoms.positions[0] += move
        check()
    assert atoms.calc.tables is not kept
    atoms.set_cell(atoms.cell * 1.1, scale_atoms=True)
    check()


@pytest.mark.slow
def test_ase_relaxes_by_the_calculator():
    atoms = rattled(0.05)
    atoms.calc = as_calculator(chgnet_potential())
    before = atoms.get_potential_energy()
    assert BFGS(atoms, logfile=None).run(fmax=0.05, steps=50)
    assert atoms.get_potential_energy() < before


def test_a_calculator_becomes_a_potential():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=2)
    potential = from_calculator(EMT(), version="ase")
    assert (potential.name, potential.version) == ("EMT", "ase")
    (found,) = evaluate_crystals(potential, [crystal(atoms)])
    atoms.calc = EMT()
    assert found.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-5)
    np.testing.assert_allclose(found.forces, atoms.get_forces(), atol=1e-5)
    np.testing.assert_allclose(found.stress, atoms.get_stress(voigt=False), atol=1e-6)


def test_its_gradient_for_the_cell_is_the_numerical_one():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=3)
    with jax.enable_x64(True):
        potential = from_calculator(EMT())
        positions, cell, species = (part[0] for part in pad_atoms([crystal(atoms)], atoms=6))
        tables = potential.neighbours(positions, cell, species)

        def energy(box):
            return potential.energy(potential.params, positions, box, species, tables)

        gradient = np.asarray(jax.jit(jax.grad(energy))(cell))
        for place in ((0, 0), (0, 1), (2, 1)):
            step = np.zeros((3, 3))
            step[place] = 1e-4
            numerical = (energy(cell + step) - energy(cell - step)) / 2e-4
            # EMT's energy at fixed positions changes when cell vectors turn, as images move.
            assert gradient[place] == pytest.approx(float(numerical), abs=1e-5)


def test_batches_and_absent_atoms_ask_for_each_crystal():
    potential = from_calculator(LennardJones(epsilon=0.01, sigma=2.3, rc=6.0))
    copper, argon = bulk("Cu", cubic=True), bulk("Ar", cubic=True, a=5.0)
    crystals = [crystal(copper), crystal(argon), crystal(copper.repeat((2, 1, 1)))]
    batch = pad_atoms(crystals)
    answers = jax.jit(
        jax.vmap(lambda *one: energy_forces_stress(potential.energy, potential.params, *one))
    )(*batch, potential.neighbours(*batch))
    np.testing.assert_allclose(answers.energy[2], 2 * answers.energy[0], rtol=1e-5)
    alone = evaluate_crystals(potential, [crystals[1]])[0]
    np.testing.assert_allclose(answers.energy[1], alone.energy, rtol=1e-5)
    assert not np.any(answers.forces[1][4:])
