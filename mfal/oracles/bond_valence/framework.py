"""The part of a crystal that stays put while its mobile ions move, as arrays."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mfal.errors import MfalError
from mfal.oracles.bond_valence.pair_potentials import coulomb_parameters, ion_name, morse_row

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["Framework", "framework_of", "site_charges"]


class Framework(NamedTuple):
    """Ions that a mobile cation sees, with the constants of their potentials.

    A site shared by several species is several ions at one place, each with its own occupancy.
    """

    lattice: np.ndarray
    """[3, 3] float64, rows a, b, c in Å."""
    anion_position: np.ndarray
    """[A, 3] float64, fractional coordinates in [0, 1)."""
    anion_constants: np.ndarray
    """[A, 3] float64: R_min (Å), alpha (1/Å), D0 (eV) times occupancy."""
    cation_position: np.ndarray
    """[C, 3] float64, fractional coordinates in [0, 1)."""
    cation_constants: np.ndarray
    """[C, 2] float64: strength (eV Å) times occupancy, inverse screening length (1/Å)."""
    mobile_position: np.ndarray
    """[L, 3] float64, fractional coordinates in [0, 1) of the mobile ions as the structure has
    them; no part of the framework, kept for comparison."""
    mobile_occupancy: np.ndarray
    """[L] float64."""
    partial: bool
    """Whether some site of the framework is partly occupied, and weighted accordingly."""
    warnings: tuple[str, ...]
    """What a reader of the result should know of how the arrays were made."""

    @property
    def volume(self) -> float:
        """Volume of the cell, Å^3."""
        return float(abs(np.linalg.det(self.lattice)))

    @property
    def mobile_count(self) -> float:
        """Mobile ions in the cell, partial occupancies added up."""
        return float(self.mobile_occupancy.sum())


def framework_of(structure: "Structure", mobile: str = "Li", mobile_charge: int = 1) -> Framework:
    """Takes a structure apart into the framework and its mobile ions.

    Partially occupied framework sites enter with their occupancy as weight: the energy map is then
    the mean over independent occupations.

    Args:
      structure: ordered or not, with or without oxidation states.
      mobile: symbol of the mobile element.
      mobile_charge: its charge.

    Raises:
      MfalError: without mobile ions, without other ions, where oxidation states can't be found or
        the potential has no row for a pair.
    """
    name = structure.composition.reduced_formula
    symbols = {specie.symbol for site in structure for specie in site.species}
    if mobile not in symbols:
        raise MfalError(f"no {mobile} in {name}", f"give a structure that contains {mobile}")
    if symbols == {mobile}:
        raise MfalError(f"nothing but {mobile} in {name}", "give a compound with an anion")
    charges, warnings = site_charges(structure)
    anions: list[tuple[np.ndarray, list[float]]] = []
    cations: list[tuple[np.ndarray, list[float]]] = []
    ions: list[tuple[np.ndarray, float]] = []
    unknown: dict[str, MfalError] = {}
    partial = False
    for site, charge_of in zip(structure, charges, strict=True):
        place = np.asarray(site.frac_coords, float)
        for specie, occupancy in site.species.items():
            charge = charge_of[specie.symbol]
            if specie.symbol == mobile:
                ions.append((place, float(occupancy)))
                continue
            partial |= occupancy < 1.0 - 1e-6
            try:
                if charge < 0:
                    row = morse_row(specie.symbol, charge, mobile, mobile_charge)
                    anions.append((place, [row.r_min, row.alpha, row.d0 * occupancy]))
                elif charge > 0:
                    strength, inverse = coulomb_parameters(
                        specie.symbol, charge, mobile, mobile_charge
                    )
                    cations.append((place, [strength * occupancy, inverse]))
            except MfalError as error:
                unknown.setdefault(ion_name(specie.symbol, charge), error)
    if unknown:
        first = next(iter(unknown.values()))
        raise MfalError(f"{name}: {first.what}", first.remedy)
    if not anions:
        raise MfalError(f"no anion in {name}", "give an ionic compound with oxidation states")
    if partial:
        warnings.append("framework sites weighted by their occupancy")
    return Framework(
        np.asarray(structure.lattice.matrix, float),
        *_stack(anions, 3),
        *_stack(cations, 2),
        np.mod([place for place, _ in ions], 1.0),
        np.array([occupancy for _, occupancy in ions]),
        partial,
        tuple(warnings),
    )


def _stack(ions: list[tuple[np.ndarray, list[float]]], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions [n, 3] in the cell and constants [n, width], also for no ions."""
    places = np.array([place for place, _ in ions]).reshape(-1, 3)
    return np.mod(places, 1.0), np.array([row for _, row in ions]).reshape(-1, width)


def site_charges(structure: "Structure") -> tuple[list[dict[str, float]], list[str]]:
    """The charge of each species on each site, and what had to be assumed.

    Charges that the structure carries come first; otherwise each element takes
    the charge that balances the composition. The analysis of bond lengths is the last resort, as
    it is slow and easily misled by rough positions, and framework charges enter the energies only
    through the repulsion between cations.

    Raises:
      MfalError: when no assignment balances.
    """
    from mfal.crystals.charges import add_oxidation_states, balanced_charges, charge

    carried = [{specie.symbol: charge(specie) for specie in site.species} for site in structure]
    if all(value for site in carried for value in site.values()):
        excess = float(structure.charge)
        unbalanced = abs(excess) > 1e-3 * len(structure)
        return carried, [f"the charges given add up to {excess:+.3g}"] if unbalanced else []
    amounts = structure.composition.get_el_amt_dict()
    warnings = []
    try:
        charges = balanced_charges(amounts, tolerance=1e-3 if structure.is_ordered else 0.15)
    except MfalError:
        decorated = add_oxidation_states(structure)
        warnings.append("oxidation states from bond lengths")
        return [
            {specie.symbol: charge(specie) for specie in site.species} for site in decorated
        ], warnings
    excess = sum(amounts[symbol] * value for symbol, value in charges.items())
    if abs(excess) > 1e-3 * len(structure):
        warnings.append(f"composition as given carries a charge of {excess:+.3g} a cell")
    mixed = [symbol for symbol, value in charges.items() if value != round(value)]
    if mixed:
        warnings.append(f"mean oxidation state for {', '.join(mixed)} (mixed valence)")
    return [{symbol: charges[symbol] for symbol in site} for site in carried], warnings
