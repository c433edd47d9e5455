import math

import numpy as np
import pytest

from mfal.crystals.bond_valence import (
    MORSE,
    SOFTBV_RADIUS,
    morse_parameters,
    pair_table,
    softbv_radius,
)
from mfal.crystals.contacts import least_distances
from mfal.crystals.elements import COVALENT_RADIUS, atomic_number


@pytest.mark.parametrize(
    ("anion", "charge", "r_min", "alpha", "d0"),
    [
        # the published rows of Li+ (softBV)
        ("N", -3, 2.132557, 1.569859, 2.054953),
        ("O", -2, 1.940013, 1.937984, 0.98816),
        ("F", -1, 1.87265, 1.968504, 0.49611),
        ("S", -2, 2.40971, 1.531394, 1.04027),
        ("Cl", -1, 2.39647, 1.577287, 0.49302),
        ("Se", -2, 2.68386, 1.461988, 0.8875),
        ("Br", -1, 2.58255, 1.481481, 0.4491),
        ("Te", -2, 2.73313, 1.371742, 0.88544),
        ("I", -1, 2.78807, 1.360544, 0.44117),
    ],
)
def test_lithium_rows_are_the_published_ones(anion, charge, r_min, alpha, d0):
    row = morse_parameters("Li", 1, anion, charge)
    assert row.listed
    assert row[:3] == (r_min, alpha, d0)


def test_all_rows_make_sense():
    assert len(MORSE) == 557
    for (cation, charge, anion, anion_charge), row in MORSE.items():
        assert charge > 0 > anion_charge
        assert 0.9 < row.r_min < 4.5, (cation, anion)
        assert 1 < row.alpha < 3.5
        assert row.d0 > 0
        atomic_number(cation), atomic_number(anion)


def test_depths_follow_from_charges_and_shells_for_main_group_cations():
    for cation, charge, shell in [
        ("Li", 1, 2),
        ("Na", 1, 3),
        ("Mg", 2, 3),
        ("P", 5, 3),
        ("Si", 4, 3),
    ]:
        row = MORSE[cation, charge, "O", -2]
        expected = 14.4 * charge * 2 / (2 * row.alpha**2 * row.r_min * math.sqrt(shell * 2))
        assert row.d0 == pytest.approx(expected, rel=1e-4)


def test_faulty_rows_are_estimated_instead():
    # the source lists a Morse well of negative width and 1.06 Å for Be-S
    row = morse_parameters("Be", 2, "S", -2)
    assert not row.listed
    assert 1.8 < row.r_min < 2.3
    assert row.alpha > 0


def test_means_of_charges_take_a_listed_row():
    assert morse_parameters("Mn", 3.4, "O", -2) == MORSE["Mn", 3, "O", -2]
    assert morse_parameters("Mn", 3.6, "O", -2) == MORSE["Mn", 4, "O", -2]


def test_estimates_are_near_what_they_stand_for():
    # the listed bonds, guessed as if they were not listed
    from mfal.crystals import bond_valence

    errors = []
    for (cation, charge, anion, anion_charge), row in MORSE.items():
        radii = bond_valence.ionic_radius(cation, charge) + bond_valence.ionic_radius(
            anion, anion_charge
        )
        errors.append(radii - bond_valence._SHORTER - row.r_min)
    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 0.2


def test_radii_of_ions():
    assert SOFTBV_RADIUS["O", -2] == 1.33
    assert SOFTBV_RADIUS["Li", 1] == 1.31
    # not listed: the nearest charge, then Cordero's radius, larger for anions
    assert softbv_radius("Fe", 2.6) == SOFTBV_RADIUS["Fe", 3]
    assert softbv_radius("Si", -4) == pytest.approx(COVALENT_RADIUS[13] + 0.7)


def test_pair_table_is_symmetric_and_tells_signs_apart():
    species = [("Li", 1), ("P", 5), ("S", -2), ("Cl", -1)]
    table = pair_table(species)
    for name, array in table._asdict().items():
        if array.ndim == 2:
            assert np.array_equal(array, array.T), name
    signs = np.sign([q for _, q in species])
    unlike = signs[:, None] != signs
    assert np.array_equal(table.bonded == 1, unlike)
    assert ((table.depth > 0) == unlike).all()
    assert ((table.repulsion > 0) == ~unlike).all()
    assert table.repulsion[0, 1] == pytest.approx(14.4 * 5 / math.sqrt(6))
    assert table.screening[2, 3] == pytest.approx(0.74 * (1.84 + 1.74))


def test_least_distances_admit_known_contacts():
    # shortest contacts met in crystals, Å
    contacts = {
        (("C", 4), ("O", -2)): 1.25,
        (("P", 5), ("O", -2)): 1.48,
        (("S", 6), ("O", -2)): 1.44,
        (("N", 5), ("O", -2)): 1.21,
        (("B", 3), ("O", -2)): 1.30,
        (("H", 1), ("O", -2)): 0.96,
        (("B", 3), ("H", -1)): 1.15,
        (("O", -2), ("O", -2)): 2.18,
        (("S", -2), ("S", -2)): 3.2,
        (("Li", 1), ("Li", 1)): 2.1,
        (("Li", 1), ("O", -2)): 1.75,
        (("Li", 1), ("I", -1)): 2.6,
    }
    for (a, b), distance in contacts.items():
        least = least_distances([a, b])
        assert least[0, 1] < distance, (a, b)
        assert least[0, 1] > 0.6 * distance, (a, b)
        assert np.array_equal(least, least.T)
