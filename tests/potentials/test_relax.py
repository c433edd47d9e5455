import jax
import numpy as np
import pytest

from mfal.crystals.operations import find_operations, no_symmetry, symmetrised
from mfal.errors import MfalError
from mfal.potentials.neighbours import Sizes, sizes_of
from mfal.potentials.relax import RelaxSettings, relax_crystals
from mfal.potentials.shapes import PaddedShape
from mfal.potentials.types import GPA
from tests.potentials.analytic import argon, lennard_jones

ARGON = lennard_jones(0.0104, 3.4, 5.0)
TIGHT = RelaxSettings(force=1e-4, stress=1e-3, steps=300)


def energy_of_cube(constant):
    """The energy per atom of face-centred argon, summed shell by shell."""
    total = 0.0
    for x in np.ndindex(9, 9, 9):
        v = np.array(x) - 4
        r = np.linalg.norm(v) * constant / 2
        if v.sum() % 2 == 0 and 0 < r < 5.0:
            sixth = (3.4 / r) ** 6
            total += 2 * 0.0104 * (sixth**2 - sixth) * (1 - (r / 5.0) ** 2) ** 3
    return total


def best_cube():
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(energy_of_cube, bounds=(4.5, 6.0), method="bounded", tol=1e-10)
    return found.x, found.fun


def test_a_cube_finds_its_lattice_constant():
    constant, energy = best_cube()
    positions, cell, species = argon(1, 5.6)
    operations = find_operations(positions, cell, species)
    (relaxed,) = relax_crystals(ARGON, [(positions, cell, species)], [operations], TIGHT)
    assert relaxed.status == "converged"
    assert relaxed.energy == pytest.approx(energy, abs=1e-6)
    np.testing.assert_allclose(relaxed.cell, np.eye(3) * constant, atol=5e-3)
    assert relaxed.volume_change == pytest.approx((constant / 5.6) ** 3 - 1, abs=3e-3)
    assert relaxed.shift < 1e-6
    assert relaxed.force <= 1e-4
    assert np.abs(relaxed.stress).max() <= 1e-3
    assert relaxed.steps < 30


def shaken(seed, repeats=1, amplitude=0.25, strain=0.05):
    rng = np.random.default_rng(seed)
    positions, cell, species = argon(repeats, 5.2)
    deformation = np.eye(3) + rng.normal(0, strain, (3, 3))
    return (
        (positions + rng.normal(0, amplitude, positions.shape)) @ deformation,
        cell @ deformation,
        species,
    )


@pytest.mark.slow
def test_free_crystals_of_several_sizes_come_to_rest_together():
    energy = best_cube()[1]
    large = shaken(2, repeats=2, amplitude=0.1, strain=0.02)
    crystals = [shaken(0), shaken(1), argon(1, 5.6), large]
    crystals[1] = (crystals[1][0][:1], crystals[1][1] / 4 ** (1 / 3), crystals[1][2][:1])
    together = relax_crystals(ARGON, crystals, settings=TIGHT, batch=2)
    assert [r.status for r in together] == ["converged"] * 4
    for relaxed in (together[0], together[2], together[3]):
        assert relaxed.energy < energy + 2e-3  # fcc, or hcp and their like, almost degenerate
    alone = [relax_crystals(ARGON, [crystal], settings=TIGHT)[0] for crystal in crystals]
    for a, b in zip(together, alone, strict=True):
        assert a.energy == pytest.approx(b.energy, abs=1e-5)
        assert a.volume_change == pytest.approx(b.volume_change, abs=2e-3)


