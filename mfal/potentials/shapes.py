"""The sizes to which crystals are padded: few of them, so that few programs are compiled."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from mfal.potentials.neighbours import Sizes

__all__ = ["PaddedShape", "grouped", "rung"]

_QUEUE = 256
"""Crystals whose tables are sized together."""
_PAIR, _ANGLE = 1e-5, 2e-5
"""CPU seconds that a pair and an angle take in one evaluation: a fit to CHGNet's energy, forces and
stress of five oxides, fluorides and sulfides of 12 to 27 atoms on one core (7 to 118 ms)."""
_PAIR_BYTES, _ANGLE_BYTES = 38e3, 45e3
"""Scratch memory by the compiler's count for CHGNet's energy and gradient of a crystal under vmap:
27, 160 and 341 MB for 576, 1,620 and 3,240 pairs with 180, 2,592 and 5,184 angles."""
_EVALUATIONS = 15
"""Of one relaxation, about."""
_PROGRAM = 5.0
"""CPU seconds that another program must save. It takes three times as long to compile, but is kept
from run to run where sizes repeat."""


class PaddedShape(NamedTuple):
    """Sizes to which crystals are padded."""

    atoms: int
    sizes: Sizes
    """Of the neighbour tables."""

    @property
    def work(self) -> float:
        """CPU seconds of a relaxation, about."""
        pairs = self.sizes.near + self.sizes.far
        return _EVALUATIONS * (_PAIR * pairs + _ANGLE * self.sizes.angles)

    @property
    def memory(self) -> float:
        """Bytes that energy and gradient take while they are computed, about."""
        return _PAIR_BYTES * (self.sizes.near + self.sizes.far) + _ANGLE_BYTES * self.sizes.angles

    def holds(self, other: "PaddedShape") -> bool:
        """Whether what has the other shape fits into this one."""
        fits = all(a <= b for a, b in zip(other.sizes, self.sizes, strict=True))
        return other.atoms <= self.atoms and fits


def rung(size: int) -> int:
    """The least of 8, 16, 24, 32, 48, 64, 96, ... that is not below.

    Coarser than the buckets of single tables: compiling a program for each size would take longer
    than what its padding costs, and programs are kept from run to run where sizes repeat.
    """
    power = 8
    while power < size:
        if power >= 16 and size <= power + power // 2:
            return power + power // 2
        power *= 2
    return power


def grouped(
    atoms: Mapping[int, int],
    sizes: Mapping[int, Sizes],
    shapes: Sequence[PaddedShape],
    *,
    merge: bool = True,
) -> Iterator[tuple[list[int], PaddedShape]]:
    """Crystals of one padded size, some at a time, the largest first, and that size.

    A crystal takes the first of the shapes that it fits into with an eighth to spare. Those that
    fit into none are split, by the work that they are, into the groups that take least time in all,
    programs to be compiled included; without `merge`, each takes the rungs above its own sizes.
    """
    fitting: dict[PaddedShape, list[int]] = {}
    own: dict[PaddedShape, list[int]] = {}
    for number, count in atoms.items():
        # An eighth more: tables grow as a crystal relaxes.
        roomy = PaddedShape(count, Sizes(*(size + size // 8 for size in sizes[number])))
        shape = next((shape for shape in shapes if shape.holds(roomy)), None)
        if shape is None:
            own.setdefault(_common([roomy]), []).append(number)
        else:
            fitting.setdefault(shape, []).append(number)
    for shape, numbers in _merged(own) if merge else own.items():
        fitting.setdefault(shape, []).extend(numbers)
    for shape, numbers in sorted(fitting.items(), key=lambda item: -item[0].work):
        numbers.sort(key=lambda number: -atoms[number])
        for first in range(0, len(numbers), _QUEUE):
            yield numbers[first : first + _QUEUE], shape


def _common(shapes: Sequence[PaddedShape]) -> PaddedShape:
    """The least shape of rungs that holds all of them."""
    columns = zip(*(shape.sizes for shape in shapes), strict=True)
    largest = Sizes(*(rung(max(column)) for column in columns))
    return PaddedShape(rung(max(shape.atoms for shape in shapes)), largest)


def _merged(own: Mapping[PaddedShape, list[int]]) -> Iterator[tuple[PaddedShape, list[int]]]:
    """Neighbours in the order of their work joined where that takes less time than a program."""
    order = sorted(own, key=lambda shape: shape.work)
    # The least time for the first shapes of the order, and where the last group of them begins.
    best, begins = [0.0], [0]
    for end in range(1, len(order) + 1):
        options = []
        crystals = 0
        for start in reversed(range(end)):
            crystals += len(own[order[start]])
            work = _common(order[start:end]).work
            options.append((best[start] + _PROGRAM + crystals * work, start))
        least, start = min(options)
        best.append(least)
        begins.append(start)
    end = len(order)
    while end:
        start = begins[end]
        members = order[start:end]
        yield _common(members), [number for shape in members for number in own[shape]]
        end = start
