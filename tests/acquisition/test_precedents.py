"""Which crystals have a precedent."""

import jax
import numpy as np
import pytest

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


def test_an_atom_more_in_a_large_cell_is_another_formula():
    table = make_precedents(
        crystal({"Li": 28, "O": 28}).composition[None], np.zeros(1, int), np.ones(1, bool)
    )
    assert np.asarray(precedent_of(table, crystal({"Li": 29, "O": 28}))).sum() == 0


def test_without_a_table_nothing_has_a_precedent():
    found = jax.jit(precedent_of)(NO_PRECEDENTS, crystal(KNOWN))
    assert not np.asarray(found).any()
