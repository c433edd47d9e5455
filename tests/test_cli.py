"""The command line: help, options, and bad input that ends in one clear line."""

import argparse
import functools
import inspect
import io
import json
import math
import os
import re
import stat
import subprocess
import sys
import tomllib
import typing
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from mfal.campaign.config import CampaignConfig
from mfal.campaign.options import from_mapping, option_paths
from mfal.campaign.toml import to_toml
from mfal.campaign.workers.executors import WorkerPool
from mfal.cli import main
from mfal.cli.command import make_parser
from mfal.cli.options import config_from
from mfal.crystals.structures import structure_to_cif
from mfal.errors import MfalError
from mfal.oracles.loading import load_oracles

sys.path.insert(0, str(Path(__file__).parent / "campaign"))
COMMANDS = ("discover", "ask", "tell", "status", "report", "score", "data", "doctor", "completion")
ACTIONS = ("list", "show", "export", "fetch")
TOYS = ["--oracles", "toy_oracles:three"]


@pytest.fixture
def lithium_fluoride(tmp_path) -> Path:
    structure = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.03), ["Li", "F"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    path = tmp_path / "LiF.cif"
    path.write_text(structure_to_cif(structure))
    return path


def one_line(captured: str) -> str:
    """The only line of an error, which is no traceback."""
    lines = captured.strip().splitlines()
    assert len(lines) == 1, captured
    assert lines[0].startswith("mfal: ")
    return lines[0]


@pytest.mark.parametrize(
    "command",
    [[], *([name] for name in COMMANDS), *(["data", name] for name in ACTIONS)],
)
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([*command, "--help"])
    assert exit_.value.code == 0
    assert re.search(rf"example:\n  mfal {' '.join(command)}", capsys.readouterr().out)


def test_bash_completes_commands_options_and_paths(capsys, tmp_path):
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "completion"
    script.write_text(
        capsys.readouterr().out
        + """
try() {
  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
  _shtab_mfal; echo "${COMPREPLY[@]}"
}
try mfal dis; try mfal discover --bud; try mfal data fetch ''
try mfal status camp; try mfal score a
"""
    )
    (tmp_path / "campaign").mkdir()
    (tmp_path / "a.cif").touch()
    done = subprocess.run(
        ["bash", script], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == ["discover", "--budget", "mp optimade", "campaign", "a.cif"]


@pytest.mark.parametrize("shell", ["zsh", "fish", "tcsh"])
def test_other_shells_get_every_command(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(re.search(rf"\b{command}\b", script) for command in COMMANDS)


@pytest.mark.parametrize("arguments", [[], ["discover", "--zzz", "3"], ["nonsense"]])
def test_wrong_use_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: mfal" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["discover", "--budgit", "3"], "unknown option --budgit; did you mean --budget?"),
        (["discover", "--elementz=Li"], "--elements"),
        (["data", "list", "--jsn", "x"], "--json"),
    ],
)
def test_an_unknown_flag_comes_with_those_that_may_have_been_meant(arguments, meant, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert meant in capsys.readouterr().err.splitlines()[-1]


def test_lists_are_words_or_one_word_with_commas():
    def understood(*words):
        return config_from(make_parser().parse_args(["discover", *words])).space

    words = understood("--space-elements", "Li", "P", "S", "--space-groups", "225", "227")
    assert words.elements == ("Li", "P", "S")
    assert words.groups == (225, 227)
    commas = understood("--elements", "Li,P", "S", "--space-groups", "225,227")
    assert commas == words


def other_value(path, kind, default):
    """A value that an option may take and that isn't its default."""
    special = {
        "oracles": "toy_oracles:three",
        "proxy.model": "own_proxies:flat",
        "execution.executor": "dask://host:8786",
        "execution.device": "cpu",
        "limits": "top=3",
        "execution.timeouts": "top=3",
        "stability.mode": "objective",
        "stability.energies": "measured",
        "space.elements": "Li,O",
        "space.groups": "225",
        "space.must_contain": "Li,S",
        "ion": "Na",
        "overlap": "0.25",
        "strategy": "funnel",
        "baseline": "genetic",
        "stability.unknown": "0.25",
    }
    if path in special:
        return special[path]
    if isinstance(default, bool):
        return not default
    if typing.get_origin(kind) is tuple:
        return "Li"
    return str(default * 2 if default and default < math.inf else 1)


@pytest.mark.parametrize("path", [path for path, *_ in option_paths()])
def test_each_option_alone_is_understood_or_refused(path):
    """An option that would have no effect without another is refused and names the other."""
    kind, default = next((k, d) for p, k, d, _ in option_paths() if p == path)
    value = other_value(path, kind, default)
    flag = f"--{path.replace('.', '-').replace('_', '-')}"
    words = [flag, value]
    if kind is bool:
        words = [flag if value else flag.replace("--", "--no-", 1)]
    options = make_parser().parse_args(["discover", *words])
    if path == "stability.low":
        with pytest.raises(MfalError, match=r"stability\.high above it"):
            config_from(options)
        return
    if path == "ion":
        with pytest.raises(MfalError, match="--pool"):
            config_from(options)
        return
    config = config_from(options)
    found = functools.reduce(getattr, path.split("."), config)
    assert found != default
    assert found != functools.reduce(getattr, path.split("."), CampaignConfig())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["--stability-mode", "off", "--stability-max-hull-distance", "0.05"],
            "stability.max_hull_distance while stability.mode is off; add",
        ),
        (["--stability-mode", "constraint", "--stability-low", "1"], "stability.high above it"),
        (["--executor", "dask://host:1", "--workers", "7"], "workers are this machine's"),
    ],
)
def test_an_option_that_would_be_dropped_is_refused(words, says):
    with pytest.raises(MfalError, match=says):
        config_from(make_parser().parse_args(["discover", *words]))


