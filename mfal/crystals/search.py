"""The search for atoms of low bond-valence energy in a given group and cell.

Generation by generation: many random starts are relaxed a little, the best of them and given ones
further; the best of these are varied (all atoms thrown anew on the same Wyckoff positions, one
orbit thrown, two species exchanged) and relaxed again; the survivors are relaxed to the end. All
draws come from one generator, so the seed fixes the outcome.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mfal.crystals.contacts import least_distances
from mfal.crystals.generator import generated_arrangement
from mfal.crystals.groups import WYCKOFF_FREEDOM
from mfal.crystals.placement import Assignment, assignments, random_arrangement
from mfal.crystals.relax import Arrangement, Relaxation, relax

__all__ = ["VALENCE_WEIGHT", "LowArrangements", "search"]

VALENCE_WEIGHT = 2.0
"""eV, weight of the squared defects of the valence sums in relaxation and ranking."""

_BATCH = 64  # arrangements that are relaxed together
_SURVIVORS = 16  # of each generation, to be varied
_SCREENED = 4  # random starts for each that is relaxed further
_GENERATED = 32  # one in so many comes from pyxtal: each costs as much as relaxing one
_SCREENING_STEPS = 20
_STEPS = 100  # bring most starts within 1 meV an atom of their minimum
_FINAL_STEPS = 60
_JOLT = 0.04  # standard deviation, fractions of the cell edges


class LowArrangements(NamedTuple):
    """Relaxed arrangements, the lowest score first, each different from those before it."""

    relaxed: Relaxation
    score: np.ndarray
    """[n] float64, eV an atom: energy plus the penalty on valence sums; finite."""
    ancestor: list[int]
    """Index of the given start that each descends from; -1 for random ones."""
    tried: int
    """Arrangements relaxed."""
    repeated: int
    """Those that ended in another's place."""
    diverged: int
    """Those whose arithmetic overflowed."""


class _Pool(NamedTuple):
    arrangements: list[Arrangement]
    ancestor: list[int]
    score: np.ndarray


def search(
    space_group_number: int,
    cell: np.ndarray,
    species: Sequence[tuple[str, float]],
    counts: Sequence[int],
    *,
    given: Sequence[Arrangement] = (),
    assignment: Assignment | None = None,
    max_tries: int,
    rng: np.random.Generator,
) -> LowArrangements:
    """Search with at most `max_tries` relaxations; see `mfal.crystals.relax.relax`.

    Args:
      space_group_number: 1 to 230.
      cell: [3, 3] rows a, b, c, Å.
      species: (symbol, charge) of each kind of ion.
      counts: atoms of each kind in the cell.
      given: starts from elsewhere, relaxed beside the random ones and kept to the end.
      assignment: the Wyckoff positions to fill, if they are known; drawn otherwise.
      max_tries: arrangements to relax, the given ones among them; from one batch on, each random
        one is the best of a few that are relaxed a little.
      rng: source of all randomness.
    """
    num_atoms = sum(counts)
    given = list(given)[:max_tries]
    least = least_distances(species)

    def place(way: Assignment) -> Arrangement | None:
        return generated_arrangement(space_group_number, cell, species, way, least, rng)

    def rough(arrangements: list[Arrangement], ancestor: list[int], steps: int = _STEPS) -> _Pool:
        result = relax(
            space_group_number,
            cell,
            species,
            arrangements,
            steps=steps,
            valence_weight=VALENCE_WEIGHT,
        )
        return _Pool(result.arrangements, ancestor, _score(result, num_atoms))

    first = _first_generation(max_tries) - len(given)
    # Small searches don't fill the batches that screening would take.
    drawn = _SCREENED * first if max_tries >= _BATCH else first
    if assignment is not None:
        ways = [assignment]
    else:
        ways = assignments(
            space_group_number,
            counts,
            num=drawn,
            rng=rng,
            cell=cell,
            least=least,
        )
    starts, exhausted = _random_starts(space_group_number, ways, drawn, rng, place)
    if len(starts) > first:
        screened = rough(starts, [-1] * len(starts), _SCREENING_STEPS)
        starts = [screened.arrangements[i] for i in _distinct(screened, first)]
    arrangements = given + starts
    if not arrangements:
        empty = Relaxation([], np.zeros(0), np.zeros(0), np.zeros(0))
        return LowArrangements(empty, np.zeros(0), [], 0, 0, 0)
    pool = rough(arrangements, [*range(len(given)), *([-1] * len(starts))])
    tried = len(arrangements)
    while not exhausted and max_tries - tried >= _BATCH:
        parents = _distinct(pool, _SURVIVORS)
        children, ancestor = [], []
        for k in range(_BATCH):
            parent = parents[k % len(parents)]
            children.append(_varied(space_group_number, pool.arrangements[parent], rng))
            ancestor.append(pool.ancestor[parent])
        more = rough(children, ancestor)
        pool = _Pool(
            pool.arrangements + more.arrangements,
            pool.ancestor + more.ancestor,
            np.concatenate([pool.score, more.score]),
        )
        tried += _BATCH

    order = _distinct(pool, _BATCH)
    order += [i for i in range(len(given)) if i not in order]
    final = relax(
        space_group_number,
        cell,
        species,
        [pool.arrangements[i] for i in order],
        steps=_FINAL_STEPS,
        valence_weight=VALENCE_WEIGHT,
    )
    score = _score(final, num_atoms)
    settled = _Pool(final.arrangements, [pool.ancestor[i] for i in order], score)
    finite = int(np.isfinite(score).sum())
    best = [i for i in _distinct(settled, len(order)) if np.isfinite(score[i])]
    return LowArrangements(
        relaxed=Relaxation(
            [final.arrangements[i] for i in best],
            final.energy[best],
            final.instability[best],
            final.force[best],
        ),
        score=score[best],
        ancestor=[settled.ancestor[i] for i in best],
        tried=tried,
        repeated=tried - len(order) + finite - len(best),
        diverged=len(order) - finite,
    )


