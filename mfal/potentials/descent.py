"""Downhill steps of one crystal, positions and cell together: L-BFGS with bounded moves.

The crystal is that of its start, y and A, displaced by u and then deformed: x = (y + u) F and
A F, with F = 1 + E / J symmetric. The unknowns z = (u, E) are N + 3 rows of lengths in Å, where
J = V^(1/3) N^(1/6) makes the stiffness of the cell like that of atoms (D. Sheppard et al., J.
Chem. Phys. 136, 074103 (2012), doi:10.1063/1.3684549). As F is symmetric the crystal never turns,
so the operations of its space group are the same matrices throughout: gradients are averaged over
them, and what obeys them goes on to do so.

The direction is that of L-BFGS (J. Nocedal, Math. Comput. 35, 773 (1980),
doi:10.2307/2006193) from the last `HISTORY` moves, no row longer than a trust radius. A move that
raises the energy by more than rounding is taken back and the radius shrinks; what it taught of the
curvature is kept. After a move along which the energy was concave the next is as long as the radius
allows.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.crystals.operations import Operations
from mfal.potentials.neighbours import NeighbourTables, outdated
from mfal.potentials.types import Energy

__all__ = [
    "CONVERGED",
    "EXPLODED",
    "GOING",
    "USED_UP",
    "CartesianGroup",
    "Descent",
    "DescentTargets",
    "at_trial",
    "cartesian_group",
    "descend",
    "geometry",
    "start_of_descent",
    "trial_outdated",
]

GOING, CONVERGED, USED_UP, EXPLODED = range(4)

HISTORY = 12
"""Moves that L-BFGS remembers."""
_LONGEST = 0.2
"""Å, the largest trust radius."""
_FIRST = 0.05
"""Å, the first one."""
_STIFFNESS = 20.0
"""eV/Å², assumed before any curvature is known."""
_EXPANSION = 4.0
"""Factor by which a cell's volume may change before it counts as exploded."""


class DescentTargets(NamedTuple):
    """When to stop. Traced; [] each."""

    force: jax.Array | float
    """eV/Å, length of the longest force left on an atom."""
    stress: jax.Array | float
    """eV/Å³, largest component of the stress left."""
    steps: jax.Array | int
    """Evaluations of the potential."""
    cell: jax.Array | bool
    """Whether the cell relaxes."""


class CartesianGroup(NamedTuple):
    """Space group operations as they act on Cartesian rows."""

    rotations: jax.Array
    """[G, 3, 3]: a row vector v becomes v Q."""
    permutations: jax.Array
    """[G, N] int32: an operation takes atom i to the place of atom permutations[g, i]."""
    weights: jax.Array
    """[G], one over their number, and 0 for absent operations."""


class Descent(NamedTuple):
    """Where a crystal stands on its way down, and where it will look next. A pytree."""

    start_positions: jax.Array
    """[N, 3] Å."""
    start_cell: jax.Array
    """[3, 3] Å."""
    species: jax.Array
    """[N] int32, 0 for absent atoms."""
    stretch: jax.Array
    """[] Å, J."""
    group: CartesianGroup
    place: jax.Array
    """[N + 3, 3] Å, z, the best so far."""
    trial: jax.Array
    """[N + 3, 3] Å, z to be evaluated next."""
    energy: jax.Array
    """[] eV, at `place`; infinite before the first evaluation."""
    gradient: jax.Array
    """[N + 3, 3] eV/Å, of the energy by z there, symmetric."""
    force: jax.Array
    """[] eV/Å, the longest force on an atom there."""
    stress: jax.Array
    """[3, 3] eV/Å³ there."""
    moves: jax.Array
    """[HISTORY, N + 3, 3] Å, newest first."""
    changes: jax.Array
    """[HISTORY, N + 3, 3] eV/Å, of the gradient over the moves."""
    curvatures: jax.Array
    """[HISTORY] 1 / (move · change), 0 where there is none yet."""
    trust: jax.Array
    """[] Å."""
    steps: jax.Array
    """[] int32, evaluations done."""
    status: jax.Array
    """[] int32: GOING, CONVERGED, USED_UP or EXPLODED."""