def flags_of(parser):
    """Every flag and positional of each command, as (command, its module's source, action)."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from flags_of(inner)
        elif action.dest not in ("help", "version", "help_all") and "run" in parser._defaults:
            yield parser.prog, parser._defaults["run"], action


@pytest.mark.parametrize(
    ("prog", "run", "action"),
    [
        pytest.param(*row, id=f"{row[0]} {row[2].dest}")
        for row in flags_of(make_parser())
        if not row[2].dest.startswith("option:")
    ],
)
def test_each_flag_of_a_command_is_read(prog, run, action):
    function = run.func if isinstance(run, functools.partial) else run
    source = inspect.getsource(sys.modules[function.__module__]) + inspect.getsource(config_from)
    assert f"options.{action.dest}" in source


@pytest.mark.parametrize(
    "words",
    [
        ["score", "a.cif", "--decorations", "-1"],
        ["score", "a.cif", "--processes", "0"],
        ["relax", "a.cif", "--force", "0"],
        ["relax", "a.cif", "--force", "nan"],
        ["relax", "a.cif", "--steps", "0"],
        ["data", "fetch", "mp", "--elements", "Li", "--out", "x", "--limit", "0"],
        ["ask", "c", "--batch", "b", "--number", "0"],
        ["ask", "c"],
        ["ask", "c", "--batch", "b", "--withdraw", "b"],
    ],
)
def test_numbers_without_meaning_are_refused(words, capsys):
    with pytest.raises(SystemExit) as exit_:
        make_parser().parse_args(words)
    assert exit_.value.code == 2
    assert f"usage: mfal {words[0]}" in capsys.readouterr().err


def test_another_ion_takes_its_oracles_and_restrictions():
    words = ["--ion", "Na", "--pool", "folder"]
    config = config_from(make_parser().parse_args(["discover", *words]))
    assert config.space.must_contain == ("Na",)
    barrier, conductivity = load_oracles(config.oracles)
    assert (barrier.unit, conductivity.unit) == ("eV", "log10 S/cm")
    assert "Na" in barrier.version
    assert "Na" in conductivity.version
    # What was stored is understood again.
    assert from_mapping(tomllib.loads(to_toml(config))) == config
    (only,) = load_oracles(("mfal.oracles.ions:Mg",))
    assert only.unit == "eV"
    with pytest.raises(MfalError, match="ion Xx; give one of"):
        load_oracles(("mfal.oracles.ions:Xx",))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "give a --pool"),
        (["--pool", "x", "--oracles", "a:b"], "oracles of your own"),
        (["--pool", "x", "--stability-mode", "objective"], "against lithium metal"),
    ],
)
def test_what_another_ion_cannot_have_is_said(words, says):
    with pytest.raises(MfalError, match=says):
        config_from(make_parser().parse_args(["discover", "--ion", "Na", *words]))


def test_elements_may_have_commas_in_every_command():
    words = ["data", "fetch", "optimade", "--out", "x", "--elements", "Li,P", "S"]
    assert make_parser().parse_args(words).elements == ["Li", "P", "S"]


def test_help_shows_what_is_needed_and_help_all_the_rest(capsys):
    shown = []
    for flag in ("--help", "--help-all"):
        with pytest.raises(SystemExit):
            main(["discover", flag])
        shown.append(capsys.readouterr().out)
    assert shown[0].index("--elements") < shown[0].index("--config")
    assert "--sampler-steps" not in shown[0]
    flags = {f"--{path.replace('.', '-').replace('_', '-')}" for path, *_ in option_paths()}
    assert all(flag in shown[1] for flag in flags)


def test_any_encoding_shows_something(lithium_fluoride, monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["data", "show", "embedded", "LiTaO3"]) == 0
    out.flush()
    text = out.buffer.getvalue().decode("ascii")
    assert "LiTaO3" in text
    assert "1 ± 2 Å, 10⁻⁶ Ω".encode("ascii", "mfal") == b"1 +- 2 A, 10-6 Ohm"


def test_a_table_of_the_file_that_is_none_is_named_beside_a_flag(tmp_path, capsys):
    path = tmp_path / "run.toml"
    path.write_text("sampler = 3\n")
    arguments = ["--config", str(path), "--sampler-steps", "3"]
    assert main(["discover", "--out", str(tmp_path / "out"), *arguments]) == 2
    assert "[sampler]" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--budget", "-3"], "budget -3; give a positive amount of time as 90, 20m"),
        (["--budget", "0"], "budget 0"),
        (["--elements", "O", "P"], "space.must_contain Li, which no candidate may hold"),
        (["--oracles", "no.such.module:thing"], "no.such.module:thing"),
        (["--oracles", "toy_oracles"], "toy_oracles"),
        (["--oracles", "toy_oracles:nothing"], "nothing"),
        (["--oracles", "toy_oracles:raises"], "'toy_oracles:raises': IndexError: tuple index out"),
        (["--oracles", "toy_oracles:no_oracle"], "'toy_oracles:no_oracle' returns dict"),
        (["--oracles", "toy_oracles:math"], "'toy_oracles:math' is no function"),
        (["--oracles", "toy_oracles:twice"], "fidelities lithium 0, lithium 0"),
        (["--space-elements", "Li"], "space.elements Li: fewer than space.min_elements, 2"),
        ([*TOYS, "--executor", "nobody"], "executor 'nobody'"),
    ],
)
def test_discover_names_the_wrong_option(arguments, named, tmp_path, capsys):
    assert main(["discover", "--out", str(tmp_path / "out"), *arguments]) == 2
    assert named in one_line(capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_an_unknown_option_in_a_file_is_named(tmp_path, capsys):
    path = tmp_path / "run.toml"
    path.write_text("[sampler]\nstepz = 3\n")
    assert main(["discover", "--out", str(tmp_path / "out"), "--config", str(path)]) == 2
    line = one_line(capsys.readouterr().err)
    assert "sampler.stepz" in line
    assert "did you mean sampler.steps" in line


def test_an_output_folder_that_cannot_be_made_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out"
    assert main(["discover", "--out", str(out), *TOYS]) == 2
    line = one_line(capsys.readouterr().err)
    assert str(out) in line
    assert "--out" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_folder_that_cannot_be_written_is_named(tmp_path, capsys):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert main(["discover", "--out", str(tmp_path), *TOYS]) == 2
    assert str(tmp_path) in one_line(capsys.readouterr().err)


def test_status_of_what_is_no_campaign(tmp_path, capsys):
    assert main(["status", str(tmp_path)]) == 2
    assert str(tmp_path) in one_line(capsys.readouterr().err)


def test_doctor_says_that_there_is_no_campaign(tmp_path, capsys):
    assert main(["doctor", str(tmp_path)]) == 1
    assert "no such file" in capsys.readouterr().out


def test_score_prints_every_oracle_with_its_unit(lithium_fluoride, capsys):
    assert main(["score", str(lithium_fluoride), *TOYS]) == 0
    text = capsys.readouterr().out
    assert "LiF, space group 225" in text
    assert re.search(r"lithium +0\.5 +share", text)
    assert re.search(rf"volume +{4.03**3 / 8:.4g} +cubic angstrom", text)


def test_score_as_json(lithium_fluoride, capsys):
    assert main(["score", "--json", str(lithium_fluoride), *TOYS]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert result["formula"] == "LiF"
    assert [answer["oracle"] for answer in result["oracles"]] == ["lithium", "volume", "distance"]
    assert result["oracles"][2]["value"] == pytest.approx(-4.03 / 2)


def test_modules_of_the_working_folder_are_found(lithium_fluoride, tmp_path, monkeypatch, capsys):
    """An installed command's path leaves it out; workers must find them, too."""
    (tmp_path / "nearby.py").write_text("from toy_oracles import three\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", os.getcwd())])
    assert main(["score", str(lithium_fluoride), "--oracles", "not_nearby:three"]) == 2
    assert "No module named 'not_nearby'" in one_line(capsys.readouterr().err)
    assert str(tmp_path) not in sys.path
    assert main(["score", str(lithium_fluoride), "--oracles", "nearby:three"]) == 0
    with WorkerPool(1) as pool:
        oracles = pool.submit(load_oracles, ("nearby:three",)).result()
    assert [oracle.name for oracle in oracles] == ["lithium", "volume", "distance"]


