"""Distances from the hull, and the table of competing phases held to facts."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.phase_diagram import PhaseDiagram
from pymatgen.core import Composition

from mfal.errors import MfalError
from mfal.oracles.stability.energies import chemical_system
from mfal.oracles.stability.hull import competing_phases, hull_distance, mixture_of
from mfal.oracles.stability.phases import read_phases, write_phases
from mfal.oracles.stability.thermochemistry import potential_energies
from mfal.oracles.stability.types import CompetingPhase


def phase(formula: str, energy: float, key: str | None = None) -> CompetingPhase:
    amounts = Composition(formula).get_el_amt_dict()
    return CompetingPhase(formula, amounts, energy, 0, math.nan, "test", key or formula)


SALT = (phase("Li", -2.0), phase("Cl", -1.8), phase("LiCl", -4.0))


def test_a_distance_is_by_hand_what_it_is():
    place = hull_distance(-2.5, "Li3Cl", SALT)  # half LiCl by atoms, half Li: -3.0
    assert place.distance == pytest.approx(0.5)
    assert place.products == {"LiCl": 0.5, "Li": 0.5}
    assert place.bounded
    below = hull_distance(-4.2, "LiCl", SALT)
    assert below.distance == pytest.approx(-0.2)
    against_elements = hull_distance(-4.2, Composition("LiCl"), SALT, without=("LiCl",))
    assert against_elements.distance == pytest.approx(-2.3)
    assert not against_elements.bounded
    assert against_elements.lacking == ("any Cl-Li compound",)


def test_a_chemistry_that_is_not_bounded_says_what_is_missing():
    place = hull_distance(-4.0, {"Li": 1.0, "Pu": 1.0})
    assert math.isnan(place.distance)
    assert not place.bounded
    assert place.lacking == ("the element Pu",)
    with pytest.raises(MfalError, match="not a formula"):
        hull_distance(-1.0, "Li2Qq")
    with pytest.raises(MfalError, match="energy of nan"):
        hull_distance(math.nan, "Li2O")


@pytest.mark.parametrize("system", ["Li P S", "Li Ge O P", "Al Cl Li O Y"])
def test_the_hull_is_pymatgens(system):
    elements = system.split()
    entries = chemical_system(potential_energies(), elements)
    diagram = PhaseDiagram(list(entries))
    known = [p for p in competing_phases() if p.amounts.keys() <= set(elements)]
    rng = np.random.default_rng(0)
    for _ in range(10):
        amounts = dict(zip(elements, rng.integers(1, 9, len(elements)).astype(float), strict=True))
        shares = mixture_of(amounts, known)
        ours = sum(share * known[k].energy for k, share in shares.items())
        assert ours == pytest.approx(
            diagram.get_hull_energy_per_atom(Composition(amounts)), abs=1e-6
        )
        mixed: dict[str, float] = dict.fromkeys(elements, 0.0)
        for k, share in shares.items():
            for e, n in known[k].amounts.items():
                mixed[e] += share * n / sum(known[k].amounts.values())
        assert sum(shares.values()) == pytest.approx(1.0)
        for e in elements:
            assert mixed[e] == pytest.approx(amounts[e] / sum(amounts.values()))


@settings(max_examples=20, deadline=None)
@given(
    energies=st.lists(st.floats(-6, -1), min_size=3, max_size=3),
    amounts=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_more_phases_never_raise_the_hull(energies, amounts):
    formulas = ["Li2O", "Li2O2", "LiO2"]
    phases = [phase("Li", -2.0), phase("O", -5.0)]
    composition = dict(zip(("Li", "O"), map(float, amounts), strict=True))
    before = -math.inf
    for formula, energy in zip(formulas, energies, strict=True):
        distance = hull_distance(0.0, composition, phases).distance
        assert distance >= before - 1e-9
        before = distance
        phases.append(phase(formula, energy))


def test_tables_are_written_and_read(tmp_path):
    path = tmp_path / "phases.csv"
    write_phases(path, SALT)
    again = read_phases(path)
    assert {p.formula: p.energy for p in again} == {p.formula: p.energy for p in SALT}
    assert [p.amounts for p in again] == [{"Cl": 1.0}, {"Li": 1.0}, {"Li": 1.0, "Cl": 1.0}]
    path.write_text(path.read_text().replace("-4.00000", "low"))
    with pytest.raises(MfalError, match="line 4: could not convert"):
        read_phases(path)
    path.write_text("formula,energy\n")
    with pytest.raises(MfalError, match="no column"):
        read_phases(path)
    with pytest.raises(MfalError, match="No such file"):
        read_phases(tmp_path / "none.csv")
