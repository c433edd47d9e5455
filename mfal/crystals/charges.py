"""Oxidation states of a structure's sites.

Ordered structures are analysed by pymatgen's `BVAnalyzer` (bond valences and a maximum a posteriori
estimate). Where it finds nothing, and wherever sites are partly occupied, the composition decides:
states from the tables that balance, the most electronegative elements negative.
"""

import itertools
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from pymatgen.core import Composition, Element, Structure

from mfal.crystals.elements import ELECTRONEGATIVITY, OXIDATION_STATES, atomic_number
from mfal.errors import MfalError

__all__ = [
    "add_oxidation_states",
    "balanced_charges",
    "charge",
    "element_charges",
]

# Above this many sites BVAnalyzer may take minutes.
MAX_ANALYSED_SITES = 250
# Share of the positive charge by which rounded occupancies may miss neutrality.
DISORDER_TOLERANCE = 0.05
EXACT_TOLERANCE = 1e-3
# A mean charge is less likely than integers that miss neutrality by this share, and one of a
# main-group element (P4.8+) less likely than any of a metal with open d or f shells.
_MEAN_DEFECT = 0.03
_MAIN_GROUP_MEAN_DEFECT = 1.0
_NONMETALS = frozenset(map(Element, ("C", "N", "P", "S", "Se", "Cl", "Br", "I")))


def element_charges(structure: Structure) -> dict[str, float]:
    """Mean charge of each element's ions, e.

    Raises:
      MfalError: when no assignment balances.
    """
    total: dict[str, float] = {}
    amount_of: dict[str, float] = {}
    for site in add_oxidation_states(structure):
        for species, amount in site.species.items():
            total[species.symbol] = total.get(species.symbol, 0.0) + charge(species) * amount
            amount_of[species.symbol] = amount_of.get(species.symbol, 0.0) + amount
    return {symbol: round(total[symbol] / amount_of[symbol], 6) for symbol in total}


def add_oxidation_states(structure: Structure) -> Structure:
    """A copy whose species carry their charges.

    Charges that the structure brings along are kept if they balance.

    Raises:
      MfalError: when no assignment balances.
    """
    if _is_charged(structure) and _is_balanced(structure):
        return structure.copy()
    plain = structure.copy()
    plain.remove_oxidation_states()
    if plain.is_ordered and len(plain) <= MAX_ANALYSED_SITES:
        analysed = _analyse(plain)
        if analysed is not None:
            return analysed
    tolerance = EXACT_TOLERANCE if plain.is_ordered else DISORDER_TOLERANCE
    charges = balanced_charges(plain.composition.get_el_amt_dict(), tolerance=tolerance)
    plain.add_oxidation_state_by_element(charges)
    return plain


def charge(species: Any) -> float:
    """Charge of a pymatgen species, e; zero where it carries none."""
    return float(getattr(species, "oxi_state", None) or 0.0)


def _is_charged(structure: Structure) -> bool:
    return all(charge(species) != 0 for species in structure.composition)


def _is_balanced(structure: Structure) -> bool:
    terms = [charge(species) * amount for species, amount in structure.composition.items()]
    tolerance = EXACT_TOLERANCE if structure.is_ordered else DISORDER_TOLERANCE
    return abs(sum(terms)) <= tolerance * sum(term for term in terms if term > 0)


def _analyse(structure: Structure) -> Structure | None:
    """What BVAnalyzer makes of an ordered structure, or None."""
    from pymatgen.analysis.bond_valence import BVAnalyzer  # loads its tables for half a second

    anion = max(structure.composition, key=lambda element: element.X)
    forbidden = ["O-", "S-", "N-", "N2-"]
    if anion.symbol != "P":
        # Phosphorus beside a more electronegative anion is the centre of a PX4 group.
        forbidden.append("P3-")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            analysed = BVAnalyzer(forbidden_species=forbidden).get_oxi_state_decorated_structure(
                structure
            )
        except Exception:  # ValueError where nothing fits, but also KeyError on rare elements
            return None
    return analysed if _is_charged(analysed) and _is_balanced(analysed) else None