def test_score_goes_on_past_a_file_that_cannot_be_read(lithium_fluoride, tmp_path, capsys):
    bad = tmp_path / "bad.cif"
    bad.write_text("data_x\nthis is no crystal\n")
    missing = str(tmp_path / "missing.cif")
    assert main(["score", "--json", str(bad), missing, str(lithium_fluoride), *TOYS]) == 1
    first, second, third = json.loads(capsys.readouterr().out)
    assert "bad.cif" in first["error"]
    assert "missing.cif" in second["error"]
    assert third["formula"] == "LiF"


def test_score_tells_an_oracles_failure(lithium_fluoride, capsys):
    arguments = ["score", "--json", str(lithium_fluoride), "--oracles", "toy_oracles:broken"]
    assert main(arguments) == 1
    (result,) = json.loads(capsys.readouterr().out)
    raised, nan, short = (answer["status"] for answer in result["oracles"])
    assert "raises raised RuntimeError: the wheels came off" in raised
    assert "oracle nan returned NaN" in nan
    assert "oracle short gave 0 answers" in short
    assert all(answer["value"] is None for answer in result["oracles"])


@pytest.mark.parametrize(
    ("species", "oracle", "reason"),
    [
        (["Na", "Cl"], "sendek", "no Li in NaCl"),
        (["Na", "Cl"], "conductivity", "no Li in NaCl"),
        (["Li", "Fe"], "bvse", "no oxidation states"),
        ([{"Li": 0.5}, "Cl"], "conductivity", "no oxidation states balance"),
    ],
)
def test_the_real_oracles_say_what_they_cannot_take(species, oracle, reason, tmp_path, capsys):
    structure = Structure(Lattice.cubic(4.1), species, [[0, 0, 0], [0.5, 0.5, 0.5]])
    path = tmp_path / "bad.cif"
    structure.to(filename=str(path), fmt="cif")
    assert main(["score", "--json", str(path)]) == 1
    (result,) = json.loads(capsys.readouterr().out)
    (answer,) = [each for each in result["oracles"] if each["oracle"] == oracle]
    assert reason in answer["status"]
    assert ";" in answer["status"]  # and what to do about it
    assert answer["value"] is None


