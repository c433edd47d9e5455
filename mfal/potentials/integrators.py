"""How atoms move: integrators as values made of pure functions of one replica.

    nve(timestep)                                    velocity Verlet
    langevin(timestep, temperature, friction)        BAOAB
    nose_hoover(timestep, temperature, period)       Nosé-Hoover chain

Every step is symmetric in time and evaluates the forces once, between its two halves: the method
`before` moves the atoms to their new places, `after` finishes the velocities by the forces there.
Total momentum is zero and stays zero, so n atoms have 3 (n - 1) degrees of freedom; under Langevin
the noise is projected on velocities without drift, which samples the canonical distribution of
those exactly.

Units: fs, Å, u, eV, K (`mfal.potentials.units`). Absent atoms have an inverse mass of zero.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mfal.errors import MfalError
from mfal.potentials.units import ACCELERATION, BOLTZMANN

__all__ = [
    "Integrator",
    "IntegratorMethods",
    "IntegratorSettings",
    "Motion",
    "degrees_of_freedom",
    "kinetic_energy",
    "langevin",
    "maxwell_boltzmann",
    "nose_hoover",
    "nve",
    "without_drift",
]


class Motion(NamedTuple):
    """What an integrator moves, for one replica."""

    positions: jax.Array
    """[N, 3] Å, never wrapped into the cell."""
    velocities: jax.Array
    """[N, 3] Å/fs."""
    forces: jax.Array
    """[N, 3] eV/Å, at the positions."""
    bath: jax.Array
    """[E] what the integrator keeps beside: under `langevin` the heat taken up so far (eV), under
    `nose_hoover` the chain's coordinates and then their rates (1/fs), under `nve` nothing."""


class IntegratorSettings(NamedTuple):
    """Numbers of an integrator, all traced: others need no new program. [] each, or [replicas]."""

    timestep: jax.Array | float
    """fs."""
    temperature: jax.Array | float
    """K; unused by `nve`."""
    rate: jax.Array | float
    """1/fs: friction under `langevin`, inverse period under `nose_hoover`, unused by `nve`."""


Before = Callable[[IntegratorSettings, jax.Array, jax.Array, Motion], Motion]
"""(settings, inverse masses [N], key of this step, motion) -> motion, its forces out of date."""
After = Callable[[IntegratorSettings, jax.Array, Motion], Motion]
"""(settings, inverse masses [N], motion with the new forces) -> motion at the end of the step."""
BathEnergy = Callable[[IntegratorSettings, jax.Array, Motion], jax.Array]
"""(settings, inverse masses [N], motion) -> [] eV; added to kinetic and potential energy it gives
what exact integration conserves."""


class IntegratorMethods(NamedTuple):
    """The functions of an integrator; hashable, so a static argument of `jax.jit`."""

    name: str
    before: Before
    after: After
    bath_energy: BathEnergy
    bath_size: int
    """E, the length of `Motion.bath`, which starts at zero."""


class Integrator(NamedTuple):
    """Functions and numbers apart."""

    methods: IntegratorMethods
    settings: IntegratorSettings


def nve(timestep: float) -> Integrator:
    """Newton's equations by velocity Verlet: energy is conserved, symplectically."""
    _positive("timestep", timestep)
    return Integrator(
        IntegratorMethods("nve", _nve_before, _kick, _no_energy, 0),
        IntegratorSettings(timestep, 0, 0),
    )


def langevin(timestep: float, temperature: float | jax.Array, friction: float) -> Integrator:
    """Langevin dynamics by BAOAB: half kick, half drift, friction and noise, half drift, half kick.

    B. Leimkuhler & C. Matthews, J. Chem. Phys. 138, 174102 (2013), doi:10.1063/1.4802990. For a
    harmonic potential positions are distributed exactly at any stable timestep. The conserved
    quantity subtracts the heat that came in (G. Bussi & M. Parrinello, Phys. Rev. E 75, 056707
    (2007), doi:10.1103/PhysRevE.75.056707), so its drift tells the error of the timestep.

    Args:
      timestep: fs.
      temperature: K, [] or [replicas].
      friction: 1/fs; 0.01 couples gently, and diffusion is slowed by large values.
    """
    _positive("timestep", timestep)
    _positive("friction", friction)
    methods = IntegratorMethods("langevin", _langevin_before, _kick, _langevin_energy, 1)
    return Integrator(methods, IntegratorSettings(timestep, temperature, friction))


