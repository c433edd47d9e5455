"""Every embedded crystal is rebuilt and checked against what its record states."""

import json
import math
import re
from importlib.resources import files

import numpy as np
import pytest
from pymatgen.core import Composition, Structure

from mfal.crystals.structures import crystal_from_structure, space_group_number
from mfal.data import load_embedded
from mfal.data.table import CONDUCTIVITY

TABLE = load_embedded()
NEEDED = (
    *("Li3N", "Li2O", "Li2S", "LiF", "LiCl", "LiBr", "LiI", "Li3PO4", "Li3PS4", "Li6PS5Cl"),
    *("Li10GeP2S12", "LiTi2(PO4)3", "Li7La3Zr2O12", "Li0.5La0.5TiO3", "Li4SiO4", "LiAlO2"),
    *("LiNbO3", "Li3ErCl6", "Li3YCl6", "Li3OCl", "Li7P3S11"),
)
FAMILIES = "oxide phosphate silicate sulfide chloride fluoride nitride garnet NASICON perovskite"
# Å; the shortest bonds are N-H and O-H, and without hydrogen C-N (1.23 Å in cyanamides). Two sites
# nearer than the exclusion distance can't both hold an ion, so they may not both be filled.
SHORTEST = 1.2
EXCLUSION = 1.6
SHORTEST_WITH_HYDROGEN = 0.9


@pytest.fixture(scope="module")
def structures() -> list[Structure]:
    return list(TABLE.structures())


def check_distances(structure: Structure) -> None:
    """No two atoms too close, partly filled sites that exclude each other set aside."""
    filled = np.array([site.species.num_atoms for site in structure])
    for i, j, _, distance in zip(*structure.get_neighbor_list(EXCLUSION), strict=True):
        exclusive = filled[i] + filled[j] <= 1.0 + 1e-3
        elements = {s.symbol for k in (i, j) for s in structure[k].species}
        limit = SHORTEST_WITH_HYDROGEN if "H" in elements else SHORTEST
        assert exclusive or distance > limit, (structure[i], structure[j], distance)


def reduced(formula: str) -> str:
    return Composition(formula).reduced_formula


def test_it_is_broad_and_small() -> None:
    path = files("mfal.data") / "tables" / "li_compounds.json"
    assert len(TABLE) >= 100
    assert len(path.read_bytes()) < 1_000_000
    families = {details["family"] for details in TABLE.details}
    assert set(FAMILIES.split()) <= families
    assert all(row.composition.get("Li", 0) > 0 for row in TABLE)


@pytest.mark.parametrize("formula", NEEDED)
def test_well_known_conductors_are_there(formula: str) -> None:
    assert reduced(formula) in {reduced(f) for f in TABLE.formulas}


def test_every_row_cites_its_source_and_licence() -> None:
    for row in TABLE:
        assert re.search(r"doi:10\.|\(\d{4}\)", row.source), row.id
        assert row.licence, row.id
        assert row.details["kind"] in ("dft", "experiment", "isotype"), row.id


@pytest.mark.parametrize("row", range(len(TABLE)), ids=TABLE.ids)
def test_rebuilt_crystal_is_the_one_stated(row: int, structures: list[Structure]) -> None:
    structure = structures[row]
    material = TABLE.row(row)
    crystal = crystal_from_structure(structure, symprec=1e-3)
    assert int(crystal.space_group_number) == material.space_group_number
    np.testing.assert_allclose(crystal.composition, TABLE.composition[row], rtol=1e-4)
    np.testing.assert_allclose(crystal.lattice, TABLE.lattice[row], rtol=1e-4)
    assert space_group_number(structure, symprec=0.01) == material.space_group_number

    # The stated formula, within what refined occupancies miss it by.
    stated = Composition(material.formula).fractional_composition
    found = structure.composition.element_composition.fractional_composition
    assert set(stated) == set(found)
    assert all(abs(stated[e] - found[e]) < 0.01 for e in stated)

    charges = [s.oxi_state * x for s, x in structure.composition.items()]
    positive = sum(q for q in charges if q > 0)
    tolerance = 1e-9 if structure.is_ordered else 0.01
    assert abs(sum(charges)) <= tolerance * positive

    check_distances(structure)


def test_blurred_positions_are_marked() -> None:
    for row in TABLE:
        from_obelix = row.id.startswith("obelix-")
        assert row.details["noisy_positions"] <= from_obelix, row.id
    marks = {row.id: row.details["noisy_positions"] for row in TABLE}
    assert marks["obelix-47i"]
    assert not marks["obelix-qbb"]  # antiperovskite: nothing is free
    assert not marks["kamaya2011"]


def test_conductivities_are_those_measured() -> None:
    labels = TABLE.label_arrays(CONDUCTIVITY)
    assert np.sum(labels.censoring >= 0) >= 60
    known = labels.value[labels.censoring == 0]
    assert known.min() > 1e-19
    assert known.max() < 0.1

    def values(formula: str, group: int) -> list[float]:
        return [
            label.value
            for row in TABLE
            if reduced(row.formula) == reduced(formula) and row.space_group_number == group
            for label in row.labels
        ]

    # Li et al., Energy Environ. Sci. 3, 1524 (2010), by way of OBELiX; Sendek et al. 2017.
    assert 5.767e-4 in values("Li3N", 191)
    assert 1e-13 in values("Li2S", 225)
    assert any(0.005 < x < 0.03 for x in values("Li10GeP2S12", 137))


def test_published_lattices() -> None:
    def lattice(formula: str, group: int, kind: str) -> np.ndarray:
        rows = [
            i
            for i, row in enumerate(TABLE)
            if row.formula == formula
            and (row.space_group_number, row.details["kind"]) == (group, kind)
        ]
        assert rows, formula
        return TABLE.lattice[rows[0]]

    # Measured (CRC Handbook): LiF 4.0270 Å, Li2O 4.619 Å. PBE is 1 % above.
    assert math.isclose(lattice("LiF", 225, "dft")[0], 4.027, rel_tol=0.02)
    assert math.isclose(lattice("Li2O", 225, "dft")[0], 4.619, rel_tol=0.02)
    assert math.isclose(lattice("Li3N", 191, "dft")[0], 3.648, rel_tol=0.02)
    # Kamaya et al., Nature Materials 10, 682 (2011).
    lgps = lattice("Li10GeP2S12", 137, "experiment")
    np.testing.assert_allclose(lgps[:3], [8.69407, 8.69407, 12.5994], rtol=1e-6)


def test_file_is_plain_json_with_known_keys() -> None:
    table = json.loads((files("mfal.data") / "tables" / "li_compounds.json").read_text("utf-8"))
    assert table["schema"] == 1
    for row in table["materials"]:
        assert row["source"]["key"] in {*table["sources"], None}
        for site in row["sites"]:
            total = sum(occupancy for _, _, occupancy in site["occupants"])
            assert 0 < total <= 1.0 + 1e-6
