"""Whole state graphs of small environments, by breadth-first search."""

from collections.abc import Iterator
from itertools import combinations, product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.crystals.groups import WYCKOFF_FREEDOM, WYCKOFF_MULTIPLICITY
from mfal.envs.crystal.spec import CrystalSpec, count_bounds, species_list
from mfal.envs.crystal.validity import holds_counts
from mfal.envs.types import Action, Environment

CHUNK = 512


class Graph(NamedTuple):
    """States in the order of their depth; edges by state number."""

    states: Any
    """Leaves [n, ...]."""
    sources: np.ndarray
    indices: np.ndarray
    targets: np.ndarray
    """[e] source, action index and target of each edge."""
    legal: np.ndarray
    """[n, A] bool."""
    backward: np.ndarray
    """[n, A] bool."""


def _key(leaves: list[np.ndarray], i: int) -> bytes:
    return b"".join(np.ascontiguousarray(leaf[i]).tobytes() for leaf in leaves)


def explore(env: Environment, ends: Any = None) -> Graph:
    """All states that any actions lead to, with 0.5 for every continuous value.

    Args:
      env: an environment whose graph is small.
      ends: states whose actions aren't followed, a batched predicate; by default terminal ones.
    """
    masks = jax.jit(jax.vmap(env.action_mask))
    parents = jax.jit(jax.vmap(env.parent_mask))
    stop = jax.jit(jax.vmap(ends or env.is_terminal))
    step = jax.jit(jax.vmap(env.step))

    def chunks(tree: Any, function: Any, *more: Any) -> Any:
        size = len(jax.tree.leaves(tree)[0])
        parts = []
        for start in range(0, size, CHUNK):
            index = np.minimum(np.arange(start, start + CHUNK), size - 1)
            part = jax.tree.map(lambda x, index=index: x[index], (tree, *more))
            kept = min(CHUNK, size - start)
            parts.append(jax.tree.map(lambda x, k=kept: np.asarray(x)[:k], function(*part)))
        return jax.tree.map(lambda *xs: np.concatenate(xs), *parts)

    frontier = jax.tree.map(lambda x: np.asarray(x)[None], env.initial_state())
    structure = jax.tree.structure(frontier)
    number = {_key(jax.tree.leaves(frontier), 0): 0}
    layers, legal, backward, edges = [frontier], [], [], []
    ids = np.zeros(1, int)
    while len(ids):
        mask, parent = chunks(frontier, masks), chunks(frontier, parents)
        legal.append(mask)
        backward.append(parent)
        row, index = np.nonzero(mask & ~chunks(frontier, stop)[:, None])
        if not len(row):
            break
        action = Action(index.astype(np.int32), np.full(len(index), 0.5, np.float32))
        children = chunks(jax.tree.map(lambda x, row=row: x[row], frontier), step, action)
        leaves = jax.tree.leaves(children)
        fresh, targets = [], []
        for i in range(len(row)):
            key = _key(leaves, i)
            if key not in number:
                number[key] = len(number)
                fresh.append(i)
            targets.append(number[key])
        edges.append((ids[row], index, np.array(targets)))
        first = len(number) - len(fresh)
        frontier = jax.tree.unflatten(structure, [leaf[fresh] for leaf in leaves])
        ids = np.arange(first, len(number))
        if len(fresh):
            layers.append(frontier)
    states = jax.tree.map(lambda *xs: np.concatenate(xs), *layers)
    sources, indices, targets = (np.concatenate(part) for part in zip(*edges, strict=True))
    return Graph(states, sources, indices, targets, np.concatenate(legal), np.concatenate(backward))


def valid_crystals(spec: CrystalSpec) -> set[tuple[int, tuple[tuple[int, int], ...]]]:
    """(group number, ((species, count), ...)) of all that a spec allows, by plain search."""
    groups = spec.groups or tuple(range(1, 231))
    found = set()
    for composition in _compositions(spec):
        counts = tuple(n for _, n in composition)
        found |= {(g, composition) for g in groups if holds_counts(g, counts)}
    return found


def _compositions(spec: CrystalSpec) -> Iterator[tuple[tuple[int, int], ...]]:
    species = species_list(spec)
    elements = range(len(spec.states))
    least, most = spec.element_limits
    for size in range(least, most + 1):
        for chosen in combinations(elements, size):
            symbols = {spec.states[e][0] for e in chosen}
            if not set(spec.required) <= symbols:
                continue
            options = [[i for i, s in enumerate(species) if s.element == e] for e in chosen]
            for kinds in product(*options):
                ranges = [range(1, spec.max_atoms_per_element + 1)] * size
                for counts in product(*ranges):
                    total = sum(counts)
                    if not spec.min_atoms <= total <= spec.max_atoms:
                        continue
                    if sum(species[i].state * n for i, n in zip(kinds, counts, strict=True)):
                        continue
                    bounds = [count_bounds(spec, species[i].symbol, total) for i in kinds]
                    if all(
                        low <= n <= high and n % species[i].repeat == 0
                        for i, n, (low, high) in zip(kinds, counts, bounds, strict=True)
                    ):
                        yield tuple(sorted(zip(kinds, counts, strict=True)))


def discrete_part(spec: CrystalSpec, state: Any, i: int) -> tuple:
    """Group number and composition of a state in a batch."""
    none = len(species_list(spec))
    pairs = zip(state.species[i].tolist(), state.counts[i].tolist(), strict=True)
    return int(state.group[i]) + 1, tuple((s, n) for s, n in pairs if s < none)


def at_lattice(state: Any) -> jax.Array:
    """Whether group and composition are complete."""
    return state.finished & (state.group >= 0) & jnp.bool_(True)


def assignments(group: int, counts: tuple[int, ...]) -> set[tuple[tuple[int, ...], ...]]:
    """All ways to fill Wyckoff positions: orbits of each element, letter by letter."""
    multiplicity, freedom = WYCKOFF_MULTIPLICITY[group - 1], WYCKOFF_FREEDOM[group - 1]
    partial = {counts: [()]}
    for size, free in zip(multiplicity.tolist(), freedom.tolist(), strict=True):
        further: dict[tuple[int, ...], list] = {}
        for left, ways in partial.items():
            most = max(left) // size if size else 0
            for orbits in product(
                range(most + 1 if free > 0 else min(most, 1) + 1), repeat=len(left)
            ):
                rest = tuple(n - size * k for n, k in zip(left, orbits, strict=True))
                if min(rest) >= 0 and (free > 0 or sum(orbits) <= 1):
                    further.setdefault(rest, []).extend((*way, orbits) for way in ways)
        partial = further
    return set(partial.get((0,) * len(counts), []))
