"""What elements cost, against the independent table that pymatgen carries."""

import numpy as np
from pymatgen.analysis.cost import CostDBElements
from pymatgen.core import Element
from scipy.stats import spearmanr

from mfal.crystals.elements import SYMBOLS
from mfal.crystals.procurement import TOXICITY_CLASSES, element_prices

# The other table has small amounts of pure elements, and rare earths at the height of 2011.
PURE = ("C", "F", "K", "Na", "Ne", "P", "Rb", "Cs")


def test_prices_agree_with_another_table() -> None:
    prices = element_prices()
    others = {}
    for symbol in prices:
        entries = CostDBElements().get_entries([Element(symbol)])
        element = Element(symbol)
        if entries and symbol not in PURE and not element.is_rare_earth:
            grams = float(element.atomic_mass)
            others[symbol] = entries[0].energy / grams * 1000
    ratio = np.log10([prices[s].usd_per_kg / others[s] for s in others])
    assert len(others) > 50
    assert np.median(np.abs(ratio)) < 0.35
    assert np.max(np.abs(ratio)) < 1.4
    assert spearmanr([prices[s].usd_per_kg for s in others], list(others.values()))[0] > 0.9


def test_classes_hold_elements_once() -> None:
    listed = [symbol for elements in TOXICITY_CLASSES.values() for symbol in elements]
    assert len(listed) == len(set(listed)) == 24
    assert set(listed) <= set(SYMBOLS)
