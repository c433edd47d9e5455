"""Padded neighbour tables: what a message-passing potential needs to know about who is near whom.

Tables are made on the host (`neighbour_tables`) and are a pytree of fixed shapes; a potential's
energy is a pure function of positions, cell and tables. Two graphs are held in one form: pairs of
atoms, and angles, which are pairs of bonds. Each pair is there once and has two ends, so that what
both ends share is computed once; what goes from one end to the other has a leading axis of two.
Beside the ends stands the inverse, for each atom (or bond) the flat numbers of the ends that it is:
a sum over neighbours is a padded gather and a reduction, and so is the gradient of a gather
(`mfal.potentials.gather`).

With a skin the tables hold pairs up to cutoff + skin. A potential that fades out at its cutoff
gives the same numbers with any skin, so the tables stay right until some pair outside them can
have come within the cutoff: `outdated` tells. Between two makings of the tables positions must not
be wrapped back into the cell, as the tables hold the images of the unwrapped ones.

Absent entries hold one past the last valid index. Sizes are rounded up to buckets so that few
shapes occur; when tables do not fit the sizes that a caller has kept, larger ones are made, and
nothing is ever left out.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.potentials.pairs import Pairs, pairs_within

__all__ = [
    "NeighbourTables",
    "Sizes",
    "bucket",
    "enlarged",
    "neighbour_tables",
    "outdated",
    "sizes_of",
]

_NO_PAIRS = Pairs(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 3), np.int32), np.zeros(0))
_TOLERANCE = 1e-3
"""Å by which a pair may be nearer than the tables vouch for, so that rounding doesn't outdate
fresh tables. Potentials fade out at least with the third power of the distance to the cutoff, and
(1e-3 / 6)^3 is nothing."""


_ROOM = (1.06, 1.02, 1.05, 1.1, 1.15)
"""Factors on sizes of tables with a skin: a program is compiled for seconds, so it should not be
outgrown as soon as atoms vibrate."""


class Sizes(NamedTuple):
    """Lengths of the padded axes."""

    near: int
    """Pairs of atoms within the inner cutoff, that of the angles (Q)."""
    far: int
    """Other pairs within the cutoff (P - Q)."""
    neighbours: int
    """Neighbours of an atom within the cutoff (K)."""
    angles: int
    """Angles, that is pairs of bonds that share an atom (A)."""
    fan: int
    """Angles that one bond is part of (D)."""


class NeighbourTables(NamedTuple):
    """Who is near whom, for one crystal of N atoms, or with a leading batch axis throughout.

    Edge p < P goes from the first atom of pair p to the second, edge P + p back. The first Q pairs
    are those within the inner cutoff, the bonds: bond q < Q points from the first atom of pair q to
    the second, bond Q + q back.
    """

    first: jax.Array
    """[P] int32, the one atom of a pair; N where there is none."""
    second: jax.Array
    """[P] int32, the other."""
    image: jax.Array
    """[P, 3] int32, whole lattice vectors to add to the second atom's position."""
    edges_of: jax.Array
    """[N, K] int32, the edges that start from an atom, bonds first; 2 P where there is none."""
    angle_first: jax.Array
    """[A] int32, the one bond of an angle, both of which start from its atom; 2 Q for none."""
    angle_second: jax.Array
    """[A] int32, the other."""
    angles_of: jax.Array
    """[2 Q, D] int32, the angles of a bond: a where it is the first of angle a, A + a where it is
    the second; 2 A where there is none."""
    positions: jax.Array
    """[N, 3] Å, where the atoms were when the tables were made."""
    cell: jax.Array
    """[3, 3] Å, the cell at that moment."""
    cutoffs: jax.Array
    """[2] Å, outer and inner cutoff, without the skin."""
    skin: jax.Array
    """[] Å."""


