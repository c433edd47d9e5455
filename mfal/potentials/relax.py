"""Crystals relaxed together: positions and cell, within their symmetry or free of it.

    relaxed = relax_crystals(potential, [(positions, cell, species), ...], operations)

A batch has a fixed number of places. Crystals that are done leave theirs to the next, so that one
compiled program serves a whole group of crystals of about the same size. A step is only taken with
neighbour tables that hold where it leads; else the program stops and the host makes new ones. A
crystal whose new tables don't fit leaves the batch and begins again in a larger one, so that the
others go on with the sums that they had.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from mfal.crystals.operations import Operations, symmetrised
from mfal.errors import MfalError
from mfal.potentials.descent import (
    CONVERGED,
    EXPLODED,
    GOING,
    Descent,
    DescentTargets,
    at_trial,
    cartesian_group,
    descend,
    geometry,
    start_of_descent,
    trial_outdated,
)
from mfal.potentials.neighbours import NeighbourTables, Sizes, sizes_of
from mfal.potentials.pairs import pairs_within
from mfal.potentials.renewal import fresh_tables, with_rows
from mfal.potentials.shapes import PaddedShape, grouped, rung
from mfal.potentials.types import GPA, Energy, Potential, over_crystals, pad_atoms

__all__ = ["DEFAULT", "RelaxSettings", "RelaxedCrystal", "go_down", "relax_crystals"]

Atoms: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Positions [n, 3] Å, cell [3, 3] Å with lattice vectors as rows, species [n] atomic numbers."""

_SHORTEST = 0.5
"""Å; nearer atoms mean that the crystal has collapsed into a hole of the potential."""


class RelaxSettings(NamedTuple):
    """How far crystals are relaxed, and how."""

    force: float = 0.05
    """eV/Å, the longest force at which a crystal counts as relaxed."""
    stress: float = 0.2
    """GPa, the largest component of the stress at which it does."""
    steps: int = 500
    """Evaluations of the potential after which it is left where it is."""
    cell: bool = True
    """Whether the cell relaxes with the atoms."""
    skin: float = 0.1
    """Å, of the neighbour tables. They hold for a step or two then, but a wide skin costs more:
    at 0.4 Å crystals have two to four times as many angles."""


DEFAULT = RelaxSettings()


class RelaxedCrystal(NamedTuple):
    """What became of a crystal."""

    positions: np.ndarray
    """[n, 3] Å, float64, in the order given."""
    cell: np.ndarray
    """[3, 3] Å, float64."""
    energy: float
    """eV per atom; NaN where there is none."""
    force: float
    """eV/Å, the longest force left on an atom."""
    stress: np.ndarray
    """[3, 3] GPa, left; positive where the crystal pulls inwards."""
    steps: int
    """Evaluations of the potential, since it began in the batch where it ended."""
    status: str
    """`converged`, `steps used up`, `exploded: ...` or `refused: ...`, the last where the potential
    could not begin."""
    volume_change: float
    """Relative: 0.1 where the volume has grown by a tenth."""
    shift: float
    """Å, root mean square over atoms of how far they moved beyond the cell's deformation, without
    common drift."""


def relax_crystals(
    potential: Potential,
    crystals: Sequence[Atoms],
    operations: Sequence[Operations | None] | None = None,
    settings: RelaxSettings = DEFAULT,
    *,
    batch: int | None = None,
    shapes: Sequence[PaddedShape] = (),
    independent: bool = False,
    dtype: Any = None,
    report: Callable[[int], None] | None = None,
) -> list[RelaxedCrystal]:
    """Relax crystals to the nearest minimum of the energy.

    Args:
      potential: an interatomic potential.
      crystals: positions, cell and species of each.
      operations: each crystal's symmetry operations (`mfal.crystals.operations.find_operations`),
        which it keeps: it starts from the nearest crystal that obeys them exactly. None where it
        may relax freely.
      settings: tolerances and limits.
      batch: crystals that are computed at once; by default one on a CPU, where more at once gain
        little and wait for one another, and on an accelerator 64, or what fits into half of its
        memory.
      shapes: padded sizes, the smallest first, of which a crystal takes the first that it fits into
        with an eighth to spare, and a larger one when it outgrows it. So programs that are compiled
        once serve crystals to come; what fits into none is padded to sizes that suit it and those
        that are relaxed with it.
      independent: whether each crystal's answer is the same, bit for bit, whatever else is relaxed
        with it: then each batch has all its places, filled or not, and what fits into none of the
        shapes is padded to sizes of its own.
      dtype: of the computation; by default JAX's float.
      report: called with the number of crystals done so far whenever one is.

    Returns:
      One answer for each crystal, in order. No crystal spoils another's answer; but the order of
      sums depends on padded sizes, and so may last digits, unless `independent`.

    Raises:
      MfalError: operations that don't fit their crystal, or settings that make no sense.
    """
    _check(settings)
    symmetries = [None] * len(crystals) if operations is None else list(operations)
    done: dict[int, RelaxedCrystal] = {}

    def finish(number: int, result: RelaxedCrystal) -> None:
        done[number] = result
        if report is not None:
            report(len(done))

    starts: dict[int, Atoms] = {}
    sizes: dict[int, Sizes] = {}
    for number, (crystal, symmetry) in enumerate(zip(crystals, symmetries, strict=True)):
        _check_shapes(number, crystal, symmetry)
        try:
            sizes[number] = sizes_of(potential.neighbours(*crystal, skin=settings.skin))
        except MfalError as refusal:
            finish(number, _refused(crystal, refusal.what))
        else:
            positions, cell, species = crystal
            if symmetry is not None:
                positions, cell = symmetrised(positions, cell, symmetry)
            starts[number] = (positions, cell, species)
    while starts.keys() - done.keys():
        # At first all, then again those that outgrew their tables.
        atoms = {number: len(starts[number][2]) for number in starts if number not in done}
        for group, shape in grouped(atoms, sizes, shapes, merge=not independent):
            queue = [(n, starts[n], symmetries[n]) for n in group]
            places = _places(shape) if batch is None else batch
            places = places if independent else min(places, rung(len(group)))
            for number, descent, end in _relax_group(
                potential, queue, settings, places, shape, dtype
            ):
                if isinstance(end, Sizes):
                    sizes[number] = Sizes(*map(max, sizes[number], end))
                    continue
                result = _result(crystals[number], starts[number], symmetries[number], descent, end)
                finish(number, result)
    return [done[number] for number in range(len(crystals))]


