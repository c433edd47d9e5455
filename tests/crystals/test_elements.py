import subprocess
import sys

import numpy as np
import pytest
from pymatgen.core import Element

from mfal.crystals import elements
from mfal.errors import MfalError


def test_symbols_are_the_periodic_table():
    assert [Element(symbol).Z for symbol in elements.SYMBOLS] == list(range(1, 104))
    assert [elements.atomic_number(symbol) for symbol in elements.SYMBOLS] == list(range(1, 104))


def test_hydrogen_isotopes_are_hydrogen():
    assert elements.atomic_number("D") == elements.atomic_number("T") == 1


@pytest.mark.parametrize("symbol", ["Xx", "li", "", "X0+"])
def test_unknown_symbol_is_named(symbol):
    with pytest.raises(MfalError, match=repr(symbol).replace("+", r"\+")):
        elements.atomic_number(symbol)


@pytest.mark.parametrize(
    ("ion", "radius"),
    [
        # Shannon (1976), table 1, coordination six, high spin
        (("Li", 1), 0.76),
        (("O", -2), 1.40),
        (("F", -1), 1.33),
        (("S", -2), 1.84),
        (("Cl", -1), 1.81),
        (("Fe", 2), 0.780),
        (("Fe", 3), 0.645),
        (("Co", 3), 0.61),
        (("P", 5), 0.38),
        (("Ti", 4), 0.605),
        (("La", 3), 1.032),
        (("Zr", 4), 0.72),
        # only coordination four is listed
        (("N", -3), 1.46),
    ],
)
def test_shannon_radii(ion, radius):
    assert elements.IONIC_RADIUS[ion] == radius


@pytest.mark.parametrize(
    ("symbol", "mass", "chi", "covalent", "shell"),
    [
        ("H", 1.008, 2.20, 0.31, 1),
        ("Li", 6.94, 0.98, 1.28, 2),
        ("O", 15.999, 3.44, 0.66, 2),
        ("P", 30.974, 2.19, 1.07, 3),
        ("Cl", 35.45, 3.16, 1.02, 3),
        ("Fe", 55.845, 1.83, 1.32, 4),
        ("La", 138.905, 1.10, 2.07, 6),
        ("U", 238.029, 1.38, 1.96, 7),
    ],
)
def test_published_values(symbol, mass, chi, covalent, shell):
    index = elements.atomic_number(symbol) - 1
    assert elements.ATOMIC_MASS[index] == pytest.approx(mass, abs=0.005)
    assert elements.ELECTRONEGATIVITY[index] == chi
    assert elements.COVALENT_RADIUS[index] == covalent
    assert elements.PRINCIPAL_QUANTUM_NUMBER[index] == shell


def test_gaps_are_nan_and_nothing_else_is():
    assert {elements.SYMBOLS[i] for i in np.flatnonzero(np.isnan(elements.ELECTRONEGATIVITY))} == {
        "He",
        "Ne",
        "Ar",
    }
    assert np.flatnonzero(np.isnan(elements.COVALENT_RADIUS)).tolist() == list(range(96, 103))
    assert np.isfinite(elements.ATOMIC_MASS).all()


def test_oxidation_states_leave_zero_out():
    assert elements.OXIDATION_STATES["Li"] == (1,)
    assert elements.OXIDATION_STATES["O"] == (-2,)
    assert elements.OXIDATION_STATES["Fe"] == (2, 3)
    assert elements.OXIDATION_STATES["P"] == (-3, 3, 5)
    assert all(0 not in states for states in elements.OXIDATION_STATES.values())


def test_tables_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        elements.ATOMIC_MASS[0] = 1.0
    with pytest.raises(TypeError):
        elements.IONIC_RADIUS["Li", 1] = 1.0


def test_stand_in_radii():
    assert elements.ionic_radius("D", 1) == elements.IONIC_RADIUS["H", 1]
    # a mean valence lies between its neighbours
    assert elements.ionic_radius("Fe", 2.5) == pytest.approx((0.780 + 0.645) / 2)
    # no anion of these is listed: near the covalent radius of the ion that softBV states
    assert elements.ionic_radius("P", -3) == pytest.approx(1.92, abs=0.1)
    assert elements.ionic_radius("H", -1) == pytest.approx(1.14, abs=0.1)
    assert 0 < elements.ionic_radius("Lr", 3) < 1.5


def test_import_stays_light():
    code = "import sys, mfal.crystals.elements; sys.exit('pymatgen' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
