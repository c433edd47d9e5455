"""Padded neighbour tables: what a message-passing potential needs to know about who is near whom.

Tables are made on the host (`neighbour_tables`) and are a pytree of fixed shapes; a potential's
energy is a pure function of positions, cell and tables. Every sum over neighbours is a reduction
over a padded axis, and every gather carries its inverse, so that its gradient is a gather too
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

__all__ = ["NeighbourTables", "Sizes", "bucket", "neighbour_tables", "outdated", "sizes_of"]

_NO_PAIRS = Pairs(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 3), np.int32), np.zeros(0))
_TOLERANCE = 1e-3
"""Å by which a pair may be nearer than the tables vouch for, so that rounding doesn't outdate
fresh tables. Potentials fade out at least with the third power of the distance to the cutoff, and
(1e-3 / 6)^3 is nothing."""


_ROOM = (1.02, 1.2, 1.1, 1.15, 1.2)
"""Factors on sizes of tables with a skin: a program is compiled for seconds, so it should not be
outgrown as soon as atoms vibrate."""


class Sizes(NamedTuple):
    """Lengths of the padded axes."""

    neighbours: int
    """NeighbourTables of an atom within the cutoff (K)."""
    near: int
    """NeighbourTables of an atom within the inner cutoff, that of the angles (L <= K)."""
    bonds: int
    """Directed bonds within the inner cutoff (B)."""
    angles: int
    """Ordered pairs of different bonds that share their centre (A)."""
    fan: int
    """Angles that start with one bond (D)."""


class NeighbourTables(NamedTuple):
    """Who is near whom, for one crystal of N atoms, or with a leading batch axis throughout.

    Edges are directed, from an atom to a neighbour; slot k of atom i is its k-th nearest
    neighbour, so that the first L slots hold the bonds within the inner cutoff.
    """

    neighbour: jax.Array
    """[N, K] int32, the neighbour's index; N where there is none."""
    image: jax.Array
    """[N, K, 3] int32, whole lattice vectors to add to the neighbour's position."""
    reverse: jax.Array
    """[N, K] int32, the flat slot i K + k of the opposite edge; N K where there is none."""
    bond: jax.Array
    """[N, L] int32, the number of the bond in that slot; B where there is none."""
    bond_slot: jax.Array
    """[B] int32, the flat slot i L + l of a bond; N L where there is none."""
    bond_reverse: jax.Array
    """[B] int32, the opposite bond; B where there is none."""
    angle_first: jax.Array
    """[A] int32, an angle's first bond; B where there is none."""
    angle_second: jax.Array
    """[A] int32, its second bond."""
    angles_of_first: jax.Array
    """[B, D] int32, the angles that start with a bond; A where there is none."""
    angles_of_second: jax.Array
    """[B, D] int32, the angles that end with it."""
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
        wanted = [bucket(math.ceil(f * factor)) for f, factor in zip(found, room, strict=True)]
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
    return Sizes(
        neighbours.neighbour.shape[-1],
        neighbours.bond.shape[-1],
        neighbours.bond_slot.shape[-1],
        neighbours.angle_first.shape[-1],
        neighbours.angles_of_first.shape[-1],
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
    """Directed edges of one crystal, sorted by centre and distance, and its angles."""

    sizes: Sizes
    centre: np.ndarray
    neighbour: np.ndarray
    image: np.ndarray
    slot: np.ndarray
    reverse: np.ndarray
    near: np.ndarray
    angle_first: np.ndarray
    angle_second: np.ndarray
    angle_place: np.ndarray
    """Each angle's place in the fan of its first bond."""
    angle_swap: np.ndarray
    """The same two bonds in the other order."""


def _graph(pairs: Pairs, inner: float) -> _Graph:
    half = len(pairs.first)
    centre = np.concatenate([pairs.first, pairs.second])
    neighbour = np.concatenate([pairs.second, pairs.first])
    image = np.concatenate([pairs.image, -pairs.image])
    distance = np.concatenate([pairs.distance, pairs.distance])
    order = np.lexsort((distance, centre))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    centre, neighbour, image = centre[order], neighbour[order], image[order]
    reverse = rank[(order + half) % (2 * half)] if half else order
    slot, widest = _places(centre)

    near = np.nonzero(distance[order] < inner)[0]
    _, near_widest = _places(centre[near])
    starts = np.searchsorted(centre[near], centre[near])
    degree = np.searchsorted(centre[near], centre[near], side="right") - starts
    # Bond b of a centre with m bonds starts m - 1 angles: with each of the others in turn.
    angle_first = np.repeat(np.arange(len(near)), degree - 1)
    angle_place, fan = _places(angle_first)
    own = np.arange(len(near)) - starts
    second_place = angle_place + (angle_place >= own[angle_first])
    angle_second = starts[angle_first] + second_place
    before = np.concatenate([[0], np.cumsum(degree - 1)]).astype(int)
    swap_place = own[angle_first] - (own[angle_first] > second_place)
    return _Graph(
        sizes=Sizes(widest, near_widest, len(near), len(angle_first), fan),
        centre=centre,
        neighbour=neighbour,
        image=image,
        slot=slot,
        reverse=reverse,
        near=near,
        angle_first=angle_first,
        angle_second=angle_second,
        angle_place=angle_place,
        angle_swap=before[angle_second] + swap_place,
    )


def _places(groups: np.ndarray) -> tuple[np.ndarray, int]:
    """Each entry's place in its run of equal numbers, given sorted, and the longest run."""
    places = np.arange(len(groups)) - np.searchsorted(groups, groups)
    return places, int(places.max(initial=-1)) + 1


def _common(sizes: Sequence[Sizes]) -> Sizes:
    return Sizes(*(max(column) for column in zip(*sizes, strict=True)))


def _padded(graph: _Graph, atoms: int, sizes: Sizes) -> tuple[np.ndarray, ...]:
    """The first ten fields of `NeighbourTables`."""
    shape = (atoms, sizes.neighbours)
    flat = graph.centre * sizes.neighbours + graph.slot
    neighbour = np.full(shape, atoms, np.int32)
    neighbour.ravel()[flat] = graph.neighbour
    image = np.zeros((*shape, 3), np.int32)
    image.reshape(-1, 3)[flat] = graph.image
    reverse = np.full(shape, atoms * sizes.neighbours, np.int32)
    reverse.ravel()[flat] = flat[graph.reverse]

    near, numbers = graph.near, np.arange(len(graph.near))
    near_flat = graph.centre[near] * sizes.near + graph.slot[near]
    bond = np.full((atoms, sizes.near), sizes.bonds, np.int32)
    bond.ravel()[near_flat] = numbers
    bond_slot = np.full(sizes.bonds, atoms * sizes.near, np.int32)
    bond_slot[numbers] = near_flat
    bond_reverse = np.full(sizes.bonds, sizes.bonds, np.int32)
    bond_reverse[numbers] = np.searchsorted(near, graph.reverse[near])

    angles = len(graph.angle_first)
    angle_first = np.full(sizes.angles, sizes.bonds, np.int32)
    angle_first[:angles] = graph.angle_first
    angle_second = np.full(sizes.angles, sizes.bonds, np.int32)
    angle_second[:angles] = graph.angle_second
    of_first = np.full((sizes.bonds, sizes.fan), sizes.angles, np.int32)
    of_first[graph.angle_first, graph.angle_place] = np.arange(angles)
    of_second = np.full((sizes.bonds, sizes.fan), sizes.angles, np.int32)
    of_second[graph.angle_first, graph.angle_place] = graph.angle_swap
    return (
        neighbour,
        image,
        reverse,
        bond,
        bond_slot,
        bond_reverse,
        angle_first,
        angle_second,
        of_first,
        of_second,
    )
