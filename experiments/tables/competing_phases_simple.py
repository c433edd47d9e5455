"""Structures for `competing_phases.py` that no source carries: simple types, and ordered crystals.

Elements and binaries by their structure types, and partly occupied embedded crystals with their
sites filled in the order of lowest electrostatic energy.
"""

from collections.abc import Iterator

import numpy as np
from pymatgen.core import Lattice, PeriodicSite, Structure
from pymatgen.transformations.standard_transformations import (
    OrderDisorderedStructureTransformation,
)

from mfal.data import load_embedded

LGPS_FILLING = {0.691: 0.75, 0.643: 0.5, 1.0: 1.0}
"""Refined occupancies of lithium's sites, and those that make 20 of 28."""


def metal(symbol: str, group: str, a: float, c: float | None = None) -> Structure:
    """A bcc, fcc, hcp or diamond-like element."""
    if group == "P6_3/mmc":
        lattice = Lattice.hexagonal(a, c or 1.633 * a)
        return Structure.from_spacegroup(group, lattice, [symbol], [[1 / 3, 2 / 3, 0.25]])
    return Structure.from_spacegroup(group, Lattice.cubic(a), [symbol], [[0, 0, 0]])


def molecules(symbol: str, bond: float, spacing: float) -> Structure:
    """Diatomic molecules on a bcc lattice, for a gas."""
    half = bond / 2 / spacing
    sites = [[half, 0, 0], [-half, 0, 0], [0.5 + half, 0.5, 0.5], [0.5 - half, 0.5, 0.5]]
    return Structure(Lattice.cubic(spacing), [symbol] * 4, sites)


def phosphorus_sulfide(spacing: float = 8.6) -> Structure:
    """P4S10 as adamantane-like molecules on a bcc lattice.

    Bonds of 2.10 Å to bridging and 1.91 Å to terminal sulfur. How the molecules pack costs a few
    meV per atom without dispersion forces, which the potential's functional leaves out.
    """
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
    bridges = np.concatenate([np.eye(3), -np.eye(3)])
    atoms = [("P", 2.10 * corner) for corner in corners]
    atoms += [("S", (2.10 + 1.91) * corner) for corner in corners]
    # A bridge at (h, 0, 0) is 2.10 Å from the corners 2.10 (1, ±1, ±1) / sqrt 3.
    height = 2.10 / np.sqrt(3) + np.sqrt(2.10**2 - 2 * 2.10**2 / 3)
    atoms += [("S", height * bridge) for bridge in bridges]
    lattice = Lattice.cubic(spacing * 2 ** (1 / 3))
    species, positions = [], []
    for centre in ([0, 0, 0], [0.5, 0.5, 0.5]):
        for symbol, place in atoms:
            species.append(symbol)
            positions.append(lattice.get_cartesian_coords(centre) + place)
    return Structure(lattice, species, positions, coords_are_cartesian=True)


def simple_structures() -> Iterator[tuple[str, Structure]]:
    """Elements and binaries by their structure types."""
    yield "type A2", metal("Li", "Im-3m", 3.44)
    yield "type A2", metal("Nb", "Im-3m", 3.32)
    yield "type A2", metal("Ta", "Im-3m", 3.32)
    yield "type A1", metal("La", "Fm-3m", 5.30)
    yield "type A4", metal("Ge", "Fd-3m", 5.76)
    yield "type A3", metal("Zr", "P6_3/mmc", 3.23, 5.17)
    yield "molecules", molecules("O", 1.23, 4.4)
    yield "molecules", molecules("Cl", 2.00, 5.4)
    yield "molecules", phosphorus_sulfide()
    yield (
        "type A",
        Structure.from_spacegroup(
            "P-3m1",
            Lattice.hexagonal(3.94, 6.13),
            ["La", "O", "O"],
            [[1 / 3, 2 / 3, 0.2454], [1 / 3, 2 / 3, 0.647], [0, 0, 0]],
        ),
    )
    yield (
        "pyrochlore",
        Structure.from_spacegroup(
            "Fd-3m",
            Lattice.cubic(10.80),
            ["La", "Zr", "O", "O"],
            [[0.625] * 3, [0.125] * 3, [0.207, 0, 0], [0.5] * 3],
        ),
    )
    for symbol, a in (("Nb", 4.21), ("La", 5.14), ("Zr", 4.60), ("Ta", 4.43)):
        yield "type B1", _rock_salt(symbol, a)
    for symbol in ("Nb", "Ta"):
        yield (
            "rutile",
            Structure.from_spacegroup(
                "P4_2/mnm", Lattice.tetragonal(4.8, 3.0), [symbol, "O"], [[0, 0, 0], [0.3, 0.3, 0]]
            ),
        )
    yield (
        "Cu15Si4 type",
        Structure.from_spacegroup(
            "I-43d",
            Lattice.cubic(10.72),
            ["Ge", "Li", "Li"],
            [[0.208] * 3, [0.375, 0, 0.25], [0.12, 0.16, 0.96]],
        ),
    )
    yield (
        "gamma",
        Structure.from_spacegroup(
            "Pmn2_1",
            Lattice.orthorhombic(7.708, 6.535, 6.137),
            ["Li", "Li", "P", "S", "S", "S"],
            [
                [0.244, 0.328, 0.002],
                [0, 0.155, 0.489],
                [0, 0.821, 0],
                [0.221, 0.669, 0.893],
                [0, 0.117, 0.877],
                [0, 0.814, 0.335],
            ],
        ),
    )


def ordered_structures() -> Iterator[tuple[str, Structure]]:
    """Partly occupied embedded crystals, ordered by electrostatic energy."""
    half_filled = OrderDisorderedStructureTransformation(
        algo=OrderDisorderedStructureTransformation.ALGO_FAST
    )
    for structure in load_embedded().structures():
        if structure is None or structure.is_ordered:
            continue
        formula = structure.composition.element_composition.reduced_formula
        if formula == "Li3PS4":  # beta: the 0.7 and 0.3 filled sites exclude each other
            filled = structure.copy()
            filled.remove_sites([i for i, site in enumerate(filled) if _filling(site) < 0.5])
            yield (
                "ordered",
                Structure(filled.lattice, [_symbol(site) for site in filled], filled.frac_coords),
            )
        elif formula == "Li4GeS4":
            yield "ordered", half_filled.apply_transformation(structure)
        elif formula == "Li20.2Ge2.06P3.94S24":
            # Li10GeP2S12: 20 of 28 lithium sites, germanium on half of the mixed ones.
            counted = structure.copy()
            for index, site in enumerate(counted):
                if "Ge" in {species.symbol for species in site.species}:
                    counted[index] = {"Ge4+": 0.5, "P5+": 0.5}
                elif _symbol(site) == "Li":
                    counted[index] = {"Li+": LGPS_FILLING[round(_filling(site), 3)]}
            yield "ordered", half_filled.apply_transformation(counted)


def _filling(site: PeriodicSite) -> float:
    return float(sum(site.species.values()))


def _symbol(site: PeriodicSite) -> str:
    return str(next(iter(site.species)).symbol)


def _rock_salt(symbol: str, a: float) -> Structure:
    sites = [[0, 0, 0], [0.5, 0.5, 0.5]]
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [symbol, "O"], sites)
