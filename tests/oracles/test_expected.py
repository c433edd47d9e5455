import math

import pytest

from mfal.oracles import ExpectedConductivity, default_oracles, expected_conductivity, kmc


@pytest.mark.parametrize("oracle", [*default_oracles(), kmc()], ids=lambda oracle: oracle.name)
def test_every_version_is_measured_against_experiment(oracle) -> None:  # type: ignore[no-untyped-def]
    # A new version of an oracle has to be compared anew: experiments/tables says how.
    low, high = oracle.bounds
    worst, best = (low, high) if oracle.higher_is_better else (high, low)
    poor, good = (expected_conductivity(oracle.name, oracle.version, x) for x in (worst, best))
    assert poor is not None
    assert good is not None
    # Conductivities of solid electrolytes, and an error of decades.
    assert -13 < poor.log10 < good.log10 < -1
    assert 1 < poor.decades == good.decades < 4
    beyond = expected_conductivity(oracle.name, oracle.version, math.inf)
    assert beyond == (good if oracle.higher_is_better else poor)


def test_what_was_not_compared_has_no_expectation() -> None:
    (oracle, *_) = default_oracles()
    assert expected_conductivity(oracle.name, oracle.version + "-other", 0.5) is None
    assert expected_conductivity("mine", oracle.version, 0.5) is None
    assert expected_conductivity(oracle.name, oracle.version, math.nan) is None


def test_words() -> None:
    words = str(ExpectedConductivity(-5.0, 2.3))
    assert words == "1e-05 S/cm, within 2.3 decades in two of three cases"
