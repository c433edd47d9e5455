import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.errors import MfalError
from mfal.potentials.dynamics import run_dynamics, start_dynamics
from mfal.potentials.integrators import langevin, nose_hoover, nve
from mfal.potentials.trajectory import load_state, save_state, write_extxyz
from mfal.potentials.units import ACCELERATION, BOLTZMANN
from tests.potentials.analytic import argon, free, lennard_jones, oscillators

ARGON = lennard_jones(0.0104, 3.4, 5.0)
MASS = 39.948


def argon_state(integrator, *, replicas=1, temperature=60.0, seed=0, **options):
    crystal = argon(2)
    masses = [np.full(32, MASS)] * replicas
    key = jax.random.key(seed)
    return start_dynamics(
        ARGON, [crystal] * replicas, masses, integrator, key, temperature=temperature, **options
    )


def same_bits(one, other):
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in leaves)


def test_constants_are_those_of_scipy():
    from scipy import constants

    unit = constants.physical_constants["atomic mass constant"][0]
    assert pytest.approx(constants.k / constants.e, rel=1e-12) == BOLTZMANN
    # 1e-8 is the uncertainty of the atomic mass constant over the last adjustments.
    assert pytest.approx(constants.e / (1e-10 * unit) * 1e-20, rel=1e-8) == ACCELERATION


def test_velocity_verlet_is_that_of_ase():
    from ase import Atoms, units
    from ase.calculators.calculator import Calculator
    from ase.md.verlet import VelocityVerlet

    stiffness, masses = 2.0, np.array([6.94, 15.999, 30.97, 32.06])
    rng = np.random.default_rng(0)
    sites = rng.uniform(0, 8, (4, 3))

    class Springs(Calculator):
        implemented_properties = ("energy", "forces")

        def calculate(self, atoms=None, properties=None, system_changes=None):
            super().calculate(atoms, properties, system_changes)
            moved = atoms.positions - sites
            moved -= moved.mean(0)
            self.results = {
                "energy": stiffness / 2 * np.sum(moved**2),
                "forces": -stiffness * moved,
            }

    with jax.enable_x64(True):
        crystal = (sites, np.eye(3) * 8, np.array([3, 8, 15, 16]))
        integrator = nve(1.0)
        potential = oscillators(stiffness, sites)
        state = start_dynamics(
            potential, [crystal], [masses], integrator, jax.random.key(1), temperature=500.0
        )
        atoms = Atoms("LiOPS", sites, cell=np.eye(3) * 8, pbc=True, calculator=Springs())
        atoms.set_masses(masses)
        atoms.set_velocities(np.asarray(state.motion.velocities[0]) / units.fs)
        state, frames = run_dynamics(potential, integrator, state, 200, every=200)
    VelocityVerlet(atoms, 1.0 * units.fs).run(200)
    # ASE's units are of an earlier adjustment.
    np.testing.assert_allclose(state.motion.positions[0], atoms.positions, atol=1e-6)
    assert frames.kinetic_energy[0, 0] == pytest.approx(atoms.get_kinetic_energy(), rel=1e-6)
    assert frames.temperature[0, 0] == pytest.approx(atoms.get_temperature() * 4 / 3, rel=1e-6)


def test_newtons_equations_run_backwards():
    integrator = nve(2.0)
    with jax.enable_x64(True):
        state = argon_state(integrator)
        there, _ = run_dynamics(ARGON, integrator, state, 500, every=500)
        moved = np.abs(np.asarray(there.motion.positions - state.motion.positions)).max()
        turned = there._replace(motion=there.motion._replace(velocities=-there.motion.velocities))
        back, _ = run_dynamics(ARGON, integrator, turned, 500)
    assert moved > 0.3  # over the skin's half, so tables were renewed
    np.testing.assert_allclose(back.motion.positions, state.motion.positions, atol=1e-9)
    np.testing.assert_allclose(back.motion.velocities, -state.motion.velocities, atol=1e-11)


