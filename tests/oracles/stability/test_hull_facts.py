"""The table of competing phases held to facts: known crystals and measured enthalpies."""

import numpy as np
import pytest
from pymatgen.core import Composition

from experiments.hull_facts import formation_energies, leave_one_out, measured_enthalpies
from mfal.data import load_competing_phases, load_embedded
from mfal.oracles.stability import competing_phases


def test_known_crystals_lie_near_the_hull_of_all_others():
    """Each is left out of the hull; the same composition of another source may stay."""
    found = leave_one_out()
    assert len(found) >= 120
    near = np.array([each.distance <= 0.05 for each in found])
    bounded = np.array([each.bounded for each in found])
    assert near.mean() >= 0.85
    assert near[bounded].mean() >= 0.85
    assert bounded.mean() >= 0.3


def test_formation_energies_are_the_measured_ones():
    found = formation_energies(measured_enthalpies())
    assert len(found) >= 55
    assert np.median([abs(each.computed - each.measured) for each in found]) <= 0.15
    lithium = [each for each in found if "Li" in Composition(each.formula)]
    assert len(lithium) >= 12
    assert np.median([abs(each.computed - each.measured) for each in lithium]) <= 0.15


def test_energies_and_structures_are_of_the_same_phases():
    phases = {phase.key: phase for phase in competing_phases()}
    assert len(phases) == len(competing_phases())
    table = load_competing_phases()
    others = {key for key in phases if not key.startswith(("chgnet-", "exchange-"))}
    others -= set(table.ids)
    assert others <= set(load_embedded().ids)
    for material in table:
        phase = phases[material.id]
        assert phase.formula == material.formula
        ours, theirs = (Composition(dict(x)) for x in (phase.amounts, material.composition))
        assert ours.fractional_composition.almost_equals(theirs.fractional_composition)
    for index in range(0, len(table), 40):
        structure = table.structure(index)
        phase = phases[table.ids[index]]
        assert structure.volume / len(structure) == pytest.approx(phase.volume, rel=0.01)