@pytest.mark.slow
def test_it_is_the_minimum_that_ase_finds():
    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from ase.filters import FrechetCellFilter
    from ase.optimize import LBFGS

    from mfal.potentials.types import energy_forces_stress

    class Ours(Calculator):
        implemented_properties = ("energy", "forces", "stress")

        def calculate(self, atoms=None, properties=None, system_changes=None):
            super().calculate(atoms, properties, system_changes)
            positions, cell, species = atoms.positions, atoms.cell.array, atoms.numbers
            tables = ARGON.neighbours(positions, cell, species)
            with jax.enable_x64(True):
                answer = energy_forces_stress(
                    ARGON.energy,
                    ARGON.params,
                    *map(jax.numpy.asarray, (positions, cell, species)),
                    tables,
                )
            self.results = {
                "energy": float(answer.energy),
                "forces": np.asarray(answer.forces),
                "stress": np.asarray(answer.stress).ravel()[[0, 4, 8, 5, 2, 1]],
            }

    positions, cell, species = shaken(3, amplitude=0.1, strain=0.02)
    (relaxed,) = relax_crystals(ARGON, [(positions, cell, species)], settings=TIGHT)
    atoms = Atoms(numbers=species, positions=positions, cell=cell, pbc=True, calculator=Ours())
    LBFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-4, steps=200)
    assert relaxed.energy == pytest.approx(atoms.get_potential_energy() / 4, abs=1e-5)
    assert relaxed.volume_change == pytest.approx(
        atoms.get_volume() / abs(np.linalg.det(cell)) - 1, abs=2e-3
    )
    # What is said of the end is what the potential says there.
    atoms.set_cell(relaxed.cell)
    atoms.set_positions(relaxed.positions)
    assert relaxed.energy == pytest.approx(atoms.get_potential_energy() / 4, abs=1e-5)
    np.testing.assert_allclose(relaxed.stress, atoms.get_stress(voigt=False) * GPA, atol=2e-3)


def tetragonal():
    """A stretched cube, of which every face and body centre obeys the fourfold axis."""
    positions, _, species = argon(1, 1.0)
    cell = np.diag([5.2, 5.2, 5.9])
    return positions @ cell, cell, species


def test_symmetry_is_kept_and_freed():
    # A tetragonal cell with an atom at half height is a saddle within its symmetry: freed it falls.
    rng = np.random.default_rng(0)
    positions, cell, species = tetragonal()
    operations = find_operations(positions, cell, species)
    assert len(operations.rotations) == 64  # I4/mmm in a face-centred setting
    noise = rng.normal(0, 0.004, positions.shape)
    (kept,) = relax_crystals(ARGON, [(positions + noise, cell, species)], [operations], TIGHT)
    assert kept.status == "converged"
    after = find_operations(kept.positions, kept.cell, species, symprec=1e-5)
    assert len(after.rotations) >= 64
    np.testing.assert_allclose(kept.cell, np.diag(np.diag(kept.cell)), atol=1e-9)

    # Three atoms on a line, symmetric about the middle one, in a long cell.
    line = np.array([[0.0, 0, 0], [3.0, 0, 0], [6.5, 0, 0]])
    chain = line, np.diag([20.0, 20, 20]), np.full(3, 18)
    mirrored = (chain[0].copy(), *chain[1:])
    mirrored[0][2, 0] = 6.0
    operations = find_operations(*mirrored)
    fixed = RelaxSettings(force=1e-4, cell=False)
    (kept,) = relax_crystals(ARGON, [chain], [operations], fixed)
    gaps = np.diff(kept.positions[:, 0])
    assert gaps[0] == pytest.approx(gaps[1], abs=1e-9)
    np.testing.assert_array_equal(kept.cell, chain[1])
    assert kept.status == "converged"


def test_operations_act_as_they_say():
    positions, cell, species = tetragonal()
    rng = np.random.default_rng(1)
    skew = np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]])
    operations = find_operations(positions, skew @ cell, species)
    fractional = positions @ np.linalg.inv(skew @ cell)
    images = np.einsum("gab,nb->gna", operations.rotations, fractional)
    gaps = images + operations.translations[:, None] - fractional[operations.permutations]
    assert np.abs(gaps - np.rint(gaps)).max() < 1e-6
    # Projection: what it gives is symmetric, and is left alone by a second one.
    noisy = positions + rng.normal(0, 0.02, positions.shape)
    bent = skew @ cell @ (np.eye(3) + rng.normal(0, 0.01, (3, 3)))
    once = symmetrised(noisy, bent, operations)
    assert len(find_operations(*once, species, symprec=1e-6).rotations) >= 64
    for a, b in zip(symmetrised(*once, operations), once, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)
    for a, b in zip(symmetrised(noisy, bent, no_symmetry(4)), (noisy, bent), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)


