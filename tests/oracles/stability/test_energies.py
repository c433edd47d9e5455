import json
import sys
import types

import pytest
from pymatgen.entries.computed_entries import ComputedEntry

from mfal.errors import MfalError
from mfal.oracles.stability.energies import (
    chemical_system,
    energies_from_json,
    energies_from_materials_project,
)
from mfal.oracles.stability.hull import hull_distance
from mfal.oracles.stability.phases import phases_from_materials_project
from mfal.oracles.stability.thermochemistry import computed_energies
from mfal.oracles.stability.window import stability_window


def write(path, rows):
    path.write_text(json.dumps(rows))
    return path


def test_chemical_system_keeps_what_has_no_other_element():
    formulas = {
        entry.composition.reduced_formula for entry in chemical_system(computed_energies(), "LiO")
    }
    assert formulas == {"O2"}  # letters are symbols: L, i and O
    formulas = {
        entry.composition.reduced_formula
        for entry in chemical_system(computed_energies(), ["Li", "O"])
    }
    assert {"Li", "O2", "Li2O", "Li2O2"} <= formulas
    assert not {"P", "Li3P"} & formulas


def test_entries_round_trip_through_json(tmp_path):
    entries = chemical_system(computed_energies(), ["Li", "P", "O"])
    path = write(tmp_path / "entries.json", [entry.as_dict() for entry in entries])
    read = energies_from_json(path, exhaustive=True)
    embedded = stability_window("Li3PO4", computed_energies())
    assert stability_window("Li3PO4", read)[:5] == embedded[:5]


def test_corrections_are_added_once(tmp_path):
    rows = [
        {"composition": {"Li": 1}, "energy": -1.9},
        {"composition": {"S": 1}, "energy": -4.1},
        {"composition": {"Li": 2, "S": 1}, "energy": -11.4, "correction": -0.5},
    ]
    read = energies_from_json(write(tmp_path / "e.json", rows), exhaustive=True)
    assert stability_window("Li2S", read).oxidation == pytest.approx((11.9 - 7.9) / 2)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[{", "not JSON"),
        ("{}", "no entries"),
        ("[]", "no entries"),
        ('[{"energy": 1}]', "entry 0: KeyError 'composition'"),
        ('[{"composition": {"Li": 1}, "energy": "x"}]', "entry 0: ValueError"),
        ('[{"composition": {"Li": 1}, "energy": NaN}]', "entry 0: energy nan"),
        ('[{"composition": {}, "energy": 1}]', "entry 0: empty composition"),
        ('["x"]', "entry 0: TypeError"),
        (
            '[{"composition": {"Li": 1}, "energy": -1, "parameters": {"run_type": "GGA"}},'
            ' {"composition": {"S": 1}, "energy": -1, "parameters": {"run_type": "r2SCAN"}}]',
            "different methods (GGA, r2SCAN)",
        ),
    ],
)
def test_bad_json_is_named(tmp_path, content, says):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(MfalError) as error:
        energies_from_json(path)
    assert says in str(error.value)
    assert "bad.json" in str(error.value)


def test_absent_json_is_named(tmp_path):
    with pytest.raises(MfalError, match=r"no\.json: No such file"):
        energies_from_json(tmp_path / "no.json")


def install(monkeypatch, answers):
    class MPRester:
        def __init__(self, key):
            self.key = key

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def get_entries_in_chemsys(self, elements, **_):
            return answers(elements)

    module = types.ModuleType("mp_api.client")
    module.MPRester = MPRester
    monkeypatch.setitem(sys.modules, "mp_api", types.ModuleType("mp_api"))
    monkeypatch.setitem(sys.modules, "mp_api.client", module)


def test_query_without_client_key_or_network_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "mp_api", None)
    with pytest.raises(MfalError, match=r"pip install 'mfal\[mp\]'"):
        energies_from_materials_project(["S"], api_key="k")

    def dead(_):
        raise ConnectionError("no route\nto host")

    install(monkeypatch, dead)
    monkeypatch.delenv("MP_API_KEY", raising=False)
    with pytest.raises(MfalError, match="set MP_API_KEY"):
        energies_from_materials_project(["S"])
    with pytest.raises(MfalError, match="didn't answer for Li-S: no route to host"):
        energies_from_materials_project(["S"], api_key="k")
    install(monkeypatch, lambda _: [])
    with pytest.raises(MfalError, match="no entries for Li-S"):
        energies_from_materials_project(["S"], api_key="k")


def test_query_adds_lithium_and_takes_corrected_energies(monkeypatch):
    asked = []

    def answers(elements):
        asked.append(elements)
        corrected = ComputedEntry("Li2S", -11.4, correction=-0.5)
        return [ComputedEntry("Li", -1.9), ComputedEntry("S", -4.1), corrected]

    install(monkeypatch, answers)
    energies = energies_from_materials_project(["S"], api_key="k")
    assert asked == [["Li", "S"]]
    assert stability_window("Li2S", energies).oxidation == pytest.approx(2.0)
    phases = {phase.formula: phase for phase in phases_from_materials_project(["S"], api_key="k")}
    assert phases["Li2S"].energy == pytest.approx((-11.4 - 0.5) / 3)
    assert hull_distance(-3.9, "Li2S", tuple(phases.values())).distance == pytest.approx(0.2 / 3)
