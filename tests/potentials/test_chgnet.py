"""CHGNet against chgnet 0.4.2: its recorded answers, and itself where it is installed."""

import runpy
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.data import load_embedded
from mfal.errors import MfalError
from mfal.potentials import (
    GPA,
    chgnet_potential,
    energy_forces_stress,
    evaluate_crystals,
    pad_atoms,
)


class Recorded(NamedTuple):
    name: str
    crystal: tuple[np.ndarray, np.ndarray, np.ndarray]
    energy: float
    forces: np.ndarray
    stress: np.ndarray
    moments: np.ndarray


@pytest.fixture(scope="module")
def recorded():
    with np.load(Path(__file__).with_name("chgnet_answers.npz")) as archive:
        file = dict(archive)
    ends = np.cumsum(file["atoms"])
    found = []
    for row, (start, end) in enumerate(zip(ends - file["atoms"], ends, strict=True)):
        atoms = slice(start, end)
        found.append(
            Recorded(
                str(file["names"][row]),
                (file["positions"][atoms], file["cells"][row], file["species"][atoms]),
                float(file["energies"][row]),
                file["forces"][atoms],
                file["stresses"][row],
                file["moments"][atoms],
            )
        )
    return found


def differences(rows, answers):
    """[crystals, 4] largest errors: eV per atom, eV/Å, GPa, Bohr magnetons."""
    found = []
    for row, (energy, forces, stress, moments) in zip(rows, answers, strict=True):
        count = len(row.forces)
        found.append(
            [
                abs(float(energy) / count - row.energy),
                np.abs(forces[:count] - row.forces).max(),
                np.abs(stress * GPA - row.stress).max(),
                np.abs(moments[:count] - row.moments).max(),
            ]
        )
    return np.array(found)


def computed(rows, atoms, dtype):
    """All crystals, of so many atoms at most, by one program, one after the other."""
    potential = chgnet_potential()
    batch = pad_atoms([row.crystal for row in rows], atoms, dtype)
    tables = potential.neighbours(*batch)

    @jax.jit
    def program(params, batch, tables):
        def one(arguments):
            answer = energy_forces_stress(potential.energy, params, *arguments)
            return *answer, potential.magnetic_moments(params, *arguments)

        return jax.lax.map(one, (*batch, tables))

    leaves = jax.tree.map(np.asarray, program(potential.params, batch, tables))
    return zip(*leaves, strict=True)


def test_the_recorded_crystals_are_many_and_various(recorded):
    sizes = [len(row.forces) for row in recorded]
    assert len(recorded) >= 35
    assert sizes.count(1) >= 4
    assert max(sizes) >= 190
    assert len({int(kind) for row in recorded for kind in row.crystal[2]}) >= 35
    assert max(row.moments.max() for row in recorded) > 2


def test_energies_forces_stresses_and_moments_are_those_of_chgnet(recorded):
    rows = [row for row in recorded if len(row.forces) <= 40]
    assert len(rows) >= 30
    found = differences(rows, computed(rows, 40, jnp.float32))
    worst = {row.name: error for row, error in zip(rows, found, strict=True)}
    assert (found < [1e-5, 1e-4, 1e-3, 1e-4]).all(), worst


@pytest.mark.slow
def test_in_float64_they_agree_to_the_last_digits_recorded(recorded):
    rows = [row for row in recorded if len(row.forces) <= 16]
    with jax.enable_x64(True):
        found = differences(rows, computed(rows, 16, jnp.float64))
    worst = {row.name: error for row, error in zip(rows, found, strict=True)}
    # Forces and moments are recorded, and elements' energies added, in float32.
    assert (found < [1e-6, 2e-6, 1e-6, 1e-6]).all(), worst


@pytest.mark.slow
def test_a_large_crystal_is_evaluated_as_it_stands(recorded):
    row = max(recorded, key=lambda row: len(row.forces))
    answers = evaluate_crystals(chgnet_potential(), [row.crystal])
    assert answers[0].forces.shape == row.forces.shape
    assert (differences([row], answers) < [1e-5, 1e-4, 1e-3, 1e-4]).all()


@pytest.mark.slow
def test_answers_are_those_of_chgnet_where_it_is_installed():
    model = pytest.importorskip("chgnet.model").CHGNet.load(use_device="cpu", verbose=False)
    ordered = [s for s in load_embedded().structures() if s is not None and s.is_ordered]
    structures = sorted(ordered, key=len)[:2]
    crystals = [(s.cart_coords, s.lattice.matrix, s.atomic_numbers) for s in structures]
    answers = evaluate_crystals(chgnet_potential(), crystals)
    for structure, ours in zip(structures, answers, strict=True):
        theirs = model.predict_structure(structure.copy().remove_oxidation_states())
        assert ours.energy / len(structure) == pytest.approx(float(theirs["e"]), abs=1e-5)
        assert np.allclose(ours.forces, theirs["f"], atol=1e-4)
        assert np.allclose(ours.stress * GPA, theirs["s"], atol=1e-3)
        assert np.allclose(ours.magnetic_moments, theirs["m"], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["0.2.0", "r2scan"])
def test_other_weights_are_read_by_the_same_code(version, tmp_path):
    chgnet = pytest.importorskip("chgnet.model")
    script = Path(__file__).parents[2] / "experiments" / "tables" / "chgnet_weights.py"
    convert = runpy.run_path(str(script))["convert"]
    folder = Path(chgnet.__file__).parents[1] / "pretrained" / version
    values = convert(next(folder.glob("*.pth.tar")).read_bytes(), version)
    np.savez(tmp_path / "weights.npz", **values)
    potential = chgnet_potential(tmp_path / "weights.npz")
    assert potential.version == version
    model = chgnet.CHGNet.load(model_name=version, use_device="cpu", verbose=False)
    structures = [s for s in load_embedded().structures() if s is not None and s.is_ordered]
    structure = min(structures, key=len).copy().remove_oxidation_states().perturb(0.1, seed=0)
    crystal = (structure.cart_coords, structure.lattice.matrix, structure.atomic_numbers)
    (ours,), theirs = evaluate_crystals(potential, [crystal]), model.predict_structure(structure)
    assert ours.energy / len(structure) == pytest.approx(float(theirs["e"]), abs=1e-5)
    assert np.allclose(ours.forces, theirs["f"], atol=2e-4)
    assert np.allclose(ours.stress * GPA, theirs["s"], atol=1e-3)
    assert np.allclose(ours.magnetic_moments, theirs["m"], atol=1e-4)


def test_potentials_of_one_shape_share_their_functions():
    assert chgnet_potential() is chgnet_potential()
    assert hash(chgnet_potential().energy) == hash(chgnet_potential().energy)


def test_an_unknown_element_is_named():
    with pytest.raises(MfalError, match=r"not \[95\]"):
        chgnet_potential().neighbours(np.zeros((1, 3)), 4 * np.eye(3), np.array([95]))


def test_weights_that_are_none_are_refused(tmp_path):
    with pytest.raises(MfalError, match="No such file"):
        chgnet_potential(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("no weights")
    with pytest.raises(MfalError, match="chgnet_weights"):
        chgnet_potential(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", version="1", cutoff=6.0)
    with pytest.raises(MfalError, match="lacks envelope, inner"):
        chgnet_potential(tmp_path / "other.npz")