def test_error_of_the_energy_falls_with_the_square_of_the_timestep():
    errors = []
    with jax.enable_x64(True):
        for timestep in (8.0, 4.0):
            integrator = nve(timestep)
            state = argon_state(integrator)
            _, frames = run_dynamics(ARGON, integrator, state, int(800 / timestep), every=1)
            errors.append(np.ptp(frames.conserved))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize(
    "integrator",
    [nve(2.0), langevin(2.0, 60.0, 0.02), nose_hoover(2.0, 60.0, 100.0)],
    ids=lambda integrator: integrator.methods.name,
)
def test_stopping_and_going_on_gives_the_same_bits(integrator, tmp_path):
    state = argon_state(integrator, replicas=2)
    whole, frames = run_dynamics(ARGON, integrator, state, 300, every=7)
    assert np.ptp(np.asarray(whole.motion.positions - state.motion.positions)) > 0.5
    parts, rest = [], state
    for steps in (1, 130, 0, 169):
        rest, some = run_dynamics(ARGON, integrator, rest, steps, every=7)
        parts.append(some)
        save_state(tmp_path / "state.npz", rest)
        rest = load_state(tmp_path / "state.npz")
    assert same_bits(whole, rest)
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    assert same_bits(frames, joined)
    again, _ = run_dynamics(ARGON, integrator, argon_state(integrator, replicas=2), 300)
    assert same_bits(whole, again)
    np.testing.assert_array_equal(frames.step, np.arange(7, 301, 7))


def test_replicas_and_seeds_differ():
    integrator = langevin(2.0, 60.0, 0.02)
    state, _ = run_dynamics(ARGON, integrator, argon_state(integrator, replicas=2), 50)
    other, _ = run_dynamics(ARGON, integrator, argon_state(integrator, replicas=2, seed=1), 50)
    gap = np.abs(np.asarray(state.motion.positions[0] - state.motion.positions[1])).max()
    assert gap > 0.05
    assert np.abs(np.asarray(state.motion.positions - other.motion.positions)).max() > 0.05


def test_skin_does_not_matter():
    integrator = nve(2.0)
    ends = []
    with jax.enable_x64(True):
        for skin in (0.1, 1.0):
            state = argon_state(integrator, skin=skin)
            ends.append(run_dynamics(ARGON, integrator, state, 300)[0].motion.positions)
    np.testing.assert_allclose(*ends, atol=1e-9)


def test_a_fast_atom_never_sees_an_old_table():
    # Half the skin takes it some three steps: tables are renewed all the time.
    integrator = nve(0.5)
    with jax.enable_x64(True):
        state = argon_state(integrator, temperature=20_000.0, skin=0.2)
        end, frames = run_dynamics(ARGON, integrator, state, 100, every=1)
        fastest = np.linalg.norm(state.motion.velocities, axis=-1).max()
    assert fastest * 0.5 > 0.02
    assert np.ptp(frames.conserved) < 0.01 * frames.kinetic_energy.mean()
    assert not np.asarray(end.exploded).any()


def test_free_particles_diffuse_as_langevin_says():
    # <x(t)^2> = 6 kT / (m g^2) (g t - 1 + exp(-g t)) from velocities in equilibrium, times
    # (1 - 1/n) without drift. BAOAB itself: the same to second order in g dt.
    friction, temperature, n, replicas = 0.02, 700.0, 64, 32
    integrator = langevin(2.0, temperature, friction)
    rng = np.random.default_rng(0)
    crystal = (rng.uniform(0, 20, (n, 3)), np.eye(3) * 20, np.full(n, 3))
    state = start_dynamics(
        free(),
        [crystal] * replicas,
        [np.full(n, 6.94)] * replicas,
        integrator,
        jax.random.key(0),
        temperature=temperature,
    )
    _, frames = run_dynamics(free(), integrator, state, 100, every=20)
    moved = frames.positions - np.asarray(state.motion.positions)
    found = np.square(moved).sum(-1).mean((1, 2))
    time = frames.step * 2.0
    factor = 6 * BOLTZMANN * temperature * ACCELERATION / (6.94 * friction**2) * (1 - 1 / n)
    expected = factor * (friction * time - 1 + np.exp(-friction * time))
    # 2048 particles in three directions: the variance is good to sqrt(2 / 6144) = 1.8 %.
    np.testing.assert_allclose(found, expected, rtol=0.05)


