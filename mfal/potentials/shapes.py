"""The sizes to which crystals are padded: few of them, so that few programs are compiled."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from mfal.potentials.neighbours import Sizes

__all__ = ["PaddedShape", "grouped", "rung"]

_QUEUE = 256
"""Crystals whose tables are sized together."""


class PaddedShape(NamedTuple):
    """Sizes to which crystals are padded."""

    atoms: int
    sizes: Sizes | None
    """Of the neighbour tables; None for those that the crystals need."""


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
    atoms: Mapping[int, int], sizes: Mapping[int, Sizes], shapes: Sequence[PaddedShape]
) -> Iterator[tuple[list[int], PaddedShape]]:
    """Crystals of one padded size, some at a time, the largest first, and that size."""
    fitting: dict[PaddedShape, list[int]] = {}
    for number in sorted(atoms, key=lambda number: -atoms[number]):
        own = PaddedShape(rung(atoms[number]), None)
        roomy = _roomy(sizes[number])
        fits = (
            shape
            for shape in shapes
            if atoms[number] <= shape.atoms and all(map(int.__le__, roomy, shape.sizes or roomy))
        )
        fitting.setdefault(next(fits, own), []).append(number)
    for shape, numbers in sorted(fitting.items(), key=lambda item: -item[0].atoms):
        for first in range(0, len(numbers), _QUEUE):
            group = numbers[first : first + _QUEUE]
            common = zip(*(_roomy(sizes[number]) for number in group), strict=True)
            own_sizes = Sizes(*(rung(max(column)) for column in common))
            yield group, shape if shape.sizes else PaddedShape(shape.atoms, own_sizes)


def _roomy(sizes: Sizes) -> tuple[int, ...]:
    """An eighth more: tables grow as a crystal relaxes."""
    return tuple(size + size // 8 for size in sizes)
