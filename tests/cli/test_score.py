"""`mfal score` over what people have: files, folders, patterns, tables; stopped and taken up."""

import csv
import gzip
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from mfal.cli import main
from mfal.data import load_embedded
from mfal.data.named import export_table
from tests.crystals.structure_files import rock_salt, rock_salt_cif

sys.path.insert(0, str(Path(__file__).parent))
TOY = ["--oracles", "score_oracles:atoms"]


def scored(capsys, *arguments, rc=0, oracles=TOY):
    """The JSON that the command prints."""
    assert main(["score", "--json", *map(str, arguments), *oracles]) == rc
    return json.loads(capsys.readouterr().out)


def rows_of(path):
    return list(csv.DictReader(path.open(encoding="utf-8", newline="")))


# --- sources --------------------------------------------------------------------------------------


def test_folders_patterns_and_compressed_files(tmp_path, monkeypatch, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "a.cif").write_text(rock_salt_cif())
    (tmp_path / "b.CIF").write_text(rock_salt_cif())
    (tmp_path / "c.cif.gz").write_bytes(gzip.compress(rock_salt_cif().encode()))
    (tmp_path / "in" / "POSCAR").write_text(rock_salt().to(fmt="poscar"))
    (tmp_path / "README").write_text("no structure")
    monkeypatch.chdir(tmp_path)
    names = ["a.cif", "b.CIF", "c.cif.gz", "in/POSCAR"]
    assert [one["file"] for one in scored(capsys, ".")] == names
    assert [one["file"] for one in scored(capsys, "*.cif", "in", "a.cif")] == ["a.cif", "in/POSCAR"]
    assert [one["file"] for one in scored(capsys, "**/POSCAR")] == ["in/POSCAR"]
    (tmp_path / "empty").mkdir()
    (result,) = scored(capsys, "empty", rc=1)
    assert "holds no structure file" in result["error"]


def test_standard_input(monkeypatch, capsys):
    class Input:
        buffer = io.BytesIO(rock_salt_cif().encode())

    monkeypatch.setattr(sys, "stdin", Input)
    (result,) = scored(capsys, "-")
    assert result["file"] == "standard input"
    assert result["formula"] == "LiCl"


def test_several_structures_and_a_broken_one(tmp_path, capsys):
    path = tmp_path / "a.cif"
    path.write_text(rock_salt_cif() + rock_salt_cif(name="two").replace("Li 0 0 0 1", "Li 0 0 0 2"))
    first, second = scored(capsys, path, rc=1)
    assert first["file"] == f"{path}#1"
    assert first["oracles"][0]["value"] == 8.0
    assert "Li1 at 0 0 0: occupancy 2" in second["error"]


def test_tables_by_name_and_file(tmp_path, capsys):
    embedded = load_embedded()
    table = embedded.select([embedded.index("kamaya2011"), embedded.index("mp-dielectric-4602")])
    for name in ("t.json", "t.csv"):
        export_table(table, tmp_path / name)
        results = scored(capsys, tmp_path / name)
        assert [one["file"].rpartition(":")[2] for one in results] == list(table.ids)
        assert results[0]["formula"] == "Li20.2Ge2.06P3.94S24"
    results = scored(capsys, "set40", rc=1)
    assert len(results) == 40
    assert any("has no atoms" in one.get("error", "") for one in results)


# --- notes ----------------------------------------------------------------------------------------


def test_notes_reach_terminal_json_and_table(tmp_path, capsys):
    path, out = tmp_path / "a.cif", tmp_path / "scores.csv"
    path.write_text(rock_salt_cif(""))
    (result,) = scored(capsys, path, "--out", out)
    assert "read as P 1" in result["notes"][0]
    assert "density 0.52" in result["notes"][1]
    assert main(["score", str(path), *TOY]) == 0
    assert "note: density 0.52" in capsys.readouterr().out
    assert "density 0.52" in rows_of(out)[0]["notes"]