def test_langevin_samples_oscillators_exactly():
    # BAOAB: <k x^2> = kT at any timestep, <m v^2> = kT (1 - (omega dt)^2 / 4).
    stiffness, mass, temperature, n, replicas = 2.0, 6.94, 600.0, 32, 32
    omega = np.sqrt(stiffness * ACCELERATION / mass)
    timestep = 1.0 / omega  # 19 fs, sixfold what one would take
    integrator = langevin(timestep, temperature, 0.05)
    sites = argon(2)[0]
    crystal = (sites, argon(2)[1], np.full(n, 3))
    potential = oscillators(stiffness, sites)
    state = start_dynamics(
        potential,
        [crystal] * replicas,
        [np.full(n, mass)] * replicas,
        integrator,
        jax.random.key(2),
        temperature=temperature,
    )
    _, frames = run_dynamics(potential, integrator, state, 400, every=4)
    freedom, thermal = 3 * (n - 1), BOLTZMANN * temperature
    potential_energy = frames.potential_energy[20:] / (freedom * thermal / 2)
    kinetic = frames.kinetic_energy[20:] / (freedom * thermal / 2)
    # Some 80 x 32 x 93 samples, mildly correlated: an error of .5 % at most.
    assert potential_energy.mean() == pytest.approx(1, abs=0.01)
    assert kinetic.mean() == pytest.approx(1 - 0.25, abs=0.01)
    assert potential_energy.var() == pytest.approx(2 / freedom, rel=0.1)


@pytest.mark.parametrize(
    "integrator",
    [langevin(4.0, 40.0, 0.01), nose_hoover(4.0, 40.0, 100.0)],
    ids=lambda integrator: integrator.methods.name,
)
def test_kinetic_energy_is_that_of_the_canonical_ensemble(integrator):
    # K has the mean f kT / 2 and the variance f (kT)^2 / 2, f = 3 (n - 1). Four atoms.
    replicas, temperature = 32, 40.0
    key = jax.random.key(0)
    crystals, masses = [argon(1)] * replicas, [np.full(4, MASS)] * replicas
    state = start_dynamics(
        ARGON, crystals, masses, integrator, key, temperature=2 * temperature, skin=1.0
    )
    state, _ = run_dynamics(ARGON, integrator, state, 300)
    _, frames = run_dynamics(ARGON, integrator, state, 1000, every=5)
    freedom, thermal = 9, BOLTZMANN * temperature
    kinetic = frames.kinetic_energy / thermal
    assert kinetic.mean() == pytest.approx(freedom / 2, rel=0.03)
    assert kinetic.var() == pytest.approx(freedom / 2, rel=0.15)
    # Equipartition: each atom has its share.
    squares = np.square(frames.velocities).sum(-1).mean((0, 1))
    shares = MASS * squares / ACCELERATION / thermal / (3 * 3 / 4)
    np.testing.assert_allclose(shares, 1, atol=0.1)
    # The conserved quantity doesn't drift: below .1 meV per atom over 4 ps.
    drift = frames.conserved[-50:].mean(0) - frames.conserved[:50].mean(0)
    assert np.abs(drift.mean()) / 4 < 1e-4


def test_replicas_may_have_temperatures_of_their_own():
    temperatures = jnp.array([20.0, 60.0])
    integrator = langevin(4.0, temperatures, 0.05)
    state = argon_state(integrator, replicas=2, temperature=temperatures)
    state, _ = run_dynamics(ARGON, integrator, state, 200)
    _, frames = run_dynamics(ARGON, integrator, state, 500, every=5)
    np.testing.assert_allclose(frames.temperature.mean(0), temperatures, rtol=0.2)


