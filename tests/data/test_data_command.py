"""`mfal data` from the command line's side."""

import argparse
import json
import time
import urllib.parse
from pathlib import Path

import pytest

from mfal.cli import data, main
from mfal.data import load_embedded
from mfal.data.named import open_table
from mfal.errors import MfalError
from tests.crystals.structure_files import rock_salt_cif
from tests.data.optimade_server import entry, moody_servers, page


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    data.add_parser(parser.add_subparsers())
    options = parser.parse_args(["data", *arguments])
    return int(options.run(options))


def test_list_of_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    names = ["embedded", "phases", "set40", "set41", "obelix", "pool"]
    assert [line.split()[0] for line in lines] == names
    assert run("list", "--json") == 0
    assert set(json.loads(capsys.readouterr().out)) == {line.split()[0] for line in lines}


def test_list_of_materials(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "set40") == 0
    out = capsys.readouterr().out
    assert "set40-15  Li3N" in out
    assert "40 materials" in out
    assert run("list", "embedded", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["summary"]["materials"] == len(listed["materials"]) == len(load_embedded())
    assert listed["materials"][0]["lattice"][0] > 0


def test_what_is_left_out_is_said_and_strict_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.cif", "b.CIF"):
        (tmp_path / name).write_text(rock_salt_cif())
    (tmp_path / "two.cif").write_text(rock_salt_cif() + rock_salt_cif(name="2"))
    assert main(["data", "list", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert [line.split()[0] for line in captured.out.splitlines()[1:3]] == ["a", "b"]
    (line,) = captured.err.splitlines()
    assert line.startswith("mfal: left out: ")
    assert "two.cif holds 2 structures" in line
    assert main(["data", "list", str(tmp_path), "--strict"]) == 2
    assert "two.cif holds 2 structures" in capsys.readouterr().err


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "embedded", "kamaya2011") == 0
    assert "P4_2/nmc (137)" in capsys.readouterr().out
    assert run("show", "embedded", "kamaya2011", "--json") == 0
    assert json.loads(capsys.readouterr().out)["space_group_number"] == 137
    with pytest.raises(MfalError, match="no material 'nothing'"):
        run("show", "embedded", "nothing")


def test_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "set41.json"
    assert run("export", "set41", str(target)) == 0
    assert capsys.readouterr().out == f"41 materials to {target}\n"
    assert open_table(target).ids == open_table("set41").ids
    assert run("export", "set41", str(target), "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"path": str(target), "materials": 41}


def test_fetch_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFAL_CACHE", str(tmp_path))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    out = ["--out", str(tmp_path / "x.json")]
    with pytest.raises(MfalError, match="cannot be reached"):
        run("fetch", "optimade", "--provider", "http://127.0.0.1:9", "--elements", "Li", *out)
    with pytest.raises(MfalError, match="cod doesn't tell the distance"):
        run("fetch", "optimade", "--provider", "cod", "--elements", "Li", "--max-hull", "0", *out)
    with pytest.raises(MfalError, match="--provider cod with the mp-api client"):
        run("fetch", "mp", "--provider", "cod", "--elements", "Li", *out)
    assert not (tmp_path / "x.json").exists()


def test_fetch_writes_what_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MFAL_CACHE", str(tmp_path / "cache"))
    target = tmp_path / "o.json"
    bare = [entry(name, cartesian_site_positions=None) for name in "xyz"]
    with moody_servers() as moody:
        url = moody(page(entry("a"), entry("b"), *bare))
        question = ["--provider", url, "--elements", "Li", "Cl", "--max-sites", "77"]
        assert run("fetch", "optimade", *question, "--out", str(target)) == 0
        out = capsys.readouterr().out
        assert "2 materials to" in out
        assert "3 left out: no positions" in out
        assert "from the cache" not in out
        (path,) = moody.asked
        filters = urllib.parse.parse_qs(path.partition("?")[2])["filter"][0]
        assert filters == 'elements HAS ALL "Cl","Li" AND nsites<=77'
        assert open_table(target).ids == ("a", "b")
        assert run("fetch", "optimade", *question, "--limit", "1", "--out", str(target)) == 0
        assert "1 materials to" in capsys.readouterr().out
        assert run("fetch", "optimade", *question, "--out", str(target)) == 0
        assert "from the cache" in capsys.readouterr().out
        assert len(moody.asked) == 1
        question += ["--refresh", "--json"]
        assert run("fetch", "optimade", *question, "--out", str(target)) == 0
        assert len(moody.asked) == 2
    assert json.loads(capsys.readouterr().out) == {
        "path": str(target),
        "materials": 2,
        "skipped": {"no positions": 3},
        "cached": False,
    }


def test_competing_phases_need_a_chemical_system_and_a_table(tmp_path: Path) -> None:
    target = str(tmp_path / "phases.csv")
    with pytest.raises(MfalError, match="give --elements Li P S"):
        run("phases", "mp", "--out", target)
    with pytest.raises(MfalError, match=r"none\.json"):
        run("phases", str(tmp_path / "none.json"), "--out", target)
    assert not Path(target).exists()