def nose_hoover(
    timestep: float, temperature: float | jax.Array, period: float, chain: int = 3
) -> Integrator:
    """Canonical dynamics by a chain of Nosé-Hoover thermostats, deterministic.

    G. J. Martyna, M. E. Tuckerman, D. J. Tobias & M. L. Klein, Mol. Phys. 87, 1117 (1996),
    doi:10.1080/00268979600100761, with masses Q1 = 3 (n - 1) kT period², others kT period². Stiff
    harmonic systems are better served by `langevin`, which is ergodic for sure.

    Args:
      timestep: fs.
      temperature: K, [] or [replicas].
      period: fs, the thermostat's time scale (no factor of 2 pi); 100 is common.
      chain: length of the chain.
    """
    _positive("timestep", timestep)
    _positive("period", period)
    if chain < 1:
        raise MfalError(f"a chain of {chain} thermostats", "use at least one")
    methods = IntegratorMethods(
        "nose_hoover", _nose_hoover_before, _nose_hoover_after, _nose_hoover_energy, 2 * chain
    )
    return Integrator(methods, IntegratorSettings(timestep, temperature, 1 / period))


def degrees_of_freedom(inverse_masses: jax.Array) -> jax.Array:
    """3 (n - 1) for n present atoms, [] float."""
    return 3 * (jnp.sum(inverse_masses > 0) - 1).astype(inverse_masses.dtype)


def kinetic_energy(inverse_masses: jax.Array, velocities: jax.Array) -> jax.Array:
    """[] eV."""
    return jnp.sum(_masses(inverse_masses) * velocities**2) / (2 * ACCELERATION)


def without_drift(inverse_masses: jax.Array, velocities: jax.Array) -> jax.Array:
    """Velocities less that of the centre of mass, [N, 3]."""
    masses = _masses(inverse_masses)
    drift = jnp.sum(masses * velocities, 0) / jnp.sum(masses)
    return jnp.where(inverse_masses[:, None] > 0, velocities - drift, 0)


def maxwell_boltzmann(
    key: jax.Array, inverse_masses: jax.Array, temperature: jax.Array | float
) -> jax.Array:
    """Velocities drawn at a temperature (K), without drift, [N, 3] Å/fs."""
    shape = (len(inverse_masses), 3)
    noise = jax.random.normal(key, shape, inverse_masses.dtype)
    return without_drift(inverse_masses, _thermal(inverse_masses, temperature) * noise)


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise MfalError(f"a {name} of {value}", "use a positive number")


def _masses(inverse_masses: jax.Array) -> jax.Array:
    """[N, 1] u, zero for absent atoms."""
    present = inverse_masses > 0
    return jnp.where(present, 1 / jnp.where(present, inverse_masses, 1), 0)[:, None]


def _thermal(inverse_masses: jax.Array, temperature: jax.Array | float) -> jax.Array:
    """Standard deviation of a component of the velocity, [N, 1] Å/fs."""
    return jnp.sqrt(BOLTZMANN * temperature * ACCELERATION * inverse_masses)[:, None]


def _kick(settings: IntegratorSettings, inverse_masses: jax.Array, motion: Motion) -> Motion:
    """Half a timestep of acceleration."""
    gain = settings.timestep * ACCELERATION / 2 * inverse_masses[:, None] * motion.forces
    return motion._replace(velocities=motion.velocities + gain)


def _drift(motion: Motion, time: jax.Array | float) -> Motion:
    return motion._replace(positions=motion.positions + time * motion.velocities)


def _nve_before(
    settings: IntegratorSettings, inverse_masses: jax.Array, key: jax.Array, motion: Motion
) -> Motion:
    return _drift(_kick(settings, inverse_masses, motion), settings.timestep)


def _no_energy(
    settings: IntegratorSettings, inverse_masses: jax.Array, motion: Motion
) -> jax.Array:
    return jnp.zeros((), motion.positions.dtype)


