import csv
import json
import pickle
import resource
import shutil
import sys
from functools import lru_cache

import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Incar, Kpoints, Poscar

from mfal.errors import MfalError
from mfal.handoff.batch import (
    COLUMNS,
    Request,
    confined,
    read_batch,
    request_id,
    write_batch,
)
from mfal.handoff.measurements import QUANTITIES, convert


@lru_cache(maxsize=1)
def antifluorite() -> Structure:
    sites = [[0.25, 0.25, 0.25], [0, 0, 0]]
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.71), ["Li", "S"], sites)


def lithium_sulfide() -> Structure:
    return antifluorite().copy()


def disordered() -> Structure:
    species = [{"Li": 0.5}, {"S": 1.0}]
    return Structure(Lattice.cubic(4.0), species, [[0, 0, 0], [0.5, 0.5, 0.5]])


def ask(number=1, structure=None, measurement="ionic_conductivity", campaign="garnets"):
    structure = structure or lithium_sulfide()
    formula = structure.composition.reduced_formula
    return Request(request_id(campaign, number), formula, measurement, structure, "300 K")


def test_batch_holds_all_that_a_person_and_vasp_need(tmp_path):
    written = write_batch(tmp_path / "b1", "garnets", [ask(1), ask(2, measurement="band_gap")])
    folder = written.folder / "garnets-00001"
    assert written.notes == ()
    assert sorted(path.name for path in written.folder.iterdir()) == [
        "README.txt",
        "answers.csv",
        "batch.json",
        "garnets-00001",
        "garnets-00002",
    ]
    truth = lithium_sulfide()
    assert Structure.from_file(folder / "garnets-00001.cif").matches(truth)
    assert Poscar.from_file(folder / "POSCAR", check_for_potcar=False).structure.matches(truth)
    incar = Incar.from_file(folder / "INCAR")
    assert incar["ENCUT"] == 520
    assert incar["ISIF"] == 3
    assert Kpoints.from_file(folder / "KPOINTS").kpts[0] == (4, 4, 4)
    assert (folder / "POTCAR.spec").read_text().split() == ["Li_sv", "S"]
    assert not (folder / "POTCAR").exists()


def test_order_of_species_is_the_same_in_poscar_and_potcar(tmp_path):
    sites = [[0, 0, 0], [0.25, 0.25, 0.25], [0.5, 0.5, 0.5], [0.75, 0.75, 0.75]]
    mixed = Structure(Lattice.cubic(6.0), ["S", "Li", "S", "Li"], sites)
    written = write_batch(tmp_path / "b", "garnets", [ask(structure=mixed)])
    folder = written.folder / "garnets-00001"
    symbols = Poscar.from_file(folder / "POSCAR", check_for_potcar=False).site_symbols
    labels = (folder / "POTCAR.spec").read_text().split()
    assert [label.split("_")[0] for label in labels] == symbols


def test_template_names_what_to_measure_and_in_which_unit(tmp_path):
    requests = [ask(), ask(2, measurement="total_energy")]
    written = write_batch(tmp_path / "b", "garnets", requests, vasp=False)
    with written.template.open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["unit"] for row in rows] == ["S/cm", "eV/atom"]
    assert rows[0]["id"] == "garnets-00001"
    assert rows[0]["formula"] == "Li2S"
    assert rows[0]["conditions"] == "300 K"
    assert not any(row[name] for row in rows for name in ("status", "value", "uncertainty"))


def test_batch_is_remembered(tmp_path):
    requests = [ask(1), ask(2, measurement="band_gap")]
    batch = read_batch(write_batch(tmp_path / "b", "garnets", requests, vasp=False).folder)
    assert batch.campaign == "garnets"
    assert list(batch.requests.values()) == [r._replace(structure=None) for r in requests]


def test_partial_occupancy_and_absent_atoms_are_noted_not_refused(tmp_path):
    bare = Request(request_id("garnets", 2), "Li3PS4", "ionic_conductivity")
    half = ask(1, disordered())
    written = write_batch(tmp_path / "b", "garnets", [half, bare])
    assert len(written.notes) == 2
    assert "partial occupancies" in written.notes[0]
    assert "no structure" in written.notes[1]
    assert [p.name for p in (written.folder / half.id).iterdir()] == [f"{half.id}.cif"]
    assert not list((written.folder / bare.id).iterdir())


def test_oxidation_states_do_not_reach_the_files(tmp_path):
    charged = lithium_sulfide()
    charged.add_oxidation_state_by_element({"Li": 1, "S": -2})
    written = write_batch(tmp_path / "b", "garnets", [ask(structure=charged)])
    folder = written.folder / "garnets-00001"
    assert "Li S" in (folder / "POSCAR").read_text()
    assert "oxidation" not in (folder / "garnets-00001.cif").read_text()
    assert charged[0].specie.oxi_state == 1