def cartesian_group(
    symmetry: Operations | None, cell: np.ndarray, atoms: int, orders: int, dtype: Any
) -> CartesianGroup:
    """Operations as they act on Cartesian rows, padded. Host.

    Args:
      symmetry: None for the identity alone.
      cell: [3, 3] Å that they belong to.
      atoms: N, padded.
      orders: G, padded.
      dtype: of the rotations.
    """
    rotations = np.zeros((orders, 3, 3))
    permutations = np.tile(np.arange(atoms, dtype=np.int32), (orders, 1))
    weights = np.zeros(orders)
    if symmetry is None:
        rotations[0], weights[0] = np.eye(3), 1
    else:
        count, present = symmetry.permutations.shape
        turned = np.swapaxes(symmetry.rotations, 1, 2)
        rotations[:count] = np.linalg.inv(cell) @ turned @ cell
        permutations[:count, :present] = symmetry.permutations
        weights[:count] = 1 / count
    fields = (rotations.astype(dtype), permutations, weights.astype(dtype))
    return CartesianGroup(*jax.device_put(fields))  # which, unlike asarray, compiles nothing


def start_of_descent(
    positions: jax.Array, cell: jax.Array, species: jax.Array, group: CartesianGroup
) -> Descent:
    """Before the first evaluation, which is of the crystal as it stands."""
    rows = len(species) + 3
    dtype = positions.dtype
    nothing = jnp.zeros((rows, 3), dtype)
    return Descent(
        start_positions=positions,
        start_cell=cell,
        species=species,
        stretch=_stretch(cell, species),
        group=group,
        place=nothing,
        trial=nothing,
        energy=jnp.full((), jnp.inf, dtype),
        gradient=nothing,
        force=jnp.full((), jnp.inf, dtype),
        stress=jnp.zeros((3, 3), dtype),
        moves=jnp.zeros((HISTORY, rows, 3), dtype),
        changes=jnp.zeros((HISTORY, rows, 3), dtype),
        curvatures=jnp.zeros(HISTORY, dtype),
        trust=jnp.full((), _FIRST, dtype),
        steps=jnp.zeros((), jnp.int32),
        status=jnp.where(jnp.any(species > 0), GOING, USED_UP).astype(jnp.int32),
    )