def test_notes_and_barriers_of_the_oracles(tmp_path, capsys):
    """A charge that occupancies leave, and LiCoO2, which no path crosses in three dimensions."""
    charged = tmp_path / "charged.cif"
    charged.write_text(rock_salt_cif().replace("0.5 0.5 0.5 1", "0.5 0.5 0.5 0.97"))
    layered = tmp_path / "layered.cif"
    lattice = Lattice.hexagonal(2.82, 14.05)
    Structure.from_spacegroup(
        "R-3m", lattice, ["Li", "Co", "O"], [[0, 0, 0.5], [0, 0, 0], [0, 0, 0.26]]
    ).to(filename=str(layered))
    out = tmp_path / "scores.csv"
    first, second = scored(capsys, charged, layered, "--out", out, oracles=[])
    for oracle in first["oracles"][1:]:
        assert "composition as given carries a charge of +0.12 a cell" in oracle["notes"]
    barriers = second["oracles"][1]["barriers"]
    # bvlain 0.25: 1.201 eV in two dimensions and none in three, on a grid of its own
    assert barriers["1-D"] == pytest.approx(1.2, abs=0.08)
    assert barriers["2-D"] == pytest.approx(barriers["1-D"], abs=1e-6)
    assert barriers["3-D"] == "inf"
    row = rows_of(out)[1]
    assert row["bvse (eV)"] == "inf"
    assert float(row["barrier 2-D (eV)"]) == pytest.approx(barriers["2-D"], abs=1e-4)
    assert main(["score", str(layered)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "no 3-D path" in text
    assert "inf eV" not in text


def test_hull_distance_products_and_relaxation(tmp_path, capsys):
    path = tmp_path / "argon.cif"
    Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.3), ["Ar"], [[0, 0, 0]]).to(str(path))
    oracles = ["--oracles", "score_oracles:argon_hull"]
    (result,) = scored(capsys, path, oracles=oracles)
    (answer,) = result["oracles"]
    assert answer["value"] == pytest.approx(1.0, abs=0.1)
    assert answer["hull"]["decomposition"] == {"Ar": 1.0}
    assert answer["relaxation"]["space_groups"] == [225, 225]
    assert main(["score", str(path), *oracles]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "decomposes to Ar" in text
    assert "space group 225 kept" in text


@pytest.mark.slow
def test_stability_is_asked_of_chgnet(tmp_path, capsys):
    path = tmp_path / "LiCl.cif"
    path.write_text(rock_salt_cif())
    (result,) = scored(capsys, path, "--stability", oracles=[])
    answer = result["oracles"][-1]
    assert answer["oracle"] == "hull_distance"
    assert abs(answer["value"]) < 0.03
    assert answer["hull"]["bounded"]
    assert result["known_as"].startswith("LiCl, ")


# --- a table that grows ---------------------------------------------------------------------------


def test_a_table_is_taken_up(tmp_path, capsys):
    out = tmp_path / "scores.csv"
    for name in "abc":
        (tmp_path / f"{name}.cif").write_text(rock_salt_cif())
    (tmp_path / "d.cif").write_text("nothing")
    files = [tmp_path / f"{name}.cif" for name in "abcd"]
    assert len(scored(capsys, *files[:2], "--out", out)) == 2
    results = scored(capsys, *files, "--out", out, rc=1)
    assert [Path(one["file"]).name for one in results] == ["c.cif", "d.cif"]
    rows = rows_of(out)
    assert [Path(row["file"]).name for row in rows] == ["a.cif", "b.cif", "c.cif", "d.cif"]
    assert [row["atoms (atoms)"] for row in rows] == ["8", "8", "8", ""]
    assert "format that is known" in rows[3]["error"]
    # a file that has changed is scored again, and half a line at the end is none
    files[0].write_text(rock_salt_cif(name="changed"))
    text = out.read_text()
    out.write_text(text[: text.rstrip().rfind("\n") + 20])
    results = scored(capsys, *files, "--out", out, rc=1)
    assert [Path(one["file"]).name for one in results] == ["a.cif", "d.cif"]
    assert sorted(Path(row["file"]).name for row in rows_of(out)) == [f"{x}.cif" for x in "abcd"]


def test_other_tables_are_left_alone(tmp_path, capsys):
    path, out = tmp_path / "a.cif", tmp_path / "mine.csv"
    path.write_text(rock_salt_cif())
    out.write_text("id,formula\n1,LiF\n")
    assert main(["score", str(path), "--out", str(out), *TOY]) == 2
    assert "another table" in capsys.readouterr().err
    assert out.read_text() == "id,formula\n1,LiF\n"
    out.unlink()
    assert main(["score", str(path), "--out", str(out), *TOY]) == 0
    other = ["--oracles", "toy_oracles:three"]
    sys.path.insert(0, str(Path(__file__).parents[1] / "campaign"))
    assert main(["score", str(path), "--out", str(out), *other]) == 2
    assert "other oracles" in capsys.readouterr().err


# --- many files -----------------------------------------------------------------------------------


@pytest.mark.slow  # starts five processes
def test_a_file_that_kills_its_process_is_a_row(tmp_path, capsys):
    for k in range(4):
        (tmp_path / f"{k}.cif").write_text(rock_salt_cif())
    (tmp_path / "1.cif").write_text(rock_salt_cif().replace("Cl", "Br"))
    oracles = ["--oracles", "score_oracles:deadly", "--processes", "2"]
    results = scored(capsys, tmp_path, rc=1, oracles=oracles)
    assert [Path(one["file"]).name for one in results] == [f"{k}.cif" for k in range(4)]
    assert "died" in results[1]["error"]
    assert [one["oracles"][0]["value"] for k, one in enumerate(results) if k != 1] == [8.0] * 3


def test_a_simulation_tells_how_far_it_is_and_leaves_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("a b.cif").write_text(rock_salt_cif())
    oracles = ["--oracles", "score_oracles:simulated", "--files", "shown"]
    assert main(["score", "a b.cif", *oracles]) == 0
    printed = capsys.readouterr()
    assert "< -" in printed.out  # a limit
    assert "at 1000 K" in printed.out
    assert "no hop in 10 ps" in " ".join(printed.out.split())
    assert printed.err.splitlines()[-3:] == ["moving: 0 %", "moving: 50 %", "moving: 100 %"]
    assert sorted(one.name for one in Path("shown").iterdir()) == [
        "a-b.cif-msd.csv",
        "a-b.cif-msd.png",
    ]
    rows = rows_of(Path("shown") / "a-b.cif-msd.csv")
    assert {row["species"] for row in rows} == {"Li", "Cl"}
    (result,) = scored(capsys, "a b.cif", oracles=oracles)
    assert result["oracles"][0]["censoring"] == "below"
    assert len(result["oracles"][0]["files"]) == 2


@pytest.mark.slow
def test_several_processes_tell_how_far_they_are(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / f"{name}.cif").write_text(rock_salt_cif())
    oracles = ["--oracles", "score_oracles:simulated", "--processes", "2"]
    assert main(["score", str(tmp_path), *oracles]) == 0
    said = capsys.readouterr().err.splitlines()
    assert {"moving: 0 %", "moving: 50 %", "moving: 100 %"} <= set(said)


@pytest.mark.usefixtures("heed_ctrl_c")
@pytest.mark.parametrize("processes", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_ctrl_c_keeps_what_is_done(tmp_path, processes):
    for k in range(40):
        (tmp_path / f"{k:02}.cif").write_text(rock_salt_cif())
    out = tmp_path / "scores.csv"
    command = [sys.executable, "-m", "mfal.cli", "score", str(tmp_path), "--out", str(out)]
    command += ["--oracles", "score_oracles:slow", "--processes", processes]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        "PYTHONUNBUFFERED": "1",
    }
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "LiCl (225), atoms 8 atoms" in first
    assert "stopped after" in errors
    assert "Traceback" not in errors
    printed = len((first + rest).strip().splitlines())
    rows = rows_of(out)
    assert 1 <= printed <= len(rows) < 40
    assert all(row["atoms (atoms)"] == "8" for row in rows)
