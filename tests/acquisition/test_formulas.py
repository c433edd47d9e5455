"""Scores of formulas."""

import hypothesis
import numpy as np
from hypothesis import strategies as st

from mfal.acquisition.formulas import make_formula_scores, score_of_formula
from mfal.crystals.elements import SYMBOLS

AMOUNTS = st.dictionaries(
    st.sampled_from(["Li", "Na", "P", "S", "Cl"]), st.integers(1, 12), min_size=2, max_size=4
)


def row(amounts):
    found = np.zeros(len(SYMBOLS), np.float32)
    for symbol, number in amounts.items():
        found[SYMBOLS.index(symbol)] = number
    return found


def ratio(amounts):
    """Shares of the elements, exactly."""
    least = np.gcd.reduce(list(amounts.values()))
    return {symbol: number // least for symbol, number in amounts.items()}


@hypothesis.settings(deadline=None)
@hypothesis.given(st.lists(AMOUNTS, min_size=3, max_size=3), AMOUNTS, st.integers(1, 3))
def test_the_best_of_a_formula_is_found_whatever_the_cell(known, asked, times):
    table = make_formula_scores(
        np.stack([*map(row, known), np.zeros(len(SYMBOLS))]), np.array([-3.0, -1.0, -2.0, 9.0])
    )
    scores = [
        s for s, each in zip((-3.0, -1.0, -2.0), known, strict=True) if ratio(each) == ratio(asked)
    ]
    cell = row({symbol: times * number for symbol, number in asked.items()})
    assert float(score_of_formula(table, cell)) == max(scores, default=-np.inf)
    assert float(score_of_formula(table, row(known[0]))) >= -3.0
