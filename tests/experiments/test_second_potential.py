"""The comparison of two potentials: which phases compete, what is corrected, how verdicts agree."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from mfal.errors import MfalError
from mfal.oracles.stability import CompetingPhase, competing_phases, hull_distance

FOLDER = Path(__file__).parents[2] / "experiments"
AB = {"A": 1.0, "B": 1.0}


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module("second_potential")
    sys.path.remove(str(FOLDER))


def phase(formula, amounts, energy):
    return CompetingPhase(formula, amounts, energy, 0, 10.0, "", f"{formula} {energy}")


def test_competitors_lie_near_the_plane_through_the_products(script):
    """A hull of two halves, A-AB and AB-B; at A3B the first half's plane counts."""
    a, b, ab = phase("A", {"A": 1.0}, 0.0), phase("B", {"B": 1.0}, 0.0), phase("AB", AB, -1.0)
    higher = phase("AB", AB, -0.99)
    near = phase("A2B", {"A": 2.0, "B": 1.0}, -0.64)  # .027 above -2/3
    far = phase("A4B", {"A": 4.0, "B": 1.0}, -0.3)  # .1 above -.4
    other = phase("C", {"C": 1.0}, -9.0)
    found = script.competitors({"A": 3.0, "B": 1.0}, [b, far, other, higher, near, ab, a])
    assert [each.formula for each in found] == ["A", "A2B", "AB"]
    assert found[2] is ab
    # What lies on the other side of the kink is far above the plane.
    assert b not in found


def test_competitors_give_the_distance_that_the_whole_table_gives(script):
    amounts = {"Li": 3.0, "P": 1.0, "S": 4.0}
    rivals = script.competitors(amounts, competing_phases())
    assert len(rivals) < 20
    whole = hull_distance(-4.7, amounts).distance
    assert script.distance(-4.7, amounts, rivals) == pytest.approx(whole, abs=1e-6)


def test_corrections_are_those_of_wang_and_others(script):
    """Table 1 there: -.687 eV per atom of oxygen in an oxide, -.534 of bromine."""
    oxide = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.62), ["Li", "O"], [[0.25] * 3, [0, 0, 0]]
    )
    salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.5), ["Li", "Br"], [[0, 0, 0], [0.5] * 3]
    )
    assert script.correction(oxide) == pytest.approx(-0.687 / 3)
    assert script.correction(salt) == pytest.approx(-0.534 / 2)
    assert script.correction(Structure(Lattice.cubic(3.4), ["Li"], [[0, 0, 0]])) == 0.0


def test_kappa_of_two_verdicts(script):
    """20 yes by both, 15 no by both, 5 and 10 of one alone: .7 agree, .5 would by chance."""
    pairs = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10 + [(False, False)] * 15
    assert script.kappa(pairs) == pytest.approx(0.4)
    assert np.isnan(script.kappa([(True, True)] * 3))


@pytest.mark.skipif(importlib.util.find_spec("sevenn") is not None, reason="sevenn is installed")
def test_without_the_extra_the_remedy_is_named(script):
    with pytest.raises(MfalError, match="second"):
        script.second_potential()
