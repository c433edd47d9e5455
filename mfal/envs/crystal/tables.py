"""Look-ahead tables: which species may come next so that some valid crystal is still reached.

A partial composition is summed up by a node (total, pattern, atoms, charge) and by a Wyckoff state:

- total: the fixed number of atoms in the cell, where the spec bounds fractions (else one for all);
- pattern: how many elements are used;
- atoms and charge so far;
- the Wyckoff state of `mfal.envs.crystal.automata`, of the chosen group.

From the last level to the first, `options[node, wyckoff]` collects the species that can be chosen
next and, with some count, lead to a state that is complete or has options itself. Elements come in
the order of the spec: choices below the last one are masked out on look-up, so that the same table
serves every last element. Nothing is approximated: an action is legal if and only if a valid
crystal can be reached through it.

Built in NumPy, kept on disk under the user's cache folder (or MFAL_CACHE) by a hash of what they
depend on.
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from mfal.envs.crystal.automata import DEAD, WyckoffAutomaton, wyckoff_automaton
from mfal.envs.crystal.spec import CrystalSpec, Species, count_bounds, species_list
from mfal.errors import MfalError

__all__ = ["CompositionTables", "build_tables"]

MAX_BYTES = 2_000_000_000
"""Specs whose table would be larger are refused."""


class CompositionTables(NamedTuple):
    """Everything that the masks look up. S species, W = ceil(S / 32) words of bits over them."""

    totals: np.ndarray
    """[N] int32, total numbers of atoms that are chosen ahead; [1] holding 0 where none is."""
    charge: np.ndarray
    """[S, n + 1] int32, charge of 0 to n atoms of a species."""
    count_ok: np.ndarray
    """[N, S, n + 1] bool, allowed counts of a species that is present."""
    pattern_next: np.ndarray
    """[P, S + 1] int32, pattern after a species; -1 where it can't follow. Pattern 0 is empty."""
    pattern_done: np.ndarray
    """[P] bool, whether the elements suffice for a complete composition."""
    exclude: np.ndarray
    """[S + 1, W] uint32, species ruled out once a species is chosen; row S rules out none."""
    node: np.ndarray
    """[N, P, atoms + 1, Q] int32, row in `options`, charge offset by (Q - 1) / 2."""
    options: np.ndarray
    """[rows, M, W] uint32, bits of the species that can come next."""
    wyckoff_start: np.ndarray
    """[230] int32, state of each group; DEAD where the spec leaves it out."""
    wyckoff_step: np.ndarray
    """[M, n + 1] int32, transitions of every group's state."""


