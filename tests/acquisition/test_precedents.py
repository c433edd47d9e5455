"""Which crystals have a precedent."""

import hypothesis
import jax
import numpy as np
import pytest
from hypothesis import strategies as st

from mfal.acquisition.precedents import NO_PRECEDENTS, make_precedents, precedent_of
from mfal.crystals.elements import atomic_number
from mfal.crystals.types import Crystal


def crystal(formula, group=225):
    composition = np.zeros(103, np.float32)
    for symbol, number in formula.items():
        composition[atomic_number(symbol) - 1] = number
    return Crystal(composition, np.int32(group), np.ones(6, np.float32))


KNOWN, UNTOLD, EXCHANGED = {"Li": 2, "S": 1}, {"Li": 3, "N": 1}, {"Li": 3, "Cl": 1, "S": 1}
TABLE = make_precedents(
    np.stack([crystal(each).composition for each in (KNOWN, UNTOLD, EXCHANGED)]),
    np.array([225, 0, 221]),
    np.array([True, True, False]),
)


@pytest.mark.parametrize(
    ("formula", "group", "expected"),
    [
        (KNOWN, 225, (1, 0, 0)),
        ({"Li": 16, "S": 8}, 225, (1, 0, 0)),
        ({"Li": 15, "S": 8}, 225, (0, 0, 0)),
        (KNOWN, 62, (0, 0, 1)),
        (UNTOLD, 191, (1, 0, 0)),
        (EXCHANGED, 221, (0, 1, 0)),
        ({"Li": 6, "Cl": 2, "S": 2}, 62, (0, 0, 1)),
        ({"Li": 3, "Br": 1, "S": 1}, 221, (0, 0, 0)),
    ],
)
def test_a_crystal_has_the_precedent_of_its_formula_and_group(formula, group, expected):
    assert tuple(np.asarray(precedent_of(TABLE, crystal(formula, group)))) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"Li": 28, "O": 28}, {"Li": 29, "O": 28}),
        ({"Li": 1, "Mg": 10, "Br": 21}, {"Li": 1, "Mg": 11, "Br": 23}),
    ],
)
def test_formulas_that_are_nearly_alike_are_told_apart(one, other):
    table = make_precedents(crystal(one).composition[None], np.zeros(1, int), np.ones(1, bool))
    assert np.asarray(precedent_of(table, crystal(one)))[0] == 1
    assert np.asarray(precedent_of(table, crystal(other))).sum() == 0


@hypothesis.given(
    st.lists(st.integers(1, 60), min_size=2, max_size=5),
    st.integers(1, 8),
)
def test_a_multiple_of_a_formula_is_the_same(amounts, times):
    one = dict(zip(("Li", "P", "Ge", "S", "Cl"), amounts, strict=False))
    table = make_precedents(crystal(one).composition[None], np.zeros(1, int), np.ones(1, bool))
    many = crystal({symbol: times * n for symbol, n in one.items()})
    assert np.asarray(precedent_of(table, many))[0] == 1


def test_without_a_table_nothing_has_a_precedent():
    found = jax.jit(precedent_of)(NO_PRECEDENTS, crystal(KNOWN))
    assert not np.asarray(found).any()
