"""How tables look in a notebook."""

from xml.etree import ElementTree

from mfal.data import Label, Material, MaterialTable


def cells(table: MaterialTable) -> list[list[str]]:
    text = f"<div>{table._repr_html_()}</div>"
    return [[c.text or "" for c in row] for row in ElementTree.fromstring(text).iter("tr")][1:]


def test_the_first_rows_show_formula_group_and_label() -> None:
    def conductivity(*values: object) -> Label:
        return Label("ionic_conductivity", values[0], "S/cm", *values[1:])

    labels = [(conductivity(2e-4),), (conductivity(1e-10, "below"),), ()]
    labels.append((conductivity(1e-6, "interval", 1e-5),))
    rows = [
        Material(f"m<{i}>", "Li2O", {"Li": 2, "O": 1}, 225 if i else 0, labels=known)
        for i, known in enumerate(labels)
    ]
    assert cells(MaterialTable.from_rows(rows)) == [
        ["m<0>", "Li2O", "", "ionic_conductivity", "0.0002", "S/cm"],
        ["m<1>", "Li2O", "225", "ionic_conductivity", "< 1e-10", "S/cm"],
        ["m<2>", "Li2O", "225", "", "", ""],
        ["m<3>", "Li2O", "225", "ionic_conductivity", "1e-06 to 1e-05", "S/cm"],
    ]


def test_a_long_table_says_how_much_is_left_out() -> None:
    rows = [Material(str(i), "LiF", {"Li": 1, "F": 1}) for i in range(12)]
    table = MaterialTable.from_rows(rows)
    assert cells(table) == [
        [str(i), "LiF", ""] for i in range(10)
    ]  # no labels, no columns for them
    assert "<caption>12 materials</caption>" in table._repr_html_()
    assert "... and 2 more" in table._repr_html_()
