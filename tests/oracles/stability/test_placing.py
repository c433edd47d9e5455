"""Structures relaxed and placed on the hull, by a simple potential and by CHGNet."""

import json
import math

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from mfal.data.embedded import load_embedded
from mfal.data.table import Material, MaterialTable
from mfal.errors import MfalError
from mfal.oracles import stable_conductors
from mfal.oracles.stability.hull import competing_phases
from mfal.oracles.stability.phases import phases_of_table
from mfal.oracles.stability.placing import formation_energy, hull_oracle, place_structures
from mfal.oracles.stability.types import CompetingPhase
from tests.potentials.analytic import argon, lennard_jones

ARGON = lennard_jones(0.0104, 3.4, 5.0)


def cube(a: float = 5.3, species: str = "Ar") -> Structure:
    positions, cell, _ = argon(1, a)
    return Structure(Lattice(cell), [species] * 4, positions, coords_are_cartesian=True)


def alone(energy: float) -> tuple[CompetingPhase, ...]:
    return (CompetingPhase("Ar", {"Ar": 1.0}, energy, 225, math.nan, "test", "Ar"),)


def test_the_distance_is_the_relaxed_energy_less_the_hulls():
    oracle = hull_oracle(ARGON, alone(-0.1), version="1-argon")
    mixed = Structure(Lattice.cubic(4), [{"Ar": 0.5}], [[0, 0, 0]])
    both = Structure(Lattice.cubic(4), ["Ar", "Ar"], [[0, 0, 0], [0, 0, 0]])
    good, partial, clash, other = oracle.evaluate([cube(), mixed, both, cube(species="Kr")])
    assert good.ok
    record = good.provenance
    assert good.value == pytest.approx(record["energy"] + 0.1)
    assert record["decomposition"] == {"Ar": 1.0}
    assert record["bounded"]
    assert abs(record["volume_change"]) < 0.01  # 0.2 GPa is loose for argon
    assert record["space_groups"] == [225, 225]
    json.dumps(record)
    for bad, reason in (
        (partial, "partial occupancies have no energy by a potential; order the cell first"),
        (clash, "share"),
        (other, "lacks the element Kr; make one with `mfal data phases`"),
    ):
        assert bad.status.startswith("failed: ")
        assert reason in bad.status
        assert math.isnan(bad.value)
    assert other.provenance["volume_change"] == pytest.approx(record["volume_change"])


def test_energies_of_two_sources_are_not_mixed():
    with pytest.raises(MfalError, match="energies by the same potential"):
        place_structures([cube()], ARGON)
    with pytest.raises(MfalError, match="without a version"):
        hull_oracle(ARGON, alone(0.0))


def test_a_tables_structures_become_competing_phases(recwarn):
    mixed = Structure(Lattice.cubic(4), [{"Ar": 0.5}], [[0, 0, 0]])
    rows = [
        Material(id=name, formula="Ar", composition={"Ar": 1.0}, structure=structure.as_dict())
        for name, structure in (("fcc", cube()), ("mixed", mixed))
    ]
    (only,) = phases_of_table(MaterialTable.from_rows(rows), ARGON)
    assert (only.key, only.formula, only.space_group_number) == ("fcc", "Ar", 225)
    assert only.volume == pytest.approx(5.3**3 / 4, rel=0.01)
    assert "1 of 2 materials are left out" in str(recwarn[-1].message)
    (answer,) = hull_oracle(ARGON, (only,), version="1").evaluate([cube()])
    assert answer.value == pytest.approx(0.0, abs=1e-5)


def test_the_chain_with_the_hull_below_the_target():
    chain = stable_conductors()
    assert [oracle.fidelity for oracle in chain] == [0, 1, 2, 3]
    assert [oracle.name for oracle in chain[2:]] == ["hull_distance", "conductivity"]


@pytest.mark.slow
def test_chgnet_finds_the_tables_energy_again_in_any_cell():
    own = {phase.key: phase for phase in competing_phases()}
    table = load_embedded()
    names = ("mp-dielectric-4595", "mp-dielectric-3263")
    structures = [table.structures()[table.ids.index(name)] for name in names]
    larger = structures[0].copy().remove_oxidation_states() * (1, 1, 2)
    answers = hull_oracle().evaluate([*structures, larger])
    for name, answer in zip((*names, names[0]), answers, strict=True):
        assert answer.ok, answer.status
        assert answer.provenance["energy"] == pytest.approx(own[name].energy, abs=2e-3)
        assert abs(answer.value) < 0.05
    (formed,) = formation_energy().evaluate(structures[:1])
    assert np.isfinite(formed.value)
    assert formed.value < -1.0
