"""The offline pool: exchanges, cells, duplicates, errors of known lattices."""

import itertools
import math

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Composition, Lattice, Structure
from pymatgen.core.periodic_table import Species

from mfal.crystals.elements import ionic_radius
from mfal.crystals.structures import space_group_number
from mfal.data import Material, MaterialTable, load_embedded
from mfal.data.asymmetric import asymmetric_unit
from mfal.data.pool import PoolConfig, lattice_errors, make_pool, substitutes
from mfal.data.rows import material_from_structure
from mfal.data.table_json import to_json
from mfal.errors import MfalError

SOME = PoolConfig(threshold=1e-2)


def parents() -> MaterialTable:
    table = load_embedded()
    formulas = ("LiF", "LiCl", "Li2O", "LiAlO2", "LiScO2", "LiYS2", "Li3PO4", "Li6PS5Cl", "LiTaO3")
    mask = [row.formula in formulas and row.details["kind"] == "dft" for row in table]
    return table.select(np.array(mask))


@pytest.fixture(scope="module")
def pool() -> MaterialTable:
    return make_pool(parents(), SOME)


def test_every_compound_is_marked_neutral_and_keeps_its_group(pool: MaterialTable) -> None:
    assert len(pool) > 80
    known = parents()
    for row, structure in itertools.islice(zip(pool, pool.structures(), strict=True), 0, None, 5):
        assert row.details["hypothetical"] is True
        assert SOME.threshold <= row.details["probability"] <= 1
        parent = known.row(known.index(row.details["parent"]))
        assert structure.charge == pytest.approx(0)
        assert structure.composition["Li+"] > 0
        assert row.space_group_number == parent.space_group_number
        # two ions may become the same kind of site only if they were so before
        assert space_group_number(structure) == parent.space_group_number, row.id
        assert Composition(row.formula).reduced_formula == row.formula
        assert row.licence == parent.licence


def test_nothing_known_and_nothing_twice(pool: MaterialTable) -> None:
    """Checked without the buckets by space group that the pool is made with."""
    match = StructureMatcher()
    rows = pool.select(
        np.array([row.formula in ("LiBr", "LiInO2", "LiNaO", "LiGaO2") for row in pool])
    )
    assert len(rows) >= 4
    everything = rows.concatenate(parents())
    structures = [s.remove_oxidation_states() for s in everything.structures()]
    pairs = itertools.product(range(len(rows)), range(len(everything)))
    for i, j in pairs:
        if (
            i < j
            and structures[i].composition.reduced_formula
            == structures[j].composition.reduced_formula
        ):
            assert not match.fit(structures[i], structures[j]), (
                everything.ids[i],
                everything.ids[j],
            )
    assert "LiBr" in rows.formulas
    assert not {"LiF", "LiCl"} & set(pool.formulas)


def test_same_arguments_same_pool(pool: MaterialTable) -> None:
    known = parents()
    assert to_json(make_pool(known, SOME)) == to_json(pool)
    backwards = known.select(np.arange(len(known))[::-1])
    assert make_pool(backwards, SOME).ids == pool.ids
    few = PoolConfig(threshold=1e-2, limit=7)
    assert make_pool(known, few).ids == pool.ids[:7]
    probabilities = [details["probability"] for details in pool.details]
    assert probabilities == sorted(probabilities, reverse=True)


def test_cell_of_rock_salt_follows_the_radii() -> None:
    """One kind of bond: its length is in proportion to the sum of radii."""
    fluoride = parents().select(np.array([row.formula == "LiF" for row in parents()]))
    pool = make_pool(fluoride, PoolConfig(threshold=1e-3))
    bromide = pool.row(pool.formulas.index("LiBr"))
    lithium = ionic_radius("Li", 1)
    expected = (lithium + ionic_radius("Br", -1)) / (lithium + ionic_radius("F", -1))
    assert bromide.lattice[0] / float(fluoride.lattice[0, 0]) == pytest.approx(expected, rel=1e-5)
    # LiBr is 5.501 Å (CRC Handbook)
    assert bromide.lattice[0] == pytest.approx(5.501, rel=0.04)


