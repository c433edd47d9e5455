"""Numbers and units as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfal.data.units import base_unit, split_unit, unit_factor, written_number
from mfal.errors import MfalError


@pytest.mark.parametrize(
    ("text", "value", "censoring", "uncertainty"),
    [
        ("1.2e-6", 1.2e-6, "exact", None),
        ("1,2e-6", 1.2e-6, "exact", None),
        (" 1.2 E-6 ", 1.2e-6, "exact", None),
        ("1.2E−6", 1.2e-6, "exact", None),
        ("1.2·10⁻⁶", 1.2e-6, "exact", None),
        ("1.2 x 10^-6", 1.2e-6, "exact", None),
        ("1.2(3)e-6", 1.2e-6, "exact", 3e-7),
        ("12(3)e-6", 12e-6, "exact", 3e-6),
        ("1.2 ± 0.3", 1.2, "exact", 0.3),
        ("(1.2 ± 0.3)e-6", 1.2e-6, "exact", 3e-7),
        ("1.2e-6 +/- 3e-7", 1.2e-6, "exact", 3e-7),
        ("<1E-10", 1e-10, "below", None),
        ("≤ 1e-10", 1e-10, "below", None),
        (">= 3", 3.0, "above", None),
        ("~0.5", 0.5, "exact", None),
        ("1,234.5", 1234.5, "exact", None),
        ("-0.5", -0.5, "exact", None),
    ],
)
def test_written_numbers(text, value, censoring, uncertainty):
    written = written_number(text)
    assert written.value == value
    assert written.censoring == censoring
    assert written.uncertainty == (None if uncertainty is None else pytest.approx(uncertainty))


@pytest.mark.parametrize("text", ["", "fast", "1.2.3", "inf", "nan", "1e", "--1", "1 of 2"])
def test_what_is_no_number(text):
    with pytest.raises(MfalError):
        written_number(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_comes_back(value):
    assert written_number(repr(value)).value == value
    assert written_number(repr(value).replace(".", ",")).value == value


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("S/cm", 1.0),
        ("S cm-1", 1.0),
        ("S·cm⁻¹", 1.0),
        ("S.cm-1", 1.0),
        ("S / cm", 1.0),
        ("mS cm⁻¹", 1e-3),
        ("µS/cm", 1e-6),
        ("μS cm^-1", 1e-6),
        ("S/m", 1e-2),
        ("mS/m", 1e-5),
        ("Ω⁻¹ m⁻¹", 1e-2),
        ("Ohm-1 cm-1", 1.0),
        ("1/(Ω cm)", 1.0),
    ],
)
def test_conductivities(unit, factor):
    assert unit_factor(unit, "S/cm") == pytest.approx(factor, rel=1e-15)
    assert base_unit(unit) == ("S/cm", pytest.approx(factor, rel=1e-15))


def test_energies_and_other_units():
    assert unit_factor("kJ mol-1", "eV") == pytest.approx(0.0103642697, rel=1e-8)
    assert unit_factor("kcal/mol", "eV") == pytest.approx(0.0433641043, rel=1e-8)
    assert unit_factor("meV", "eV") == 1e-3
    assert unit_factor("GPa", "GPa") == 1.0
    assert base_unit("GPa") == ("GPa", 1.0)
    for unit in ("meV", "S cm", "S", "", "cm/S"):
        with pytest.raises(MfalError, match="S/cm"):
            unit_factor(unit, "S/cm")


def test_units_in_the_names_of_columns():
    assert split_unit("sigma / mS cm-1") == ("sigma", "mS cm-1")
    assert split_unit("σ, S/cm") == ("σ", "S/cm")
    assert split_unit("a (note)") == ("a (note)", "")
