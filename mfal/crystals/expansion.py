"""From the sites that a file lists and its symmetry operations to all atoms of the cell."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from pymatgen.core import Composition, Lattice, Structure

from mfal.errors import MfalError

__all__ = ["MAX_SITES", "MOST_FILLED", "ListedSite", "expand"]

MAX_SITES = 2_000

MAX_EXPANSION = 1_000_000
"""Images of listed sites under the symmetry that are looked at, duplicates among them."""

SAME_FRACTION = 1e-4
"""Difference of fractional coordinates below which two positions are one."""

CROWDED = 0.6
"""Å; images of a full site that are nearer than this are one atom, which rounding has split: no two
atoms come so near (in H2 it is 0.74 Å)."""

ROUNDED = 0.1
"""Å; the same for partly occupied sites, whose images may lie anywhere, if the file counts no more
images than that makes."""

FILLED = 0.6
"""Occupancy beyond which a site counts as one that cannot be split: refined halves come out as up
to 0.54 (Li10GeP2S12)."""

MOST_FILLED = 1.05
"""Occupancies of a site that add up to more are refused; up to here they are scaled to one, as
rounding in refinements."""


class ListedSite(NamedTuple):
    """A row of the list of atoms."""

    label: str
    position: np.ndarray
    """[3] float64, fractional."""
    amounts: dict[Any, float]
    """Occupancies by pymatgen element or species."""
    multiplicity: int = 0
    """Images in the cell that the file counts; 0 where it doesn't."""


class _Position(NamedTuple):
    """What shares one position, and its images."""

    sites: list[ListedSite]
    images: np.ndarray

    @property
    def composition(self) -> Composition:
        """Of all sites together."""
        return sum((Composition(site.amounts) for site in self.sites[1:]), self.own)

    @property
    def own(self) -> Composition:
        """Of the first site alone."""
        return Composition(self.sites[0].amounts)

    @property
    def labels(self) -> str:
        """Names of the sites."""
        return ", ".join(site.label for site in self.sites)

    @property
    def repeats(self) -> bool:
        """Whether the sites are one, listed again at positions that symmetry makes of it."""
        apart = [
            _apart(a.position, b.position) for a in self.sites for b in self.sites if a is not b
        ]
        same = all(Composition(site.amounts) == self.own for site in self.sites)
        return bool(apart) and min(apart) > SAME_FRACTION and same