def _first_generation(max_tries: int) -> int:
    """Arrangements that are not varied from others: a third of what exceeds one batch, and one.

    In whole batches where there is more than one: part of a batch costs as much as the whole, and
    what is too little for a batch of variations would not be used.

    >>> [_first_generation(n) for n in (16, 64, 128, 256, 1024)]
    [16, 64, 64, 128, 384]
    """
    if max_tries <= _BATCH:
        return max_tries
    return _BATCH * round((_BATCH + (max_tries - _BATCH) / 3) / _BATCH)


def _score(relaxed: Relaxation, num_atoms: int) -> np.ndarray:
    """[n], eV an atom: energy and penalty; infinite where the arithmetic failed."""
    score = relaxed.energy / num_atoms + VALENCE_WEIGHT * relaxed.instability**2
    return np.where(np.isfinite(score), score, np.inf)


def _distinct(pool: _Pool, num: int) -> list[int]:
    """Indices of the lowest scores, skipping those within 1 meV an atom of one before.

    Equal scores are equal structures, up to the choice of origin and of handedness. Descendants of
    different given starts are all kept.
    """
    chosen: list[int] = []
    last: dict[int, float] = {}
    for i in np.argsort(pool.score, kind="stable").tolist():
        ancestor = pool.ancestor[i]
        if ancestor in last and abs(pool.score[i] - last[ancestor]) < 1e-3:
            continue
        last[ancestor] = float(pool.score[i])
        chosen.append(i)
        if len(chosen) == num:
            break
    return chosen


def _random_starts(
    number: int,
    ways: Sequence[Assignment],
    wanted: int,
    rng: np.random.Generator,
    place: Callable[[Assignment], Arrangement | None],
) -> tuple[list[Arrangement], bool]:
    """Random coordinates on given positions, and whether that is all there is to try.

    Every `_GENERATED`th by `place`, which may fail; the others, and in its stead, uniform.
    """
    if wanted <= 0:
        return [], True
    free = [any(_freedom(number, p) for positions in way for p in positions) for way in ways]
    starts: list[Arrangement] = []
    for pass_ in range(-(-wanted // max(len(ways), 1)) if ways else 0):
        for way, is_free in zip(ways, free, strict=True):
            if len(starts) == wanted:
                break
            if pass_ and not is_free:
                continue
            placed = place(way) if len(starts) % _GENERATED == 0 else None
            starts.append(placed or random_arrangement(way, rng))
    return starts, not any(free)


def _freedom(number: int, position: int) -> int:
    return int(WYCKOFF_FREEDOM[number - 1, position])


def _varied(number: int, arrangement: Arrangement, rng: np.random.Generator) -> Arrangement:
    """A neighbour of an arrangement, with the same number of atoms of each species."""
    orbits = list(arrangement)
    movable = [k for k, orbit in enumerate(orbits) if _freedom(number, orbit.position) > 0]
    pairs = [
        (j, k)
        for k in range(len(orbits))
        for j in range(k)
        if orbits[j].species != orbits[k].species and orbits[j].position == orbits[k].position
    ]
    kind = rng.random()
    if kind < 0.5:
        # The right positions with the wrong coordinates are common among the best of a generation.
        for k in movable:
            orbits[k] = orbits[k]._replace(free=rng.random(3))
        return tuple(orbits)
    if pairs and kind < 0.7:
        j, k = pairs[rng.integers(len(pairs))]
        orbits[j], orbits[k] = (
            orbits[j]._replace(free=orbits[k].free),
            orbits[k]._replace(free=orbits[j].free),
        )
    elif movable:
        k = movable[rng.integers(len(movable))]
        orbits[k] = orbits[k]._replace(free=rng.random(3))
    for k in movable:
        orbits[k] = orbits[k]._replace(free=orbits[k].free + rng.normal(0, _JOLT, 3))
    return tuple(orbits)