def _places(shape: PaddedShape) -> int:
    """Crystals of one shape that are computed at once."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        return 1
    limit = (device.memory_stats() or {}).get("bytes_limit", 16 * 2**30)
    fitting = max(int(limit / 2 / shape.memory), 1)
    return min(64, 1 << (fitting.bit_length() - 1))


def _check(settings: RelaxSettings) -> None:
    if not (settings.force > 0 and settings.stress > 0 and settings.skin > 0):
        raise MfalError(
            f"a force of {settings.force:g} eV/Å, a stress of {settings.stress:g} GPa and a skin "
            f"of {settings.skin:g} Å",
            "give positive tolerances",
        )
    if settings.steps < 1:
        raise MfalError(f"{settings.steps} steps", "allow at least one")


def _check_shapes(number: int, crystal: Atoms, symmetry: Operations | None) -> None:
    positions, cell, species = (np.shape(part) for part in crystal)
    atoms = species[0] if len(species) == 1 else 0
    if positions != (atoms, 3) or cell != (3, 3) or atoms == 0:
        raise MfalError(
            f"crystal {number}: positions of shape {positions}, a cell of shape {cell} and species "
            f"of shape {species}",
            "give [n, 3], [3, 3] and [n]",
        )
    if symmetry is not None and symmetry.permutations.shape[1] != atoms:
        raise MfalError(
            f"crystal {number}: operations on {symmetry.permutations.shape[1]} atoms for {atoms}",
            "find the operations of this very cell",
        )


def _relax_group(
    potential: Potential,
    queue: Sequence[tuple[int, Atoms, Operations | None]],
    settings: RelaxSettings,
    places: int,
    shape: PaddedShape,
    dtype: Any,
) -> Iterator[tuple[int, Descent, str | Sizes]]:
    """Each crystal's number, where it ended (arrays of numpy), and what went wrong if it did.

    For one that has outgrown its tables it is the sizes that it needs.
    """
    waiting = list(reversed(queue))
    most = max(1 if s is None else len(s.rotations) for _, _, s in queue)
    # A point group has 48 operations at most; a cell may hold several lattice points. Averaging
    # over 48 costs nothing beside the potential, so a crystal without any takes the same program.
    orders = 48 if most <= 48 else 48 * rung(-(-most // 48))
    targets = DescentTargets(
        force=settings.force,
        stress=settings.stress / GPA if settings.cell else np.inf,
        steps=settings.steps,
        cell=settings.cell,
    )

    def at_start(crystal: Atoms, symmetry: Operations | None) -> Descent:
        padded = pad_atoms([crystal], shape.atoms, dtype)
        positions, cell, species = (np.asarray(part)[0] for part in padded)
        group = cartesian_group(symmetry, crystal[1], shape.atoms, orders, positions.dtype)
        return _start(positions, cell, species, group)

    nobody = at_start((np.zeros((0, 3)), np.eye(3), np.zeros(0, int)), None)
    # In numpy: each operation on the device would be compiled for each shape.
    descent = jax.device_put(
        jax.tree.map(lambda leaf: np.stack([np.asarray(leaf)] * places), nobody)
    )
    neighbours = potential.neighbours(
        descent.start_positions,
        descent.start_cell,
        descent.species,
        skin=settings.skin,
        sizes=shape.sizes,
    )
    kept = sizes_of(neighbours)
    occupied: dict[int, int] = {}
    stale = np.zeros(places, bool)
    while True:
        entering = {}
        for row in range(places):
            if row not in occupied and waiting:
                number, crystal, symmetry = waiting.pop()
                occupied[row], entering[row] = number, at_start(crystal, symmetry)
        if not occupied:
            return
        descent = with_rows(descent, entering)
        stale[list(entering)] = True
        ended: dict[int, str | Sizes] = {}
        if stale.any():
            positions, cell = map(np.asarray, _trial(descent))
            rows, species = np.nonzero(stale)[0], np.asarray(descent.species)
            made, refused = fresh_tables(potential, neighbours, rows, positions, cell, species)
            fitting = {row: one for row, one in made.items() if sizes_of(one) == kept}
            neighbours = with_rows(neighbours, fitting)
            ended |= refused
            for row in made.keys() - fitting.keys():
                one = (positions[row], cell[row], species[row])
                ended[row] = sizes_of(potential.neighbours(*one, skin=settings.skin))
        if ended:
            over = with_rows(descent.status, {row: np.int32(EXPLODED) for row in ended})
            descent = descent._replace(status=over)
        descent, outdated_now = go_down(
            potential.energy, potential.params, targets, descent, neighbours
        )
        stale, status = np.array(outdated_now), np.asarray(descent.status)
        for row in [row for row in occupied if status[row] != GOING]:
            one = jax.tree.map(lambda leaf, row=row: np.asarray(leaf)[row], descent)
            yield occupied.pop(row), one, ended.get(row, "")


_start = jax.jit(start_of_descent)


@jax.jit
def _trial(descent: Descent) -> tuple[jax.Array, jax.Array]:
    return jax.vmap(lambda one: geometry(one, one.trial))(descent)


@partial(jax.jit, static_argnames="energy")
def go_down(
    energy: Energy,
    params: Any,
    targets: DescentTargets,
    descent: Descent,
    neighbours: NeighbourTables,
) -> tuple[Descent, jax.Array]:
    """Steps until a crystal is done or its tables don't hold where it will look next.

    Returns:
      The crystals, and which of them need new tables.
    """
    going_at_first = descent.status == GOING

    def going(carry: tuple[Descent, jax.Array]) -> jax.Array:
        descent, stale = carry
        going = descent.status == GOING
        return going.any() & ~stale.any() & (going == going_at_first).all()

    def body(carry: tuple[Descent, jax.Array]) -> tuple[Descent, jax.Array]:
        descent, _ = carry
        values, gradients = over_crystals(partial(at_trial, energy, params))(descent, neighbours)
        moved = jax.vmap(descend, (0, None, 0, 0))(descent, targets, values, gradients)
        keep = descent.status == GOING
        descent = jax.tree.map(
            lambda old, new: jnp.where(keep.reshape(-1, *[1] * (new.ndim - 1)), new, old),
            descent,
            moved,
        )
        return descent, jax.vmap(trial_outdated)(descent, neighbours)

    return jax.lax.while_loop(going, body, (descent, jax.vmap(trial_outdated)(descent, neighbours)))


def _result(
    crystal: Atoms, start: Atoms, symmetry: Operations | None, descent: Descent, error: str
) -> RelaxedCrystal:
    """The answer in float64, exactly symmetric where it was to be."""
    given = np.asarray(crystal[0], np.float64)
    atoms = len(given)
    place = descent.place.astype(np.float64)
    deformation = np.eye(3) + place[-3:] / float(descent.stretch)
    positions = (start[0] + place[:atoms]) @ deformation
    cell = start[1] @ deformation
    if symmetry is not None:
        positions, cell = symmetrised(positions, cell, symmetry)
    volume, volume_before = (abs(float(np.linalg.det(c))) for c in (cell, crystal[1]))
    moved = start[0] + place[:atoms] - given
    moved -= moved.mean(0)
    error = error or _broken(positions, cell)
    if not error and int(descent.status) == EXPLODED:
        error = f"the volume became {volume / volume_before:.2g}-fold"
        if not np.isfinite(descent.energy):
            error = "no finite energy"
    ended = "converged" if int(descent.status) == CONVERGED else "steps used up"
    return RelaxedCrystal(
        positions=positions,
        cell=cell,
        energy=float(descent.energy) / atoms if np.isfinite(descent.energy) else float("nan"),
        force=float(descent.force),
        stress=np.asarray(descent.stress, np.float64) * GPA,
        steps=int(descent.steps),
        status=f"exploded: {error}" if error else ended,
        volume_change=volume / volume_before - 1,
        shift=float(np.sqrt(np.mean(np.sum(moved**2, 1)))),
    )


def _broken(positions: np.ndarray, cell: np.ndarray) -> str:
    """What is wrong with the crystal by itself, if anything is."""
    try:
        pairs = pairs_within(positions, cell, _SHORTEST)
    except MfalError as error:
        return error.what
    if not len(pairs.distance):
        return ""
    return f"two atoms came as near as {pairs.distance.min():.2f} Å"


def _refused(crystal: Atoms, reason: str) -> RelaxedCrystal:
    nothing = float("nan")
    return RelaxedCrystal(
        positions=np.asarray(crystal[0], np.float64),
        cell=np.asarray(crystal[1], np.float64),
        energy=nothing,
        force=nothing,
        stress=np.full((3, 3), np.nan),
        steps=0,
        status=f"refused: {reason}",
        volume_change=nothing,
        shift=nothing,
    )
