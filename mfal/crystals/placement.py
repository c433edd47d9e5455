"""Which Wyckoff positions the atoms of a cell may occupy, and random starts on them.

The Wyckoff tables are pyxtal's (`mfal.crystals.orbits`). Uniform draws are made here, in whole
batches for `mfal.crystals.relax`; those without near contacts by `mfal.crystals.generator`.
"""

import itertools
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from mfal.crystals.groups import WYCKOFF_FREEDOM, WYCKOFF_MULTIPLICITY
from mfal.crystals.orbits import wyckoff_operations
from mfal.crystals.relax import Arrangement, Orbit

__all__ = ["Assignment", "assignments", "random_arrangement"]

Assignment = tuple[tuple[int, ...], ...]
"""For each species, the positions of its orbits."""

_MAX_CHOICES = 400  # ways to place one species that are considered
_MAX_PRODUCT = 20_000  # joint choices that are listed rather than drawn
_PARSIMONY = 1.0
_SAMPLES = 48  # of free coordinates, to find the room on a position


def assignments(
    space_group_number: int,
    counts: Sequence[int],
    *,
    num: int,
    rng: np.random.Generator,
    cell: np.ndarray | None = None,
    least: np.ndarray | None = None,
) -> list[Assignment]:
    """Up to `num` different ways to share out the positions of a space group, likeliest mostly.

    An assignment with k orbits has weight exp(-k): known crystals are parsimonious. Positions
    without a free coordinate are used at most once. Drawn without replacement where the ways can
    be listed. Returns fewer, or none, where there are not as many.

    Args:
      space_group_number: 1 to 230.
      counts: atoms of each species in the conventional cell.
      num: assignments wanted.
      rng: source of all randomness.
      cell: [3, 3] rows a, b, c, Å. With `least` it leaves out assignments whose atoms must come
        too near each other, whatever their free coordinates.
      least: [S, S] shortest distances of the species, Å.
    """
    num_positions = int((WYCKOFF_MULTIPLICITY[space_group_number - 1] > 0).sum())
    fixed = WYCKOFF_FREEDOM[space_group_number - 1] == 0
    if cell is None or least is None:
        roomy = np.ones((len(counts), num_positions), bool)
        between = np.full((num_positions, num_positions), np.inf)
        least = np.zeros((len(counts), len(counts)))
    else:
        largest = max(counts, default=0)
        room, between = _rooms(space_group_number, np.asarray(cell, float), largest)
        roomy = room > np.diag(least)[:, None]
    choices = [
        _choices(space_group_number, int(count), tuple(np.flatnonzero(allowed).tolist()))
        for count, allowed in zip(counts, roomy, strict=True)
    ]
    if not all(choices):
        return []

    def compatible(assignment: Assignment) -> bool:
        used = [(p, s) for s, own in enumerate(assignment) for p in own if fixed[p]]
        return all(
            p != q and between[p, q] > least[s, t]
            for k, (p, s) in enumerate(used)
            for q, t in used[:k]
        )

    if np.prod([float(len(c)) for c in choices]) <= _MAX_PRODUCT:
        listed = [a for a in itertools.product(*choices) if compatible(a)]
        if not listed:
            return []
        # Adding Gumbel noise to log weights and taking the largest draws without replacement.
        orbits = np.array([sum(map(len, a)) for a in listed])
        keys = -_PARSIMONY * orbits + rng.gumbel(size=len(listed))
        return [listed[i] for i in np.argsort(-keys, kind="stable")[:num]]

    weights = []
    for ways in choices:
        size = np.array([len(way) for way in ways], float)
        weight = np.exp(-_PARSIMONY * (size - size.min()))
        weights.append(weight / weight.sum())
    found: dict[Assignment, None] = {}
    for _ in range(20 * num):
        drawn = tuple(
            ways[rng.choice(len(ways), p=weight)]
            for ways, weight in zip(choices, weights, strict=True)
        )
        if compatible(drawn):
            found.setdefault(drawn)
            if len(found) == num:
                break
    return list(found)


def random_arrangement(assignment: Assignment, rng: np.random.Generator) -> Arrangement:
    """Uniformly random free coordinates on the positions of an assignment."""
    return tuple(
        Orbit(species, position, rng.random(3))
        for species, positions in enumerate(assignment)
        for position in positions
    )


def _rooms(number: int, cell: np.ndarray, largest: int) -> tuple[np.ndarray, np.ndarray]:
    """Room on each position [P], and between positions without freedom [P, P], Å.

    The room of a position is the shortest distance among its atoms and their images, where the
    free coordinates make that largest (of a fixed set of samples, and a tenth more to be safe).
    Positions with more than `largest` atoms have none.
    """
    count = int((WYCKOFF_MULTIPLICITY[number - 1] > 0).sum())
    images = np.array(list(itertools.product((-1, 0, 1), repeat=3))) @ cell
    samples = np.random.default_rng(0).random((_SAMPLES, 3))

    def nearest(gap: np.ndarray) -> np.ndarray:
        """Shortest nonzero distance over all but the first axis."""
        vector = (gap - gap.round()) @ cell
        square = ((vector[..., None, :] + images) ** 2).sum(-1)
        square[square < 1e-8] = np.inf
        return np.sqrt(square.reshape(len(gap), -1).min(1))

    room = np.zeros(count)
    spots: dict[int, np.ndarray] = {}
    for p in range(count):
        linear, shift = wyckoff_operations(number, p)
        if len(shift) > largest:
            continue
        if WYCKOFF_FREEDOM[number - 1, p] == 0:
            spots[p] = shift
            room[p] = nearest((shift - shift[0])[None])[0]
        else:
            places = np.einsum("mij,sj->smi", linear, samples) + shift
            room[p] = 1.1 * nearest(places - places[:, :1]).max()
    between = np.full((count, count), np.inf)
    for p, q in itertools.combinations(spots, 2):
        between[p, q] = between[q, p] = nearest((spots[p] - spots[q][0])[None])[0]
    return room, between


@lru_cache(maxsize=4096)
def _choices(number: int, count: int, allowed: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Multisets of allowed positions that hold `count` atoms, those of fewest orbits first.

    All of a given number of orbits are listed before any with more, until `_MAX_CHOICES`.
    """
    multiplicity = WYCKOFF_MULTIPLICITY[number - 1]
    positions = sorted(allowed, key=lambda p: -multiplicity[p])
    if not positions:
        return ()
    size = [int(multiplicity[p]) for p in positions]
    once = [bool(WYCKOFF_FREEDOM[number - 1, p] == 0) for p in positions]
    smallest = min(size)
    found: list[tuple[int, ...]] = []

    def extend(start: int, left: int, orbits: int, chosen: tuple[int, ...]) -> None:
        if orbits == 0:
            if left == 0:
                found.append(chosen)
            return
        if left < orbits * smallest or len(found) >= _MAX_CHOICES:
            return
        for i in range(start, len(positions)):
            if size[i] * orbits < left:
                break  # positions are in order of size: none of the rest can reach
            if size[i] <= left:
                following = i + 1 if once[i] else i
                extend(following, left - size[i], orbits - 1, (*chosen, positions[i]))

    for orbits in range(1, count // smallest + 1):
        extend(0, count, orbits, ())
        if len(found) >= _MAX_CHOICES:
            break
    return tuple(found)