def test_probabilities_are_those_of_the_statistics() -> None:
    from pymatgen.analysis.structure_prediction.substitution_probability import (
        SubstitutionProbability,
    )

    statistics = SubstitutionProbability()
    found = dict(substitutes(("Al", 3.0)))
    for symbol in ("Ga", "Fe", "B"):
        expected = statistics.cond_prob(Species(symbol, 3), Species("Al", 3))
        assert found[symbol, 3.0] == pytest.approx(expected, rel=1e-6)
    assert all(charge == 3.0 for _, charge in found)
    assert ("Al", 3.0) not in found
    assert ("Ga", 3.0) not in dict(substitutes(("Al", 3.0), exclude=("Ga",)))
    assert substitutes(("Xx", 1.0)) == []


def test_two_exchanges_multiply(pool: MaterialTable) -> None:
    double = next(row for row in pool if row.details["exchange"].count("->") == 2)
    product = 1.0
    for change in double.details["exchange"].split(", "):
        old, new = map(_ion, change.split(" -> "))
        product *= dict(substitutes(old))[new]
    assert double.details["probability"] == pytest.approx(product, abs=1e-6)


def _ion(text: str) -> tuple[str, float]:
    symbol = text.rstrip("+-0123456789.")
    sign = -1.0 if text.endswith("-") else 1.0
    return symbol, sign * float(text[len(symbol) : -1])


def test_lower_threshold_adds_only() -> None:
    strict = make_pool(parents(), PoolConfig(threshold=3e-2))
    assert set(strict.ids) <= set(make_pool(parents(), SOME).ids)
    single = make_pool(parents(), PoolConfig(threshold=1e-2, max_exchanges=1))
    assert all("," not in details["exchange"] for details in single.details)


def test_lithium_takes_sodiums_place() -> None:
    a = 5.64
    fcc = Lattice([[0, a / 2, a / 2], [a / 2, 0, a / 2], [a / 2, a / 2, 0]])
    salt = Structure(fcc, ["Na+", "Cl-"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    pool = make_pool(MaterialTable.from_rows([material_from_structure("salt", salt)]))
    assert "LiCl" in pool.formulas
    assert all("Na1+ -> Li1+" in details["exchange"] for details in pool.details)
    row = pool.row(pool.formulas.index("LiCl"))
    assert row.lattice[0] == pytest.approx(5.14, rel=0.03)  # CRC Handbook


def test_parents_without_atoms() -> None:
    bare = MaterialTable.from_rows([Material("x", "LiF", {"Li": 1, "F": 1})])
    with pytest.raises(MfalError, match="no parent with atoms"):
        make_pool(bare)
    disordered = Structure(Lattice.cubic(4), [{"Li": 0.5}, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    disordered.add_oxidation_state_by_element({"Li": 1, "Cl": -0.5})
    unit = asymmetric_unit(disordered)
    row = Material("y", "LiCl2", unit.composition, 221, unit.lattice, structure=unit)
    with pytest.raises(MfalError, match="no parent with atoms"):
        make_pool(MaterialTable.from_rows([row]))


def test_known_lattices_are_predicted_within_two_percent() -> None:
    errors = lattice_errors(load_embedded())
    assert len(errors) >= 40
    assert np.median(errors) < 0.02
    assert np.isfinite(errors).all()


def test_error_of_a_made_up_pair() -> None:
    """Two rock salts whose cells are known exactly."""
    fluoride = parents().row(parents().formulas.index("LiF"))
    radii = [ionic_radius("Li", 1) + ionic_radius(x, -1) for x in ("F", "Cl")]
    edge = fluoride.lattice[0] * radii[1] / radii[0] * 1.05

    def chloride(a: float) -> Material:
        unit = fluoride.structure
        sites = tuple(
            site._replace(
                occupants=tuple(
                    o._replace(element="Cl" if o.element == "F" else o.element)
                    for o in site.occupants
                )
            )
            for site in unit.sites  # type: ignore[union-attr]
        )
        unit = unit._replace(sites=sites, lattice=(a, a, a, 90.0, 90.0, 90.0))  # type: ignore[union-attr]
        return fluoride._replace(
            id="cl", formula="LiCl", composition=unit.composition, lattice=unit.lattice,
            structure=unit,
        )  # fmt: skip

    errors = lattice_errors(MaterialTable.from_rows([fluoride, chloride(edge)]))
    np.testing.assert_allclose(sorted(errors), sorted([1 - 1 / 1.05, 1.05 - 1]), atol=1e-5)


@pytest.mark.slow
def test_embedded_table_makes_thousands() -> None:
    pool = make_pool(load_embedded())
    assert len(pool) >= 5000
    assert pool.has_crystal.all()
    assert not math.isnan(pool.lattice.sum())
