"""Compounds are hidden by formula, however it is written."""

import pytest

from mfal.crystals.hidden import is_hidden, touches_hidden
from mfal.errors import MfalError

HIDE = ("Li6PS5Cl", "LiTi2(PO4)3")


@pytest.mark.parametrize(
    "compound",
    [
        "Li6PS5Cl",
        "ClPS5Li6",
        "Li24P4S20Cl4",
        "LiTi2P3O12",
        {"Li": 24, "P": 4, "S": 20, "Cl": 4},
        {"Li": 23.98, "P": 4, "S": 20, "Cl": 4, "O": 0},  # occupancies of two digits
    ],
)
def test_a_formula_is_hidden_in_whatever_form(compound):
    assert is_hidden(compound, HIDE)
    assert not is_hidden(compound, ())


@pytest.mark.parametrize(
    "compound", ["Li5.5PS4.5Cl1.5", "Li7PS6", "LiGe2(PO4)3", "Li2O", "", "argyrodite", {"Li": 1}]
)
def test_other_compounds_are_not(compound):
    assert not is_hidden(compound, HIDE)


def test_a_compound_of_all_its_elements_touches_it():
    assert touches_hidden("Li5.5PS4.5Cl1.5", HIDE)
    assert touches_hidden({"Li": 1, "P": 1, "S": 4, "Cl": 3, "O": 2}, HIDE)
    assert not touches_hidden("Li3PS4", HIDE)
    assert not touches_hidden("Li6PS5Cl", ())


def test_what_is_no_formula_can_not_be_hidden():
    with pytest.raises(MfalError, match="no formula"):
        is_hidden("Li2O", ("argyrodite",))