def _langevin_before(
    settings: IntegratorSettings, inverse_masses: jax.Array, key: jax.Array, motion: Motion
) -> Motion:
    half = settings.timestep / 2
    motion = _drift(_kick(settings, inverse_masses, motion), half)
    kept = jnp.exp(-settings.rate * settings.timestep)
    noise = maxwell_boltzmann(key, inverse_masses, settings.temperature)
    fresh = jnp.sqrt(-jnp.expm1(-2 * settings.rate * settings.timestep))
    velocities = kept * motion.velocities + fresh * noise
    heat = kinetic_energy(inverse_masses, velocities) - kinetic_energy(
        inverse_masses, motion.velocities
    )
    motion = motion._replace(velocities=velocities, bath=motion.bath + heat)
    return _drift(motion, half)


def _langevin_energy(
    settings: IntegratorSettings, inverse_masses: jax.Array, motion: Motion
) -> jax.Array:
    return -motion.bath[0]


# Weights of a symmetric composition of order four: M. Suzuki, Phys. Lett. A 146, 319 (1990); H.
# Yoshida, Phys. Lett. A 150, 262 (1990).
_OUTER = 1 / (2 - 2 ** (1 / 3))
_COMPOSITION = (_OUTER, 1 - 2 * _OUTER, _OUTER)


def _nose_hoover_before(
    settings: IntegratorSettings, inverse_masses: jax.Array, key: jax.Array, motion: Motion
) -> Motion:
    return _nve_before(settings, inverse_masses, key, _chain(settings, inverse_masses, motion))


def _nose_hoover_after(
    settings: IntegratorSettings, inverse_masses: jax.Array, motion: Motion
) -> Motion:
    return _chain(settings, inverse_masses, _kick(settings, inverse_masses, motion))


def _chain_masses(
    settings: IntegratorSettings, inverse_masses: jax.Array, length: int
) -> tuple[jax.Array, jax.Array]:
    """Q / kT [M] in fs², and the degrees of freedom."""
    freedom = degrees_of_freedom(inverse_masses)
    ones = jnp.ones(length, inverse_masses.dtype).at[0].set(freedom)
    return ones / settings.rate**2, freedom


def _chain(settings: IntegratorSettings, inverse_masses: jax.Array, motion: Motion) -> Motion:
    """Half a timestep of the thermostats: their rates inwards, velocities scaled, rates outwards.

    Energies are in units of kT throughout.
    """
    length = len(motion.bath) // 2
    masses, freedom = _chain_masses(settings, inverse_masses, length)
    thermal = BOLTZMANN * settings.temperature
    twice = 2 * kinetic_energy(inverse_masses, motion.velocities) / thermal
    places, rates = list(motion.bath[:length]), list(motion.bath[length:])
    factor = jnp.ones_like(twice)

    def accelerated(j: int, time: jax.Array | float) -> jax.Array:
        """The rate of thermostat j after half of `time`, slowed by the next in the chain."""
        drive = twice * factor**2 - freedom if j == 0 else masses[j - 1] * rates[j - 1] ** 2 - 1
        slowed = jnp.exp(-time / 4 * rates[j + 1]) if j + 1 < length else 1.0
        return (rates[j] * slowed + time / 2 * drive / masses[j]) * slowed

    for weight in _COMPOSITION:
        time = weight * settings.timestep / 2
        for j in reversed(range(length)):
            rates[j] = accelerated(j, time)
        factor = factor * jnp.exp(-time * rates[0])
        places = [place + time * rate for place, rate in zip(places, rates, strict=True)]
        for j in range(length):
            rates[j] = accelerated(j, time)
    bath = jnp.stack([*places, *rates])
    return motion._replace(velocities=factor * motion.velocities, bath=bath)


def _nose_hoover_energy(
    settings: IntegratorSettings, inverse_masses: jax.Array, motion: Motion
) -> jax.Array:
    length = len(motion.bath) // 2
    masses, freedom = _chain_masses(settings, inverse_masses, length)
    places, rates = motion.bath[:length], motion.bath[length:]
    potential = freedom * places[0] + jnp.sum(places[1:])
    return BOLTZMANN * settings.temperature * (jnp.sum(masses * rates**2) / 2 + potential)