@pytest.mark.slow
def test_what_explodes_stops_and_the_others_go_on():
    positions, cell, species = argon(2)
    broken = positions.copy()
    broken[1] = broken[0] + 0.4
    crystals = [(positions, cell, species), (broken, cell, species)]
    integrator = nve(2.0)
    masses = [np.full(32, MASS)] * 2
    state = start_dynamics(ARGON, crystals, masses, integrator, jax.random.key(0), temperature=30.0)
    end, frames = run_dynamics(ARGON, integrator, state, 50, every=10)
    assert np.asarray(end.exploded).tolist() == [False, True]
    assert int(end.step) == 50
    assert np.isfinite(frames.positions).all()
    alone, _ = run_dynamics(ARGON, integrator, argon_state(integrator, temperature=30.0), 50)
    np.testing.assert_allclose(end.motion.positions[0], alone.motion.positions[0], atol=1e-3)
    key = jax.random.key(0)
    state = start_dynamics(ARGON, crystals[1:], masses[1:], integrator, key, temperature=30.0)
    with pytest.raises(MfalError, match="exploded"):
        run_dynamics(ARGON, integrator, state, 50)


def test_one_program_serves_all_lengths_and_temperatures():
    from mfal.potentials import dynamics

    integrator = langevin(2.0, 60.0, 0.02)
    state = argon_state(integrator)
    run_dynamics(ARGON, integrator, state, 3)
    compiled = dynamics.advance._cache_size()
    for steps, temperature in ((20, 50.0), (45, 70.0)):
        run_dynamics(ARGON, langevin(1.0, temperature, 0.01), state, steps, every=2)
    assert dynamics.advance._cache_size() == compiled


def test_bad_input_is_named():
    with pytest.raises(MfalError, match="timestep of 0"):
        nve(0.0)
    with pytest.raises(MfalError, match="chain of 0"):
        nose_hoover(1.0, 300.0, 100.0, chain=0)
    with pytest.raises(MfalError, match="replica 0 has 32 atoms"):
        start_dynamics(
            ARGON, [argon(2)], [np.ones(3)], nve(1.0), jax.random.key(0), temperature=1.0
        )


def test_trajectories_are_read_by_ase(tmp_path):
    from ase.io import read

    positions, cell, _ = argon(2)
    crystal = (positions[:30], cell, np.where(np.arange(30) % 2, 18, 36))
    integrator = nve(2.0)
    state = start_dynamics(
        ARGON, [crystal], [np.full(30, MASS)], integrator, jax.random.key(0), temperature=30.0
    )
    end, frames = run_dynamics(ARGON, integrator, state, 20, every=5)
    write_extxyz(tmp_path / "run.xyz", frames, end, 2.0)
    end, more = run_dynamics(ARGON, integrator, end, 10, every=5)
    write_extxyz(tmp_path / "run.xyz", more, end, 2.0, append=True)
    images = read(tmp_path / "run.xyz", ":")
    assert [image.info["time"] for image in images] == [10, 20, 30, 40, 50, 60]
    assert images[0].get_chemical_symbols()[:2] == ["Kr", "Ar"]
    np.testing.assert_allclose(images[3].positions, frames.positions[3, 0, :30], atol=1e-6)
    np.testing.assert_allclose(images[3].cell, cell)
    assert images[-1].get_potential_energy() == pytest.approx(
        float(end.potential_energy[0]), abs=1e-6
    )


def test_a_file_that_is_no_state_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=1)
    (tmp_path / "b.npz").write_text("nothing")
    for name in ("a.npz", "b.npz", "c.npz"):
        with pytest.raises(MfalError, match=name):
            load_state(tmp_path / name)


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_steps_lower_for_all_platforms(platform):
    from jax import export

    from mfal.potentials.dynamics import advance
    from mfal.potentials.integrators import IntegratorSettings

    integrator = nose_hoover(2.0, 60.0, 100.0)
    state = argon_state(integrator)
    settings = IntegratorSettings(*(jnp.full(1, float(x)) for x in integrator.settings))
    arguments = (ARGON.params, settings, state, jnp.int32(1), jnp.int32(1))

    def steps(*arguments):
        return advance(ARGON.energy, integrator.methods, *arguments)

    # Exported as plain trees: state types needn't be known to whoever reads them.
    lowered = export.export(jax.jit(lambda *a: jax.tree.leaves(steps(*a))), platforms=[platform])
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), arguments
    )
    assert lowered(*shapes).platforms == (platform,)