def geometry(descent: Descent, place: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Positions [N, 3] and cell [3, 3] in Å for some z."""
    deformation = _deformation(descent, place)
    return (
        _times(descent.start_positions + place[:-3], deformation),
        _times(descent.start_cell, deformation),
    )


def trial_outdated(descent: Descent, neighbours: NeighbourTables) -> jax.Array:
    """Whether the crystal goes on and its tables don't hold where it will look next; [] bool."""
    stale = outdated(neighbours, *geometry(descent, descent.trial))
    return stale & (descent.status == GOING)


def at_trial(
    energy: Energy, params: Any, descent: Descent, neighbours: NeighbourTables
) -> tuple[jax.Array, jax.Array]:
    """Energy [] eV and its gradient by z [N + 3, 3] at the trial."""

    def of(place: jax.Array) -> jax.Array:
        positions, cell = geometry(descent, place)
        return energy(params, positions, cell, descent.species, neighbours)

    return jax.value_and_grad(of)(descent.trial)


def descend(
    descent: Descent, targets: DescentTargets, energy: jax.Array, gradient: jax.Array
) -> Descent:
    """One step, given energy and gradient at the trial."""
    gradient, force, stress = _symmetric(descent, targets, gradient)
    expansion = jnp.abs(jnp.linalg.det(_deformation(descent, descent.trial)))
    sane = jnp.isfinite(energy) & jnp.isfinite(gradient).all()
    burst = (expansion > _EXPANSION) | (expansion < 1 / _EXPANSION)
    gradient = jnp.where(sane, gradient, 0)
    rounding = 4 * jnp.finfo(energy.dtype).eps * jnp.abs(energy)
    accepted = sane & (energy <= descent.energy + rounding)
    first = descent.steps == 0

    move, change = descent.trial - descent.place, gradient - descent.gradient
    product = jnp.sum(move * change)
    scale = jnp.sqrt(jnp.sum(move**2) * jnp.sum(change**2))
    learned = sane & ~first & (product > 1e-3 * scale)
    moves, changes, curvatures = (
        jnp.where(learned, jnp.concatenate([new[None], old[:-1]]), old)
        for new, old in (
            (move, descent.moves),
            (change, descent.changes),
            (1 / jnp.where(learned, product, 1), descent.curvatures),
        )
    )
    longest = _longest(move)
    trust = jnp.where(accepted, jnp.minimum(1.5 * descent.trust, _LONGEST), 0.3 * longest)
    trust = jnp.where(first, _FIRST, jnp.maximum(trust, 1e-6))
    here = descent._replace(
        place=jnp.where(accepted, descent.trial, descent.place),
        energy=jnp.where(accepted, energy, descent.energy),
        gradient=jnp.where(accepted, gradient, descent.gradient),
        force=jnp.where(accepted, force, descent.force),
        stress=jnp.where(accepted, stress, descent.stress),
        moves=moves,
        changes=changes,
        curvatures=curvatures,
        trust=trust,
        steps=descent.steps + 1,
    )
    direction = _direction(here)
    stretch = trust / jnp.maximum(_longest(direction), 1e-30)
    # Where the last move met no curvature upwards, what is known of it says nothing on lengths.
    concave = accepted & ~first & ~learned
    direction = direction * jnp.where(concave, stretch, jnp.minimum(1, stretch))
    small = (here.force <= targets.force) & (jnp.abs(here.stress).max() <= targets.stress)
    status = jnp.select(
        [
            (first & ~sane) | (accepted & burst),
            jnp.isfinite(here.energy) & small,
            here.steps >= targets.steps,
        ],
        [EXPLODED, CONVERGED, USED_UP],
        GOING,
    ).astype(jnp.int32)
    return here._replace(trial=here.place + direction, status=status)


def _deformation(descent: Descent, place: jax.Array) -> jax.Array:
    return jnp.eye(3, dtype=place.dtype) + place[-3:] / descent.stretch


def _stretch(cell: jax.Array, species: jax.Array) -> jax.Array:
    """J, [] Å."""
    atoms = jnp.maximum(jnp.sum(species > 0), 1).astype(cell.dtype)
    return jnp.abs(jnp.linalg.det(cell)) ** (1 / 3) * atoms ** (1 / 6)


def _times(rows: jax.Array, matrix: jax.Array) -> jax.Array:
    return jnp.matmul(rows, matrix, precision=jax.lax.Precision.HIGHEST)


def _longest(rows: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.max(jnp.sum(rows**2, -1)))


def _symmetric(
    descent: Descent, targets: DescentTargets, gradient: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The gradient averaged over the operations; longest force and stress at the trial."""
    group = descent.group
    present = (descent.species > 0)[:, None]
    turned = jnp.einsum(
        "gnj,gij,g->ni",
        gradient[:-3][group.permutations],
        group.rotations,
        group.weights,
        precision=jax.lax.Precision.HIGHEST,
    )
    atoms = jnp.where(present, turned, 0)
    atoms = jnp.where(present, atoms - jnp.sum(atoms, 0) / jnp.sum(present), 0)
    cell = jnp.einsum(
        "gki,kl,glj,g->ij",
        group.rotations,
        gradient[-3:],
        group.rotations,
        group.weights,
        precision=jax.lax.Precision.HIGHEST,
    )
    deformation = _deformation(descent, descent.trial)
    volume = jnp.abs(jnp.linalg.det(_times(descent.start_cell, deformation)))
    by_strain = _times(deformation.T, cell * descent.stretch)
    stress = (by_strain + by_strain.T) / (2 * volume)
    force = _longest(_times(atoms, jnp.linalg.inv(deformation).T))
    cell = jnp.where(targets.cell, (cell + cell.T) / 2, 0)
    return jnp.concatenate([atoms, cell]), force, stress


def _direction(descent: Descent) -> jax.Array:
    """Minus the inverse Hessian times the gradient, by the two loops of L-BFGS."""
    moves, changes, curvatures = descent.moves, descent.changes, descent.curvatures

    def inwards(rest: jax.Array, pair: tuple) -> tuple[jax.Array, jax.Array]:
        move, change, curvature = pair
        share = curvature * jnp.sum(move * rest)
        return rest - share * change, share

    def outwards(rest: jax.Array, pair: tuple) -> tuple[jax.Array, None]:
        move, change, curvature, share = pair
        return rest + (share - curvature * jnp.sum(change * rest)) * move, None

    pairs = (moves, changes, curvatures)
    rest, shares = jax.lax.scan(inwards, descent.gradient, pairs)
    known = curvatures[0] > 0
    stiffness = jnp.where(known, curvatures[0] * jnp.sum(changes[0] ** 2), _STIFFNESS)
    rest, _ = jax.lax.scan(outwards, rest / stiffness, (*pairs, shares), reverse=True)
    return -rest