@pytest.mark.parametrize(
    ("requests", "says"),
    [
        ([], "nothing to ask"),
        ([ask(), ask()], "garnets-00001: asked twice"),
        ([ask(campaign="other")], "other-00001: not an id of campaign garnets"),
        ([ask()._replace(id="garnets-../../x")], "not usable as the name of a folder"),
        ([ask()._replace(id="garnets-1/2")], "not usable as the name of a folder"),
        ([ask()._replace(measurement="colour")], "colour: not a quantity"),
        ([ask()._replace(formula="LiCl")], "its structure is Li2S, not LiCl"),
    ],
)
def test_bad_requests_leave_nothing_behind(tmp_path, requests, says):
    with pytest.raises(MfalError) as error:
        write_batch(tmp_path / "b", "garnets", requests)
    assert says in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("campaign", ["", "../x", "a b", ".hidden", "x" * 80])
def test_bad_campaign_names_are_refused(tmp_path, campaign):
    with pytest.raises(MfalError, match="not usable as the name of a folder"):
        write_batch(tmp_path / "b", campaign, [ask()])


def test_existing_folder_is_never_overwritten(tmp_path):
    (tmp_path / "b").mkdir()
    with pytest.raises(MfalError, match="exists already"):
        write_batch(tmp_path / "b", "garnets", [ask()])
    assert not list((tmp_path / "b").iterdir())


def test_folder_that_can_not_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MfalError, match=r"file/b: .*choose a folder"):
        write_batch(tmp_path / "file" / "b", "garnets", [ask()])


def test_failure_in_the_middle_leaves_nothing_behind(tmp_path):
    """The system's limit on the size of a file stands for a full disk."""
    write_batch(tmp_path / "whole", "garnets", [ask()], vasp=False)
    files = [path for path in (tmp_path / "whole").rglob("*") if path.is_file()]
    largest = max(path.stat().st_size for path in files)
    shutil.rmtree(tmp_path / "whole")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest - 1, before[1]))
    try:
        with pytest.raises(MfalError, match="File too large"):
            write_batch(tmp_path / "b", "garnets", [ask()], vasp=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_flows_without_atomate2_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "atomate2.vasp.flows.mp", None)
    with pytest.raises(MfalError, match=r"mfal\[workflow\]"):
        write_batch(tmp_path / "b", "garnets", [ask()], flow=True)
    assert not list(tmp_path.iterdir())


def test_flow_is_json_that_names_the_request(tmp_path):
    pytest.importorskip("atomate2")
    written = write_batch(tmp_path / "b", "garnets", [ask()], flow=True)
    flow = json.loads((written.folder / "garnets-00001" / "flow.json").read_text())
    assert flow["name"] == "garnets-00001"
    assert len(flow["jobs"]) >= 2
    from monty.json import MontyDecoder

    job = MontyDecoder().process_decoded(flow)
    while hasattr(job, "jobs"):  # flows of flows
        job = job.jobs[0]
    (structure,) = (a for a in job.function_args if isinstance(a, Structure))
    assert structure.matches(lithium_sulfide())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"format": 1}', "damaged"),
        ('{"format": 9, "campaign": "g", "requests": []}', "format 9"),
        ('{"format": 1, "campaign": "../g", "requests": []}', "not usable"),
        (
            '{"format": 1, "campaign": "g", "requests": [{"id": "g-1", "formula": "Li",'
            ' "measurement": "colour"}]}',
            "not a quantity",
        ),
        ('{"format": 1, "campaign": "g", "requests": [{"idd": 1}]}', "damaged"),
    ],
)
def test_damaged_manifest_is_named(tmp_path, content, says):
    (tmp_path / "batch.json").write_text(content)
    with pytest.raises(MfalError) as error:
        read_batch(tmp_path)
    assert says in str(error.value)


def test_folder_without_batch_is_named(tmp_path):
    with pytest.raises(MfalError, match=r"batch\.json: No such file.*mfal ask"):
        read_batch(tmp_path)


def test_paths_stay_in_their_folder(tmp_path):
    inside = tmp_path / "in"
    inside.mkdir()
    (tmp_path / "out").mkdir()
    (inside / "g-1").symlink_to(tmp_path / "out")
    with pytest.raises(MfalError, match="leads out of"):
        confined(inside, "g-1")
    assert confined(inside, "g-2") == inside / "g-2"


def test_every_quantity_asks_in_a_unit_it_reads():
    for kind in QUANTITIES.values():
        assert convert(kind.high, kind.asked, kind) == kind.high
        # Every unit that a message offers is understood.
        for unit in kind.units:
            assert kind.low < convert(1.0, unit, kind) <= 10.0
        assert kind.low < kind.high


def test_errors_survive_the_way_between_processes():
    error = MfalError("a", "b")
    assert str(pickle.loads(pickle.dumps(error))) == "a; b"