def test_a_file_cannot_talk_to_the_terminal(tmp_path, capsys):
    path = tmp_path / "evil.txt"
    path.write_text("\x1b]0;owned\x07\nnot \x1b[2J a cell\n" + "x" * 10_000)
    assert main(["score", str(path), *TOYS]) == 1
    text = capsys.readouterr().out
    assert "evil.txt" in text
    assert "\x1b" not in text
    assert "\x07" not in text
    assert len(text) < 5000


def test_a_table_nested_without_end_is_named(tmp_path, capsys):
    path = tmp_path / "deep.json"
    path.write_text("[" * 100_000)
    assert main(["data", "list", str(path)]) == 2
    assert "deep.json is nested too deeply" in one_line(capsys.readouterr().err)


def test_an_unknown_element_is_named(lithium_fluoride, capsys):
    text = lithium_fluoride.read_text().replace("F  F", "Qq  Qq")
    lithium_fluoride.write_text(text)
    assert main(["score", "--json", str(lithium_fluoride), *TOYS]) == 1
    (result,) = json.loads(capsys.readouterr().out)
    assert "Qq" in result["error"]


def test_score_by_the_real_oracles(lithium_fluoride, capsys):
    """LiF conducts poorly; its barrier is that of a vacancy-free rock salt, not a cage."""
    assert main(["score", "--json", str(lithium_fluoride)]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    values = {answer["oracle"]: answer["value"] for answer in result["oracles"]}
    units = [answer["unit"] for answer in result["oracles"]]
    assert units == ["probability", "eV", "log10 S/cm"]
    assert 0.0 < values["sendek"] < 0.5
    assert 0.2 < values["bvse"] < 1.0
    assert -10.0 < values["conductivity"] < -2.0