def bucket(number: int) -> int:
    """The least of 1 to 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, ... that is not below.

    >>> [bucket(n) for n in (0, 3, 9, 17, 100)]
    [1, 3, 10, 20, 112]
    """
    if number <= 8:
        return max(1, number)
    step = 1 << ((number - 1).bit_length() - 3)
    return -(-number // step) * step


def _fine(number: int) -> int:
    """Buckets half as wide as `bucket`'s where they are wide: work is in proportion to these."""
    if number <= 256:
        return bucket(number)
    step = 1 << ((number - 1).bit_length() - 4)
    return -(-number // step) * step


def enlarged(sizes: Sizes, factors: Sequence[float]) -> Sizes:
    """Sizes times factors, one for each, rounded up where a factor is above 1.

    >>> enlarged(Sizes(100, 200, 30, 7, 3), (1, 1, 1.1, 1.2, 1.4))
    Sizes(near=100, far=200, neighbours=40, angles=10, fan=5)
    """
    return Sizes(
        *(
            size if factor == 1 else _fine(math.ceil(size * factor - 1e-9))
            for size, factor in zip(sizes, factors, strict=True)
        )
    )


def neighbour_tables(
    positions: np.ndarray | jax.Array,
    cell: np.ndarray | jax.Array,
    species: np.ndarray | jax.Array,
    *,
    cutoff: float,
    inner: float,
    skin: float = 0.0,
    sizes: Sizes | None = None,
) -> NeighbourTables:
    """Make the tables of one crystal, or of a batch of crystals at common sizes.

    Args:
      positions: [N, 3] or [crystals, N, 3] Å.
      cell: [3, 3] or [crystals, 3, 3] Å, lattice vectors as rows.
      species: [N] or [crystals, N] atomic numbers; 0 marks absent atoms, which come last.
      cutoff: Å, of pairs.
      inner: Å, of the bonds that form angles; at most `cutoff`.
      skin: Å, added to both.
      sizes: sizes to keep where everything fits (those of earlier tables, by `sizes_of`, so that
        nothing is compiled anew); where it doesn't, larger ones are taken.

    Raises:
      MfalError: where `pairs_within` refuses.
    """
    batch = np.ndim(positions) == 3
    places = np.asarray(positions, np.float64).reshape(-1, np.shape(positions)[-2], 3)
    cells = np.asarray(cell, np.float64).reshape(-1, 3, 3)
    kinds = np.asarray(species).reshape(len(places), -1)
    graphs = []
    for some, box, kind in zip(places, cells, kinds, strict=True):
        present = int(np.count_nonzero(kind))
        if present == 0:
            graphs.append(_graph(_NO_PAIRS, inner))
        else:
            pairs = pairs_within(some[:present], box, cutoff + skin)
            graphs.append(_graph(pairs, inner + skin))
    found = _common([graph.sizes for graph in graphs])
    final = sizes or Sizes(1, 1, 1, 1, 1)
    # Sizes that suffice are kept. Where one does not, all get room if atoms are going to move.
    if any(f > k for f, k in zip(found, final, strict=True)):
        room = _ROOM if skin else (1.0,) * len(found)
        wanted = [_fine(math.ceil(f * factor)) for f, factor in zip(found, room, strict=True)]
        final = Sizes(*map(max, wanted, final))
    tables = [_padded(graph, places.shape[1], final) for graph in graphs]
    # Numpy until the end: an eager operation on the device would compile a program per shape.
    dtype = np.dtype(
        positions.dtype if isinstance(positions, jax.Array) else jnp.result_type(float)
    )
    stacked = [np.stack(parts) for parts in zip(*tables, strict=True)]
    made = [places, cells, np.full((len(places), 2), [cutoff, inner]), np.full(len(places), skin)]
    leaves = stacked + [part.astype(dtype) for part in made]
    return NeighbourTables(*jax.device_put(leaves if batch else [leaf[0] for leaf in leaves]))


def sizes_of(neighbours: NeighbourTables) -> Sizes:
    """The sizes that tables were padded to."""
    near = neighbours.angles_of.shape[-2] // 2
    return Sizes(
        near,
        neighbours.first.shape[-1] - near,
        neighbours.edges_of.shape[-1],
        neighbours.angle_first.shape[-1],
        neighbours.angles_of.shape[-1],
    )


def outdated(neighbours: NeighbourTables, positions: jax.Array, cell: jax.Array) -> jax.Array:
    """Whether a pair that the tables don't hold may have come within a cutoff. Traces; [] bool.

    With the cell deformed by F and atoms moved by d beyond that, a pair at distance r is now at
    least at |r F| - 2 max |d|, and |r F| >= (1 - |F - 1|) r by the Frobenius norm. So the tables
    are good while (1 - |F - 1|)(cutoff + skin) - 2 max |d| >= cutoff: at a fixed cell, until an
    atom has moved half the skin. For one crystal; `vmap` it for a batch.
    """
    deformation = jnp.linalg.inv(neighbours.cell) @ cell
    moved = positions - neighbours.positions @ deformation
    # Atoms that have no neighbour at all, absent ones among them, count too: they may get one.
    farthest = jnp.sqrt(jnp.max(jnp.sum(moved**2, -1)))
    strain = jnp.sqrt(jnp.sum((deformation - jnp.eye(3, dtype=cell.dtype)) ** 2))
    left = (1 - strain) * (neighbours.cutoffs + neighbours.skin) - 2 * farthest
    # Not `left < cutoffs`, so that a position that is no number counts as outdated.
    return ~jnp.all(left >= neighbours.cutoffs - _TOLERANCE)


class _Graph(NamedTuple):
    """Pairs of one crystal, those within the inner cutoff first, and its angles."""

    sizes: Sizes
    pairs: Pairs
    near: int
    """Bonds are numbered as in `NeighbourTables` with this for Q."""
    starts: np.ndarray
    """The atom that each edge starts from, as many as twice the pairs."""
    place: np.ndarray
    """Each edge's place among those of its atom."""
    angles: np.ndarray
    """[2, angles], the bonds of each."""
    angle_place: np.ndarray
    """The place of each angle among those of the first bond, then among those of the second."""


def _graph(pairs: Pairs, inner: float) -> _Graph:
    beyond = pairs.distance >= inner
    order = np.argsort(beyond, kind="stable")
    pairs = Pairs(*(column[order] for column in pairs))
    near = len(beyond) - int(np.count_nonzero(beyond))
    starts = np.concatenate([pairs.first, pairs.second])
    # Sorted by whether they are bonds, so those are the first of an atom's edges.
    place, widest = _places(starts, np.concatenate([beyond[order], beyond[order]]))

    # Bonds by their atom; bond b of an atom with m bonds makes an angle with each that follows it.
    centre = np.concatenate([pairs.first[:near], pairs.second[:near]])
    bonds = np.argsort(centre, kind="stable")
    ends = np.searchsorted(centre[bonds], centre[bonds], side="right")
    followers = ends - np.arange(len(bonds)) - 1
    first = np.repeat(np.arange(len(bonds)), followers)
    second = np.arange(len(first)) - np.repeat(np.cumsum(followers) - followers, followers)
    second += first + 1
    angles = np.stack([bonds[first], bonds[second]])
    angle_place, fan = _places(angles.ravel())
    sizes = Sizes(near, len(beyond) - near, widest, angles.shape[1], fan)
    return _Graph(sizes, pairs, near, starts, place, angles, angle_place)


def _places(groups: np.ndarray, late: np.ndarray | None = None) -> tuple[np.ndarray, int]:
    """Each entry's place among the entries of its number, and the most entries of one number.

    Those that are late come after the others.
    """
    keys = groups if late is None else 2 * groups + late
    order = np.argsort(keys, kind="stable")
    ordered = groups[order]
    places = np.empty(len(groups), int)
    places[order] = np.arange(len(groups)) - np.searchsorted(ordered, ordered)
    return places, int(places.max(initial=-1)) + 1


def _common(sizes: Sequence[Sizes]) -> Sizes:
    return Sizes(*(max(column) for column in zip(*sizes, strict=True)))


def _padded(graph: _Graph, atoms: int, sizes: Sizes) -> tuple[np.ndarray, ...]:
    """The first seven fields of `NeighbourTables`."""
    near, total = graph.near, sizes.near + sizes.far
    slot = np.arange(len(graph.pairs.first))
    slot[near:] += sizes.near - near
    first, second = np.full((2, total), atoms, np.int32)
    first[slot], second[slot] = graph.pairs.first, graph.pairs.second
    image = np.zeros((total, 3), np.int32)
    image[slot] = graph.pairs.image
    edges_of = np.full((atoms, sizes.neighbours), 2 * total, np.int32)
    edges_of[graph.starts, graph.place] = np.concatenate([slot, slot + total])

    bonds = np.where(graph.angles < near, graph.angles, graph.angles + sizes.near - near)
    count = bonds.shape[1]
    ends = np.full((2, sizes.angles), 2 * sizes.near, np.int32)
    ends[:, :count] = bonds
    numbers = np.arange(count)
    angles_of = np.full((2 * sizes.near, sizes.fan), 2 * sizes.angles, np.int32)
    angles_of[bonds.ravel(), graph.angle_place] = np.concatenate([numbers, numbers + sizes.angles])
    return first, second, image, edges_of, *ends, angles_of
