import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Composition

from mfal.crystals.formulas import formula_amounts
from mfal.errors import MfalError


@pytest.mark.parametrize(
    ("formula", "amounts"),
    [
        ("Li3PS4", {"Li": 3, "P": 1, "S": 4}),
        ("Li₃PS₄", {"Li": 3, "P": 1, "S": 4}),
        ("Li0.5 Co O2", {"Li": 0.5, "Co": 1, "O": 2}),
        ("Li2,5O", {"Li": 2.5, "O": 1}),
        ("Li7La3Zr2O12", {"Li": 7, "La": 3, "Zr": 2, "O": 12}),
        ("Li3[Al(PO4)2]2", {"Li": 3, "Al": 2, "P": 4, "O": 16}),
        ("CuSO4·5H2O", {"Cu": 1, "S": 1, "O": 9, "H": 10}),
        ("LiCl*0.5(H2O)", {"Li": 1, "Cl": 1, "O": 0.5, "H": 1}),
        ("(LiCl·H2O)2", {"Li": 2, "Cl": 2, "O": 2, "H": 4}),
        ("D2O", {"H": 2, "O": 1}),
        (
            "Li3(Mo8S8O8(OH)8(HWO5(H2O)))*(H2O)18",
            {"Li": 3, "Mo": 8, "S": 8, "O": 40, "H": 47, "W": 1},
        ),
    ],
)
def test_amounts(formula, amounts):
    assert formula_amounts(formula) == pytest.approx(amounts)


@pytest.mark.parametrize(
    "formula",
    [
        "",
        " ",
        "5",
        "LixO",
        "Li(",
        "(Li",
        "Li)",
        "LiCl·",
        "·LiCl",
        "()",
        "Xx",
        "Li3P?4",
        "Li..5O",
        "0",
    ],
)
def test_what_is_no_formula(formula):
    with pytest.raises(MfalError, match="is no formula") as caught:
        formula_amounts(formula)
    assert "Li3PS4" in caught.value.remedy


_UNITS = st.recursive(
    st.sampled_from(["Li", "O", "P", "S", "Cl", "H"]),
    lambda inner: st.lists(
        st.tuples(inner, st.sampled_from(["", "2", "0.5", "3"])), min_size=1, max_size=3
    ).map(lambda parts: "(" + "".join(unit + number for unit, number in parts) + ")"),
    max_leaves=8,
)


@given(_UNITS)
def test_nested_groups_as_pymatgen_counts_them(formula):
    assert formula_amounts(formula) == pytest.approx(Composition(formula).get_el_amt_dict())
