import pytest
from pymatgen.core import Composition

from mfal.oracles.stability.coverage import missing_phases


def lacking(formula: str, known: str, limit: str = "reduction") -> tuple[str, ...]:
    return missing_phases(
        Composition(formula), [Composition(name) for name in known.split()], limit
    )


def test_nothing_lacks_where_all_neighbours_are_known():
    assert lacking("Li2SiO3", "Li2SiO3 Li2O SiO2 Li22Si5") == ()


@pytest.mark.parametrize(
    ("known", "limit", "expected"),
    [
        ("Li2O SiO2 Li22Si5 Li4SiO4", "reduction", ("the energy of Li2SiO3 itself",)),
        ("Li2SiO3 Li2O SiO2", "reduction", ("any Li-Si compound",)),
        ("Li2SiO3 Li2O SiO2", "oxidation", ()),
        ("Li2SiO3 Li2O Li22Si5", "oxidation", ("any O-Si compound",)),
        ("Li2SiO3 SiO2", "oxidation", ("any Li-O compound",)),
    ],
)
def test_what_lacks_is_named_limit_by_limit(known, limit, expected):
    assert lacking("Li2SiO3", known, limit) == expected


def test_pairs_that_form_nothing_are_not_asked_for():
    # Lithium and zirconium are immiscible; so are lanthanum and zirconium.
    known = "Li7La3Zr2O12 Li2O La2O3 ZrO2 LiLaO2 Li2ZrO3"
    assert lacking("Li7La3Zr2O12", known) == ()
    # Aluminium and silicon make a eutectic without a compound.
    assert lacking("LiAlSiO4", "LiAlSiO4 Li2O Al2O3 SiO2 LiAl Li22Si5 LiAlO2 Li2SiO3") == ()
    assert lacking("LiNO3", "LiNO3 Li2O Li3N") == ()
    assert lacking("LiClO4", "LiClO4 Li2O LiCl") == ()


def test_alloys_of_the_cations_bound_the_reduction_only():
    known = "Li2MgSiO4 Li2O MgO SiO2 Li22Si5 Li6MgO4 Li2SiO3"
    assert lacking("Li2MgSiO4", known) == ("any Mg-Si compound",)
    assert lacking("Li2MgSiO4", known, "oxidation") == ()


def test_each_cation_needs_a_ternary_with_lithium_and_one_of_the_anions():
    binaries = "Li2S LiCl P2S5 PCl5 S2Cl2 Li3P"
    lacks = ("any compound of Li, P and Cl or S",)
    assert lacking("Li6PS5Cl", f"Li6PS5Cl {binaries}") == lacks
    assert lacking("Li6PS5Cl", f"Li6PS5Cl {binaries} Li3PS4") == ()


def test_binary_needs_only_itself():
    assert lacking("Li3N", "Li3N") == ()
    assert lacking("Li3N", "Li3N", "oxidation") == ()
