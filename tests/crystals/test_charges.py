import pytest
from pymatgen.core import Lattice, Structure

from mfal.crystals.charges import (
    add_oxidation_states,
    balanced_charges,
    charge,
    element_charges,
)
from mfal.errors import MfalError
from tests.shared_data import shared_data


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("Li1 Co1 O2", "Li1 Co3 O-2"),
        ("Li1 Fe1 P1 O4", "Li1 Fe2 P5 O-2"),
        ("Li3 P1 S4", "Li1 P5 S-2"),
        ("Li1 S1 O3 F1", "Li1 S6 O-2 F-1"),
        ("Li2 S1 O4", "Li1 S6 O-2"),
        ("Li2 C1 O3", "Li1 C4 O-2"),
        ("Li1 B1 H4", "Li1 B3 H-1"),
        ("Li3 P1", "Li1 P-3"),
        ("Li6 P1 S5 Cl1", "Li1 P5 S-2 Cl-1"),
        ("Li7 La3 Zr2 O12", "Li1 La3 Zr4 O-2"),
        # a mean of Mn3+ and Mn4+
        ("Li1 Mn2 O4", "Li1 Mn3.5 O-2"),
        # V3+, which the common states leave out, and no mean of phosphorus
        ("Li3 V2 P3 O12", "Li1 V3 P5 O-2"),
        ("Li5 V4 P6 O24", "Li1 V3.25 P5 O-2"),
    ],
)
def test_textbook_states(formula, expected):
    def parse(text):
        pairs = [(t.rstrip("-.0123456789"), t) for t in text.split()]
        return {symbol: float(t[len(symbol) :]) for symbol, t in pairs}

    assert balanced_charges(parse(formula)) == pytest.approx(parse(expected))


def test_order_and_scale_of_the_formula_do_not_matter():
    one = balanced_charges({"Li": 10, "Ge": 1, "P": 2, "S": 12})
    assert balanced_charges({"S": 24, "P": 4, "Ge": 2, "Li": 20}) == one


@pytest.mark.parametrize("formula", [{"Li": 1}, {"Li": 1, "Cl": 3}, {"Li": 2, "He": 1}])
def test_no_balance_is_an_error_that_names_the_formula(formula):
    with pytest.raises(MfalError, match="no oxidation states balance"):
        balanced_charges(formula)


def test_rounded_occupancies_pass_only_within_the_tolerance():
    off = {"Li": 0.99, "Cl": 1.0}
    with pytest.raises(MfalError):
        balanced_charges(off)
    assert balanced_charges(off, tolerance=0.02) == {"Li": 1.0, "Cl": -1.0}


def rock_salt(cation="Li", anion="Cl"):
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.14), [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )


def site_charges(structure):
    """The mean charge of the ions that share each site."""
    return [
        sum(charge(species) * amount for species, amount in site.species.items())
        / site.species.num_atoms
        for site in add_oxidation_states(structure)
    ]


def test_ordered_structure_by_bond_valence():
    assert site_charges(rock_salt()) == [1.0] * 4 + [-1.0] * 4
    assert element_charges(rock_salt()) == {"Li": 1.0, "Cl": -1.0}


def test_charges_in_the_input_are_kept_only_if_they_balance():
    # odd but neutral: the user's word stands
    kept = add_oxidation_states(rock_salt("Li2+", "Cl2-"))
    assert {charge(s) for s in kept.composition} == {2.0, -2.0}
    mended = add_oxidation_states(rock_salt("Li2+", "Cl-"))
    assert {charge(s) for s in mended.composition} == {1.0, -1.0}


def test_shared_sites_have_the_mean_charge_of_their_ions():
    perovskite = Structure(
        Lattice.cubic(3.87),
        [{"Li": 0.5, "La": 0.5}, "Ti", "O", "O", "O"],
        [[0.5] * 3, [0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]],
    )
    assert site_charges(perovskite) == pytest.approx([2.0, 4.0, -2.0, -2.0, -2.0])
    half = rock_salt({"Li": 0.5, "Mg": 0.25})
    # a vacancy does not dilute the charge of what is there
    assert site_charges(half)[0] == pytest.approx((0.5 + 0.5) / 0.75)


def test_input_is_left_alone():
    structure = rock_salt()
    before = structure.copy()
    add_oxidation_states(structure)
    assert structure == before


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ("fwz", {"Li": 1, "Si": 4, "S": -2}),
        ("9lo", {"Li": 1, "P": 5, "O": -2}),
        ("rr5", {"Li": 1, "Ti": 4, "P": 5, "O": -2}),
        # partly occupied
        ("mg4", {"Li": 1, "Ti": 4, "Al": 3, "P": 5, "O": -2}),
    ],
)
def test_measured_structures(identifier, expected):
    from mfal.crystals.reading import read_structure

    path = shared_data("obelix", "all_randomized_cifs", f"{identifier}.cif")
    assert element_charges(read_structure(path)) == pytest.approx(expected)
