"""A crystal as its asymmetric unit: the few numbers from which symmetry makes all atoms.

Settings are the standard ones of the International Tables: unique axis b, cell choice 1, hexagonal
axes for the rhombohedral groups, and origin choice 2 (at the inversion centre) where there are
two. With these, the space group number alone fixes the operations, which spglib supplies.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mfal.errors import MfalError

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["AsymmetricUnit", "Occupant", "Site", "asymmetric_unit", "build_structure"]

COORDINATE_DECIMALS = 6
# Å; images of a site nearer than this are the same atom. Rounded coordinates miss by 1e-5 Å.
SAME_ATOM = 0.01


class Occupant(NamedTuple):
    """An ion that fills a site, wholly or in part."""

    element: str
    oxidation_state: float
    """e; 0 where unknown."""
    occupancy: float
    """Above 0, up to 1."""


class Site(NamedTuple):
    """One atom of the asymmetric unit and, by symmetry, its orbit."""

    wyckoff: str
    """Multiplicity in the conventional cell and letter, "16h"."""
    position: tuple[float, float, float]
    """Fractional coordinates."""
    occupants: tuple[Occupant, ...]

    @property
    def multiplicity(self) -> int:
        """Number of symmetry images in the conventional cell."""
        return int(self.wyckoff[:-1])


class AsymmetricUnit(NamedTuple):
    """A crystal in the standard setting of its space group."""

    space_group_number: int
    lattice: tuple[float, ...]
    """a, b, c in Å, alpha, beta, gamma in degrees, conventional cell."""
    sites: tuple[Site, ...]

    @property
    def composition(self) -> dict[str, float]:
        """Atoms of each element in the conventional cell."""
        amounts: dict[str, float] = {}
        for site in self.sites:
            for occupant in site.occupants:
                amount = site.multiplicity * occupant.occupancy
                amounts[occupant.element] = amounts.get(occupant.element, 0.0) + amount
        return amounts

    def to_dict(self) -> dict[str, Any]:
        """The unit as plain lists and dicts, for JSON."""
        return {
            "space_group_number": self.space_group_number,
            "lattice": list(self.lattice),
            "sites": [
                {
                    "wyckoff": site.wyckoff,
                    "position": list(site.position),
                    "occupants": [list(occupant) for occupant in site.occupants],
                }
                for site in self.sites
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AsymmetricUnit:
        """Inverse of `to_dict`; `KeyError` or `TypeError` where `data` is not of that form."""
        return cls(
            int(data["space_group_number"]),
            tuple(float(x) for x in data["lattice"]),
            tuple(
                Site(
                    site["wyckoff"],
                    (
                        float(site["position"][0]),
                        float(site["position"][1]),
                        float(site["position"][2]),
                    ),
                    tuple(Occupant(e, float(q), float(x)) for e, q, x in site["occupants"]),
                )
                for site in data["sites"]
            ),
        )


def asymmetric_unit(
    structure: Structure, *, symprec: float = 0.01, charged: bool = True
) -> AsymmetricUnit:
    """The asymmetric unit of a structure, ordered or not, idealised to its symmetry.

    Args:
      structure: species with or without oxidation states.
      symprec: Å by which atoms may miss their symmetric positions.
      charged: give oxidation states to species that lack them, by the rules of
        `mfal.crystals.charges`, which may take a second; otherwise they stay unknown.

    Raises:
      MfalError: when no symmetry or no neutral oxidation states are found.
    """
    from pymatgen.core import Lattice

    from mfal.crystals.charges import add_oxidation_states, charge

    if charged:
        structure = add_oxidation_states(structure)
    formula = structure.composition.reduced_formula
    kinds: dict[tuple[Occupant, ...], int] = {}
    types = []
    for site in structure:
        occupants = tuple(
            sorted(
                Occupant(species.symbol, charge(species), round(float(amount), 6))
                for species, amount in site.species.items()
            )
        )
        types.append(kinds.setdefault(occupants, len(kinds)) + 1)
    cell = (structure.lattice.matrix, structure.frac_coords, types)
    first = _dataset(cell, symprec)
    if first is None:
        raise MfalError(
            f"{formula}: no symmetry found within {symprec} Å",
            "check that no two atoms share a position",
        )
    hall = _standard_hall_number(int(first.number))
    standard = _dataset(cell, symprec, hall)
    ideal = (standard.std_lattice, standard.std_positions, standard.std_types)
    orbits = _dataset(ideal, symprec, hall)
    of_type = {number + 1: occupants for occupants, number in kinds.items()}
    sites = []
    for atom in sorted(set(orbits.crystallographic_orbits)):
        members = np.flatnonzero(orbits.crystallographic_orbits == atom)
        position = np.round(np.mod(standard.std_positions[atom], 1.0), COORDINATE_DECIMALS) % 1.0
        sites.append(
            Site(
                f"{len(members)}{orbits.wyckoffs[atom]}",
                (float(position[0]), float(position[1]), float(position[2])),
                # std_types keep the numbers given in.
                of_type[int(standard.std_types[atom])],
            )
        )
    lattice = tuple(round(float(x), 6) for x in Lattice(standard.std_lattice).parameters)
    return AsymmetricUnit(int(first.number), lattice, tuple(sites))


def _dataset(cell: Any, symprec: float, hall_number: int = 0) -> Any:
    """What spglib finds, or None; in the setting of `hall_number` unless that is zero."""
    import spglib

    return spglib.get_symmetry_dataset(cell, symprec=symprec, hall_number=hall_number)


def build_structure(unit: AsymmetricUnit) -> Structure:
    """All atoms of the conventional cell, with occupancies and known oxidation states.

    Raises:
      MfalError: when a site's orbit has not the stated multiplicity.
    """
    from pymatgen.core import Element, Lattice, Species, Structure

    lattice = Lattice.from_parameters(*unit.lattice)
    rotations, translations = _operations(unit.space_group_number)
    species, positions = [], []
    for site in unit.sites:
        orbit = _orbit(np.array(site.position), rotations, translations, lattice.matrix)
        if len(orbit) != site.multiplicity:
            raise MfalError(
                f"site {site.wyckoff} at {site.position}: {len(orbit)} images in space group "
                f"{unit.space_group_number}",
                "check the position, the Wyckoff multiplicity and the setting",
            )
        filling: dict[Element | Species, float] = {
            Species(element, charge) if charge else Element(element): occupancy
            for element, charge, occupancy in site.occupants
        }
        species.extend([filling] * len(orbit))
        positions.extend(orbit)
    return Structure(lattice, species, positions)


def _orbit(
    position: np.ndarray, rotations: np.ndarray, translations: np.ndarray, matrix: np.ndarray
) -> list[np.ndarray]:
    """Distinct images of a position, each the mean of those that rounding has set apart."""
    images = rotations @ position + translations
    clusters: list[list[np.ndarray]] = []
    for image in images:
        for cluster in clusters:
            difference = image - cluster[0]
            difference -= np.round(difference)
            if np.linalg.norm(difference @ matrix) < SAME_ATOM:
                cluster.append(cluster[0] + difference)
                break
        else:
            clusters.append([image])
    return [np.mod(np.mean(cluster, axis=0), 1.0) for cluster in clusters]


@functools.cache
def _operations(number: int) -> tuple[np.ndarray, np.ndarray]:
    import spglib

    symmetry: Any = spglib.get_symmetry_from_database(_standard_hall_number(number))
    return symmetry["rotations"], symmetry["translations"]


@functools.cache
def _standard_hall_number(number: int) -> int:
    """Hall number of the standard setting: the first, or origin choice 2 where there are two."""
    if not 1 <= number <= 230:
        raise MfalError(f"space group {number} does not exist", "give a number from 1 to 230")
    settings = _settings()[number]
    return settings.get("2", min(settings.values()))


@functools.cache
def _settings() -> dict[int, dict[str, int]]:
    """Space group number to its settings' Hall numbers, by spglib's name of the choice."""
    import spglib

    settings: dict[int, dict[str, int]] = {}
    for hall in range(1, 531):
        kind: Any = spglib.get_spacegroup_type(hall)
        settings.setdefault(int(kind.number), {})[kind.choice] = hall
    return settings