def expand(
    lattice: Lattice,
    sites: Sequence[ListedSite],
    rotations: np.ndarray,
    translations: np.ndarray,
    max_sites: int = MAX_SITES,
) -> tuple[Structure, list[str]]:
    """The structure and what a reader should know of how it came about.

    Sites at one position share it. Where rounding has moved a site off a special position, so that
    its images lie next to each other, they become one atom.

    Args:
      lattice: the cell.
      sites: as listed, at least one.
      rotations: [G, 3, 3], of fractional coordinates.
      translations: [G, 3].
      max_sites: as many sites as the cell may have.

    Raises:
      MfalError: for too many sites, or a position that is filled more than once; the message says
        which.
    """
    count = len(sites) * len(rotations)
    if count > MAX_EXPANSION:
        raise _too_many(count, max_sites)
    positions: list[_Position] = []
    notes: list[str] = []
    known = np.zeros((0, 3))
    owner = np.zeros(0, int)
    for site in sites:
        at = _coincident(known, site.position)
        if at is not None:
            positions[owner[at]].sites.append(site)
            continue
        images, note = _images(lattice, site, rotations, translations)
        notes += [note] if note else []
        positions.append(_Position([site], images))
        known = np.concatenate([known, images])
        owner = np.concatenate([owner, np.full(len(images), len(positions) - 1)])
        if len(known) > 2 * max_sites:
            raise _too_many(len(known) * len(sites) // len(positions), max_sites)
    if len(known) > max_sites:
        raise MfalError(f"has {len(known)} sites", f"give a cell of at most {max_sites} sites")
    filled, scaled = _filled(positions)
    species, coordinates, labels = [], [], []
    # Equal contents together, in the order of pymatgen, so that both give one order of sites.
    for composition, group in groupby(
        sorted(filled, key=lambda one: one[0]), key=lambda one: one[0]
    ):
        for _, one in group:
            species += [composition] * len(one.images)
            coordinates.append(one.images)
            labels += [one.sites[-1].label] * len(one.images)
    structure = Structure(lattice, species, np.concatenate(coordinates), labels=labels)
    return structure.get_sorted_structure(), notes + scaled


def _too_many(count: int, max_sites: int) -> MfalError:
    return MfalError(f"has some {count} sites", f"give a cell of at most {max_sites} sites")


def _coincident(known: np.ndarray, position: np.ndarray) -> int | None:
    difference = known - position
    near = (np.abs(difference - np.rint(difference)) < SAME_FRACTION).all(axis=1)
    return int(np.argmax(near)) if near.any() else None


def _images(
    lattice: Lattice, site: ListedSite, rotations: np.ndarray, translations: np.ndarray
) -> tuple[np.ndarray, str]:
    """Fractional coordinates [M, 3] of a site's distinct images, and a note if some were merged."""
    every = _applied(rotations, translations, site.position)
    images = _distinct(every)
    if len(images) == 1:
        return images, ""
    full = sum(site.amounts.values()) > FILLED
    reach = CROWDED if full else ROUNDED
    distances = _distances(lattice, images, site.position)
    count = int((distances < reach).sum())
    if count < 2:
        return images, ""
    # The mean of the images around a place is left alone by the operations that made them. All
    # count, also those that coincide, so that each operation has its part.
    near = every[_distances(lattice, every, site.position) < reach]
    shifted = near - np.rint(near - site.position)
    special = _applied(rotations, translations, shifted.mean(axis=0))
    merged = _distinct(special, 10 * SAME_FRACTION)
    whole = len(merged) * len(near) == len(every)
    if not whole or not (full or len(merged) == site.multiplicity):
        return images, ""
    apart = float(np.sort(distances)[1])
    note = (
        f"{site.label}: {count} symmetry images as near as {apart:.2g} Å are taken as "
        "one atom (rounded coordinates?)"
    )
    return merged, note if apart > 0.02 else ""


def _applied(rotations: np.ndarray, translations: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Images [G, 3], by one product with [R | t] as pymatgen takes it, for the same last digits."""
    augmented = np.append(position, 1.0)
    affine = np.concatenate([rotations, translations[:, :, None]], axis=2)
    return np.array([np.dot(operation, augmented) for operation in affine])


def _distinct(images: np.ndarray, tolerance: float = SAME_FRACTION) -> np.ndarray:
    """Images moved into the cell, the first of those that coincide."""
    images = images - np.floor(images)
    kept: list[np.ndarray] = []
    for image in images:
        if not kept or _nearest(np.array(kept), image) >= tolerance:
            kept.append(image)
    return np.array(kept)


def _nearest(known: np.ndarray, position: np.ndarray) -> float:
    difference = known - position
    return float(np.abs(difference - np.rint(difference)).max(axis=1).min())


def _distances(lattice: Lattice, images: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Å from a position to the nearest translate of each image, right for near ones."""
    difference = images - position
    return np.linalg.norm((difference - np.rint(difference)) @ lattice.matrix, axis=1)


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    difference = a - b
    return float(np.abs(difference - np.rint(difference)).max())


def _filled(
    positions: Sequence[_Position],
) -> tuple[list[tuple[Composition, _Position]], list[str]]:
    """What fills each position, at most one atom, and what had to be scaled or counted once."""
    notes = []
    filled = []
    repeated: list[str] = []
    for one in positions:
        composition = one.composition
        total = float(sum(composition.values()))
        place = " ".join(f"{x:.4g}" for x in one.images[0])
        if total > MOST_FILLED and one.repeats:
            repeated += [site.label for site in one.sites[1:]]
            composition = one.own
            total = float(sum(composition.values()))
        if total > MOST_FILLED:
            raise MfalError(
                f"{one.labels} at {place}: occupancy {total:.4g}",
                "a site holds at most one atom: check occupancies (fractions, not percent) and "
                "sites that are listed twice",
            )
        if total > 1.0:
            if total > 1.005:
                notes.append(f"{one.labels} at {place}: occupancy {total:.4g}, scaled to 1")
            composition = composition / total
        filled.append((composition, one))
    if repeated:
        notes.append(
            f"{len(repeated)} sites ({repeated[0]} the first) are images of others under the "
            "symmetry operations: counted once"
        )
    return filled, notes