def _bits_of(members: np.ndarray) -> np.ndarray:
    """[..., S] bool to [..., W] uint32, species 0 in the lowest bit.

    >>> _bits_of(np.array([True, False, True])).tolist()
    [5]
    """
    words = -(-members.shape[-1] // 32)
    padded = np.zeros((*members.shape[:-1], words * 32), np.uint64)
    padded[..., : members.shape[-1]] = members
    powers = np.uint64(1) << np.arange(32, dtype=np.uint64)
    return (padded.reshape(*members.shape[:-1], words, 32) * powers).sum(-1).astype(np.uint32)


def build_tables(spec: CrystalSpec, group_allowed: np.ndarray) -> CompositionTables:
    """Build the tables of a spec.

    Args:
      spec: the crystals that may be made.
      group_allowed: [230] bool, groups that the spec lists and whose lattice its ranges admit.

    Raises:
      MfalError: when no crystal obeys the spec, or the tables would be too large.
    """
    species = species_list(spec)
    totals = _totals(spec)
    max_count = min(spec.max_atoms_per_element, spec.max_atoms)
    counts = np.arange(max_count + 1)
    charge = np.array([[int(s.state * Fraction(int(n))) for n in counts] for s in species])
    count_ok = np.zeros((len(totals), len(species), max_count + 1), bool)
    for i, total in enumerate(totals):
        for j, s in enumerate(species):
            low, high = count_bounds(spec, s.symbol, int(total) or spec.max_atoms)
            count_ok[i, j] = (counts >= low) & (counts <= high) & (counts % s.repeat == 0)
    pattern_next, pattern_done, level = _patterns(spec, species)

    automaton = wyckoff_automaton(max_count)
    start = np.where(group_allowed, automaton.start, DEAD).astype(np.int32)

    graph = _Graph(spec, totals, charge, count_ok, pattern_next, pattern_done, level)
    node = _nodes(graph)
    exclude = _exclusions(species)
    options = _options(graph, node, automaton, species)
    return CompositionTables(
        totals=totals,
        charge=charge.astype(np.int32),
        count_ok=count_ok,
        pattern_next=np.pad(pattern_next, ((0, 0), (0, 1)), constant_values=-1),
        pattern_done=pattern_done,
        exclude=exclude,
        node=node,
        options=options,
        wyckoff_start=start,
        wyckoff_step=automaton.step,
    )


class _Graph(NamedTuple):
    """Nodes and edges of partial compositions, without the Wyckoff state."""

    spec: CrystalSpec
    totals: np.ndarray
    charge: np.ndarray
    count_ok: np.ndarray
    pattern_next: np.ndarray
    pattern_done: np.ndarray
    level: np.ndarray
    """[P], elements used."""

    def classes(self) -> list[np.ndarray]:
        """Species that lead to the same nodes, grouped."""
        keys: dict[bytes, list[int]] = {}
        for s in range(len(self.charge)):
            key = self.charge[s].tobytes() + self.count_ok[:, s].tobytes()
            keys.setdefault(key + self.pattern_next[:, s].tobytes(), []).append(s)
        return [np.array(members) for members in keys.values()]

    def done(self, total: int, pattern: int, charge_range: int) -> np.ndarray:
        """[atoms + 1, Q] bool, complete compositions of a pattern."""
        atoms = np.arange(self.spec.max_atoms + 1)
        fits = atoms == self.totals[total] if self.totals[total] else atoms >= self.spec.min_atoms
        done = np.zeros((len(atoms), 2 * charge_range + 1), bool)
        done[:, charge_range] = fits & self.pattern_done[pattern]
        return done


def _totals(spec: CrystalSpec) -> np.ndarray:
    if not spec.fractions:
        return np.zeros(1, np.int32)
    totals = [
        total
        for total in range(spec.min_atoms, spec.max_atoms + 1)
        if all(low <= high for low, high in (count_bounds(spec, s, total) for s in spec.required))
    ]
    return np.array(totals or [spec.max_atoms], np.int32)


def _patterns(
    spec: CrystalSpec, species: tuple[Species, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Transitions [P, S], completeness [P] and number of elements [P] of the patterns."""
    element = np.array([s.element for s in species])
    least, most = spec.element_limits
    needed = len(spec.required)
    level = np.arange(most + 1)
    following = np.full((most + 1, len(species)), -1, np.int32)
    for k in range(most):
        # The required elements head the list, so the first few choices are theirs.
        fitting = element == k if k < needed else element >= needed
        following[k, fitting] = k + 1
    return following, level >= max(least, needed), level


def _exclusions(species: tuple[Species, ...]) -> np.ndarray:
    element = np.array([s.element for s in species])
    ruled_out = element[None, :] <= element[:, None]
    return _bits_of(np.vstack([ruled_out, np.zeros(len(species), bool)]))


def _charge_range(graph: _Graph) -> int:
    """Greatest charge of a partial composition that further atoms can still make up for."""
    atoms = np.arange(graph.spec.max_atoms + 1)
    per_atom = graph.charge[:, 1:] / np.arange(1, graph.charge.shape[1])
    most, least = max(per_atom.max(), 0), max(-per_atom.min(), 0)
    high = np.minimum(atoms * most, atoms[::-1] * least)
    low = np.minimum(atoms * least, atoms[::-1] * most)
    return int(np.ceil(max(high.max(), low.max())))


def _shift(table: np.ndarray, atoms: int, charge: int, out: np.ndarray) -> None:
    """out[a + atoms, q + charge] |= table[a, q], within bounds."""
    rows, columns = table.shape
    if atoms >= rows or abs(charge) >= columns:
        return
    source = slice(max(0, -charge), columns - max(0, charge))
    target = slice(max(0, charge), columns - max(0, -charge))
    out[atoms:, target] |= table[: rows - atoms, source]


def _nodes(graph: _Graph) -> np.ndarray:
    """Number the nodes that the start leads to and that lead to an end, Wyckoff left aside."""
    charge_range = _charge_range(graph)
    patterns = len(graph.level)
    shape = (len(graph.totals), patterns, graph.spec.max_atoms + 1, 2 * charge_range + 1)
    if np.prod(shape, dtype=float) * 4 > MAX_BYTES:
        raise _too_large()
    node = np.zeros(shape, np.int32)
    order = np.argsort(graph.level, kind="stable")
    first = 1
    for t in range(len(graph.totals)):
        edges = [
            (group[0], n)
            for group in graph.classes()
            for n in np.flatnonzero(graph.count_ok[t, group[0]])
        ]
        reached = np.zeros(shape[1:], bool)
        reached[0, 0, charge_range] = True
        for p in order:
            if reached[p].any():
                for s, n in edges:
                    if (after := graph.pattern_next[p, s]) >= 0:
                        _shift(reached[p], int(n), int(graph.charge[s, n]), reached[after])
        finishing = np.zeros(shape[1:], bool)
        completing = np.zeros(shape[1:], bool)
        for p in order[::-1]:
            for s, n in edges:
                if (after := graph.pattern_next[p, s]) >= 0:
                    # Backwards: reverse both axes, shift, reverse again.
                    _shift(
                        completing[after][::-1, ::-1],
                        int(n),
                        int(graph.charge[s, n]),
                        finishing[p][::-1, ::-1],
                    )
            completing[p] = finishing[p] | graph.done(t, p, charge_range)
        kept = reached & finishing
        node[t][kept] = np.arange(first, first + kept.sum())
        first += int(kept.sum())
    return node


def _options(
    graph: _Graph,
    node: np.ndarray,
    automaton: WyckoffAutomaton,
    species: tuple[Species, ...],
) -> np.ndarray:
    """Fill `options` from the last level to the first."""
    states, words = len(automaton.step), -(-len(species) // 32)
    rows = int(node.max()) + 1
    if rows * states * words * 4 > MAX_BYTES:
        raise _too_large()
    options = np.zeros((rows, states, words), np.uint32)
    element = np.array([s.element for s in species])
    num_elements = int(element.max()) + 1
    charge_range = node.shape[-1] // 2
    members = [_bits_of(element == e) for e in range(num_elements)]
    # Rank of a child: 0 dead, e + 1 if e is the last element that can come next, top if complete.
    # A species can lead to it if its element is below the rank.
    top = num_elements + 1
    ranks = np.arange(top + 1)[:, None]
    passing = element + 1 < ranks
    classes = [
        (group, _bits_of(np.isin(np.arange(len(species)), group))) for group in graph.classes()
    ]
    below = _bits_of(passing)

    for level in range(int(graph.level.max()) - 1, -1, -1):
        child_patterns = np.flatnonzero(graph.level == level + 1)
        for t in range(len(graph.totals)):
            # Rank of every child node and Wyckoff state; child 0 is dead.
            child = np.zeros((len(graph.level), *node.shape[2:]), np.int64)
            child_rank = [np.zeros((1, states), np.uint8)]
            first = 1
            for p in child_patterns:
                done = graph.done(t, int(p), charge_range)
                useful = (node[t, p] > 0) | done
                child[p][useful] = np.arange(first, first + useful.sum())
                first += int(useful.sum())
                onward = options[node[t, p][useful]]
                rank = np.zeros(onward.shape[:2], np.uint8)
                for e in range(num_elements):
                    rank[((onward & members[e]) != 0).any(-1)] = e + 1
                rank[done[useful]] = top
                rank[:, DEAD] = 0
                child_rank.append(rank)
            ranks_of = np.concatenate(child_rank)

            for p in np.flatnonzero(graph.level == level):
                atoms, charge = np.nonzero(node[t, p])
                if not len(atoms):
                    continue
                best = {}
                for i, (group, _) in enumerate(classes):
                    if graph.pattern_next[p, group[0]] >= 0:
                        best[i] = np.zeros((len(atoms), states), np.uint8)
                for n in range(1, automaton.step.shape[1]):
                    turned = None
                    for i, rank in best.items():
                        s = classes[i][0][0]
                        if not graph.count_ok[t, s, n]:
                            continue
                        a, q = atoms + n, charge + graph.charge[s, n]
                        inside = (a < child.shape[1]) & (q >= 0) & (q < child.shape[2])
                        target = np.zeros(len(atoms), np.int64)
                        target[inside] = child[graph.pattern_next[p, s]][a[inside], q[inside]]
                        hit = np.flatnonzero(target)
                        if not len(hit):
                            continue
                        if turned is None:
                            turned = ranks_of[:, automaton.step[:, n]]
                        rank[hit] = np.maximum(rank[hit], turned[target[hit]])
                rows_here = node[t, p][atoms, charge]
                for i, rank in best.items():
                    options[rows_here] |= below[rank] & classes[i][1]
    return options


def _too_large() -> MfalError:
    return MfalError(
        "the look-ahead tables of this spec would take over 2 GB",
        "lower max_atoms, element_limits or the number of elements",
    )
