"""Columns, labels and what is refused."""

import math

import numpy as np
import pytest

from mfal.data import CONDUCTIVITY, Label, Material, MaterialTable, load_embedded
from mfal.errors import MfalError

ROCK_SALT = (4.0, 4.0, 4.0, 90.0, 90.0, 90.0)


def lithium_fluoride(**columns: object) -> Material:
    row = Material("a", "LiF", {"Li": 4, "F": 4}, 225, ROCK_SALT)
    return row._replace(**columns)  # type: ignore[arg-type]


def table(*rows: Material) -> MaterialTable:
    return MaterialTable.from_rows(rows)


def test_rows_come_back_as_they_went_in() -> None:
    label = Label(CONDUCTIVITY, 1e-9, "S/cm", "below", source="doi:10.1/x")
    row = lithium_fluoride(labels=(label,), group="g", details={"name": "griceite"})
    assert table(row).row(0) == row
    crystal = table(row).crystals()
    assert crystal.composition[0, 2] == crystal.composition[0, 8] == 4
    assert crystal.composition.sum() == 8
    assert crystal.space_group_number.tolist() == [225]


def test_select_and_concatenate_keep_columns_together() -> None:
    embedded = load_embedded()
    mask = embedded.space_group_number == 225
    cubic, rest = embedded.select(mask), embedded.select(~mask)
    assert set(cubic.space_group_number) == {225}
    both = cubic.concatenate(rest)
    assert len(both) == len(embedded)
    for identifier in (cubic.ids[0], rest.ids[-1]):
        assert both.row(both.index(identifier)) == embedded.row(embedded.index(identifier))
    np.testing.assert_allclose(both.composition.sum(0), embedded.composition.sum(0), rtol=1e-6)


def test_crystals_needs_cells() -> None:
    without = lithium_fluoride(id="b", lattice=(math.nan,) * 6, space_group_number=0)
    both = table(lithium_fluoride(), without)
    assert both.has_crystal.tolist() == [True, False]
    with pytest.raises(MfalError, match="b the first"):
        both.crystals()
    assert len(both.select(both.has_crystal).crystals().composition) == 1


def test_label_arrays_take_medians() -> None:
    sigma = [Label(CONDUCTIVITY, x, "S/cm") for x in (1e-3, 1e-9, 1e-5, 1e-4)]
    energies = [Label("barrier", x, "eV") for x in (0.1, 0.2, 0.6)]
    rows = table(lithium_fluoride(labels=(*sigma, *energies)))
    assert rows.label_arrays().value[0] == pytest.approx(10**-4.5)
    assert rows.label_arrays("barrier").value[0] == 0.2


def test_label_arrays_prefer_exact_values() -> None:
    limit = Label(CONDUCTIVITY, 1e-10, "S/cm", "below")
    exact = Label(CONDUCTIVITY, 2e-11, "S/cm")
    band = Label(CONDUCTIVITY, 1e-6, "S/cm", "interval", 1e-4)
    rows = [
        lithium_fluoride(id=str(i), labels=labels)
        for i, labels in enumerate([(limit, exact), (limit,), (band,), ()])
    ]
    arrays = table(*rows).label_arrays()
    np.testing.assert_array_equal(arrays.value, [2e-11, 1e-10, 1e-6, math.nan])
    np.testing.assert_array_equal(arrays.upper, [math.nan, math.nan, 1e-4, math.nan])
    assert arrays.censoring.tolist() == [0, 1, 3, -1]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"composition": {}}, "a: no valid composition"),
        ({"composition": {"Li": -1}}, "a: no valid composition"),
        ({"composition": {"Li": math.nan}}, "a: no valid composition"),
        ({"composition": {"Xx": 1}}, "Xx"),
        ({"space_group_number": 231}, "space group 231"),
        ({"lattice": (4, 4, -4, 90, 90, 90)}, "makes no sense"),
        ({"lattice": (4, 4, math.inf, 90, 90, 90)}, "makes no sense"),
        ({"labels": (Label(CONDUCTIVITY, math.nan, "S/cm"),)}, "is nan; leave the label out"),
        ({"labels": (Label(CONDUCTIVITY, -1e-3, "S/cm"),)}, "-0.001 S/cm"),
        ({"labels": (Label(CONDUCTIVITY, 0.0, "S/cm"),)}, "detection limit"),
        ({"labels": (Label(CONDUCTIVITY, 1.0, "mS/cm"),)}, "convert it to S/cm"),
        ({"labels": (Label("x", 1.0, "eV", "around"),)}, "give one of exact, below"),
        ({"labels": (Label("x", 1.0, "eV", "interval"),)}, "lower end as value"),
    ],
)
def test_nonsense_is_refused(columns: dict[str, object], message: str) -> None:
    with pytest.raises(MfalError, match=message):
        table(lithium_fluoride(**columns))


def test_ids_are_unique() -> None:
    with pytest.raises(MfalError, match="id a occurs twice"):
        table(lithium_fluoride(), lithium_fluoride())
    with pytest.raises(MfalError, match="no material 'b'"):
        table(lithium_fluoride()).index("b")


def test_structures_are_built_once_and_on_demand() -> None:
    embedded = load_embedded()
    structures = embedded.structures()
    row = embedded.ids.index("mp-dielectric-4602")
    assert structures[row] is structures[row]
    assert structures[row].composition.reduced_formula == "LiF"
    assert [s.composition.reduced_formula for s in structures[row : row + 1]] == ["LiF"]
    assert table(lithium_fluoride()).structures()[-1] is None