def balanced_charges(
    amounts: Mapping[str, float], *, tolerance: float = EXACT_TOLERANCE
) -> dict[str, float]:
    """Charges of the elements that make a composition neutral.

    One integer state an element, common ones before those found in the ICSD at all; where none
    balances, one element may take a mean of its states (Mn3.5+ in LiMn2O4). Among the solutions
    that one is taken whose anions are the most electronegative elements, in their lowest states.

    Args:
      amounts: atoms of each element.
      tolerance: share of the positive charge by which the sum may differ from zero.

    Raises:
      MfalError: when nothing balances.

    >>> balanced_charges({"Li": 1, "Fe": 1, "P": 1, "O": 4})
    {'Li': 1.0, 'Fe': 2.0, 'P': 5.0, 'O': -2.0}
    """
    symbols = list(amounts)
    best: tuple[tuple[float, float], tuple[float, ...]] | None = None
    for states in (OXIDATION_STATES, _icsd_states(symbols)):
        choices = [[1] if symbol == "Li" else list(states[symbol]) for symbol in symbols]
        for charges, defect in itertools.chain(
            _integer_charges(amounts, choices, tolerance), _mean_charges(amounts, choices)
        ):
            against, unusual = _implausibility(symbols, charges)
            rank = (against, unusual + defect)
            if best is None or rank < best[0]:
                best = (rank, charges)
        if best is not None and best[0] < (0.0, 1.0):
            break
    if best is not None:
        return {symbol: float(q) for symbol, q in zip(symbols, best[1], strict=True)}
    formula = Composition(amounts).reduced_formula
    raise MfalError(
        f"{formula}: no oxidation states balance",
        "give a neutral composition, or a CIF with _atom_type_oxidation_number",
    )


def _icsd_states(symbols: list[str]) -> dict[str, tuple[int, ...]]:
    return {
        symbol: tuple(
            sorted({*OXIDATION_STATES[symbol], *Element(symbol).icsd_oxidation_states} - {0})
        )
        for symbol in symbols
    }


def _implausibility(symbols: list[str], charges: tuple[float, ...]) -> tuple[float, float]:
    """How far charges contradict electronegativities, and are from the elements' end states.

    Anions are expected in their lowest state; non-metals that are not anions, less strictly, in
    their highest (phosphate rather than phosphite).
    """
    chi = [float(ELECTRONEGATIVITY[atomic_number(symbol) - 1]) for symbol in symbols]
    against = sum(
        chi[i] - chi[j]
        for i, j in itertools.permutations(range(len(symbols)), 2)
        if charges[i] > 0 > charges[j] and chi[i] > chi[j]
    )
    unusual = 0.0
    for symbol, q in zip(symbols, charges, strict=True):
        states = OXIDATION_STATES[symbol]
        if q < 0:
            unusual += q - min(states, default=q)
        elif Element(symbol).is_metalloid or Element(symbol) in _NONMETALS:
            unusual += 0.2 * (max(states, default=q) - q)
    return (against, unusual)


_Solutions = Iterator[tuple[tuple[float, ...], float]]
"""Charges, and how far they are from exact integer balance (0 is best)."""


def _integer_charges(
    amounts: Mapping[str, float], choices: list[list[int]], tolerance: float
) -> _Solutions:
    """One integer state an element, the sum within `tolerance` of the positive charge."""
    for charges in itertools.product(*choices):
        terms = [q * n for q, n in zip(charges, amounts.values(), strict=True)]
        positive = sum(term for term in terms if term > 0)
        if positive and abs(sum(terms)) <= tolerance * positive:
            defect = abs(sum(terms)) / positive
            yield charges, 0.0 if defect < EXACT_TOLERANCE else defect


def _mean_charges(amounts: Mapping[str, float], choices: list[list[int]]) -> _Solutions:
    """As `_integer_charges`, exactly, one cation free to lie between two of its states."""
    numbers = list(amounts.values())
    for free, (symbol, states) in enumerate(zip(amounts, choices, strict=True)):
        positive = [q for q in states if q > 0]
        if len(positive) < 2:
            continue
        open_shell = Element(symbol).is_transition_metal or Element(symbol).is_rare_earth
        defect = _MEAN_DEFECT if open_shell else _MAIN_GROUP_MEAN_DEFECT
        rest = [[0] if i == free else choice for i, choice in enumerate(choices)]
        for charges in itertools.product(*rest):
            others = sum(q * n for q, n in zip(charges, numbers, strict=True))
            mean = round(-others / numbers[free], 6)
            if positive[0] < mean < positive[-1]:
                yield (*charges[:free], mean, *charges[free + 1 :]), defect