def test_statuses():
    positions, cell, species = argon(1, 5.6)
    few = RelaxSettings(force=1e-5, stress=1e-4, steps=3)
    near = positions.copy()
    near[1] = near[0] + 0.01
    same = positions.copy()
    same[1] = same[0]
    flat = np.diag([5.0, 5.0, 0.0])
    seen = []
    relaxed = relax_crystals(
        ARGON,
        [
            (positions, cell, species),
            (same, cell, species),
            (positions, flat, species),
            (near, cell, species),
        ],
        settings=few,
        report=seen.append,
    )
    assert relaxed[0].status == "steps used up"
    assert relaxed[0].steps == 3
    assert relaxed[0].energy < energy_of_cube(5.6)
    assert relaxed[1].status.startswith("refused: atoms")
    assert np.isnan(relaxed[1].energy)
    assert relaxed[2].status.startswith("refused: a cell of 0")
    assert relaxed[3].status == "exploded: no finite energy" or "Å" in relaxed[3].status
    assert sorted(seen) == [1, 2, 3, 4]


@pytest.mark.slow
def test_what_has_no_bottom_explodes():
    # Upside down, repulsion is a hole for atoms that start within it.
    hole = lennard_jones(-0.0104, 3.4, 5.0)
    (relaxed,) = relax_crystals(hole, [argon(1, 4.8)], settings=RelaxSettings(steps=400))
    assert relaxed.status.startswith("exploded: ")


def test_an_independent_answer_is_the_same_to_the_last_bit_in_any_company():
    """Even beside a crystal that shrinks out of its tables and begins again in larger ones."""
    potential = lennard_jones(0.0104, 3.4, 8.0)
    shapes = []
    for edge in (6.7, 5.0):
        sizes = sizes_of(potential.neighbours(*argon(1, edge), skin=TIGHT.skin))
        shapes.append(PaddedShape(4, Sizes(*(size + -(-size // 4) for size in sizes))))

    def relaxed(*crystals):
        return relax_crystals(
            potential, crystals, settings=TIGHT, batch=2, shapes=shapes, independent=True
        )

    crystals = [shaken(0, amplitude=0.1), argon(1, 6.7), argon(1, 6.75)]
    together = relaxed(*crystals)
    assert together[1].volume_change < -0.4
    for one, alone in zip(together, map(relaxed, crystals), strict=True):
        (alone,) = alone
        assert (one.energy, one.steps, one.status) == (alone.energy, alone.steps, "converged")
        np.testing.assert_array_equal(one.positions, alone.positions)
        np.testing.assert_array_equal(one.cell, alone.cell)


def test_bad_input_is_named():
    positions, cell, species = argon(1)
    with pytest.raises(MfalError, match="crystal 0"):
        relax_crystals(ARGON, [(positions[:3], cell, species)])
    with pytest.raises(MfalError, match="operations on 3 atoms for 4"):
        relax_crystals(ARGON, [(positions, cell, species)], [no_symmetry(3)])
    with pytest.raises(MfalError, match="positive tolerances"):
        relax_crystals(ARGON, [(positions, cell, species)], settings=RelaxSettings(force=0.0))
    with pytest.raises(MfalError, match="0 steps"):
        relax_crystals(ARGON, [(positions, cell, species)], settings=RelaxSettings(steps=0))
    assert relax_crystals(ARGON, []) == []


def test_one_program_serves_crystals_of_one_size():
    import mfal.potentials.relax as module

    relax_crystals(ARGON, [argon(1, 5.2)], settings=TIGHT)
    compiled = module.go_down._cache_size()
    relax_crystals(ARGON, [argon(1, 5.3), argon(1, 5.25)], settings=TIGHT._replace(force=1e-3))
    assert module.go_down._cache_size() == compiled


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_steps_lower_for_all_platforms(platform):
    from functools import partial

    import jax.numpy as jnp
    from jax import export

    from mfal.potentials.descent import CartesianGroup, DescentTargets, start_of_descent
    from mfal.potentials.relax import go_down

    crystal = [jnp.asarray(part)[None] for part in argon(1)]
    tables = ARGON.neighbours(*crystal, skin=0.4)
    group = CartesianGroup(jnp.eye(3)[None, None], jnp.arange(4)[None, None], jnp.ones((1, 1)))
    descent = jax.vmap(start_of_descent)(*crystal, group)
    arguments = (ARGON.params, DescentTargets(0.1, 0.1, 10, True), descent, tables)
    steps = partial(go_down, ARGON.energy)
    lowered = export.export(jax.jit(lambda *a: jax.tree.leaves(steps(*a))), platforms=[platform])
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), arguments
    )
    assert lowered(*shapes).platforms == (platform,)
