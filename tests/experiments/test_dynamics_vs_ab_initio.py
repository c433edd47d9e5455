"""Published ab initio dynamics beside the oracle's: arithmetic, and that the table can be used."""

import importlib
import math
import sys
from pathlib import Path

import pytest

from mfal.data import load_embedded
from mfal.oracles.dynamics.estimates import conductivity_of

FOLDER = Path(__file__).parents[2] / "experiments"
LINE = {"diffusion_cm2_per_s": "", "activation_energy_ev": "0.3"}


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module("dynamics_vs_ab_initio")
    sys.path.remove(str(FOLDER))


def test_a_conductivity_at_300_kelvin_becomes_the_coefficient_that_the_oracle_would_give_it(script):
    ions, volume, coefficient = 20, 979.0, 2e-4  # Å³, Å²/ps
    conductivity = 1e3 * conductivity_of(coefficient, ions, volume, 300.0)  # mS/cm
    row = LINE | {"conductivity_300k_ms_per_cm": str(conductivity)}
    at_300 = script.published_diffusion(row, 300.0, ions / volume)
    assert at_300 == pytest.approx(1e-4 * coefficient, rel=1e-6)
    at_700 = script.published_diffusion(row, 700.0, ions / volume)
    slope = -script.BOLTZMANN * math.log(at_700 / at_300) / (1 / 700 - 1 / 300)
    assert slope == pytest.approx(0.3)


def test_barriers_lowered_by_a_fifth_are_found_to_be(script, capsys):
    lines = []
    for energy, kelvin in ((0.2, 700.0), (0.4, 1000.0), (0.5, 1000.0)):
        ratio = math.exp(0.2 * energy / (script.BOLTZMANN * kelvin))
        decades = math.log10(ratio)
        lines.append(
            {"activation_energy": energy, "temperature": kelvin, "decades": decades}
            | {"error": 0.1, "published": [1e-5]}
        )
    bound = {"activation_energy": 0.3, "temperature": 700.0, "published": [1e-6], "bound": 1e-5}
    found = script.summarise([*lines, bound])
    assert found["compounds"] == 3
    assert found["softening"]["middle"] == pytest.approx(0.8)
    assert "here faster" in capsys.readouterr().out


def test_each_published_value_has_a_source_and_a_crystal(script):
    embedded = set(load_embedded().ids)
    for (_, structure, kelvin), rows in script.published().items():
        assert structure in embedded or structure.startswith("obelix-")
        for row in rows:
            assert "doi:" in row["source"]
            assert row["reading"]
            assert 1e-9 < script.published_diffusion(row, kelvin, 0.02) < 1e-3
