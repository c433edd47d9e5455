"""The code in the documentation runs, or is something that the command line would take."""

import argparse
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from mfal.campaign.options import from_mapping, option_paths
from mfal.cli.command import make_parser

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINKED = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "experiments" / "README.md"]
OUTPUT = {"text"}
"""Languages of blocks that show what comes out, not what goes in."""


class Block(NamedTuple):
    page: Path
    language: str
    text: str


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^( *)```([^\n]*)\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE)
    assert len(found) * 2 == len(re.findall(r"^ *```", text, re.MULTILINE)), "a fence is not closed"
    return [Block(page, language.strip(), block) for _, language, block in found]


def named(language: str) -> list:
    return [
        pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
        for page in PAGES
        for number, block in enumerate(blocks_of(page))
        if block.language == language
    ]


def hooks():
    """What the site takes from the code."""
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_block_is_of_a_kind_that_nothing_checks():
    kinds = {block.language for page in PAGES for block in blocks_of(page)}
    assert kinds - OUTPUT == {"python", "bash", "toml"}


# README.md's blocks run in test_readme.py, which looks at what they leave.
@pytest.mark.parametrize("block", [p for p in named("python") if "README" not in p.id])
def test_python_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["python"])
    exec(compile(block.text, block.page.name, "exec"), {"__name__": block.page.stem})


@pytest.mark.parametrize("block", named("bash"))
def test_commands_are_ones_that_would_be_taken(block):
    for line in block.text.replace("\\\n", " ").splitlines():
        for command in line.split("&&"):
            check_command(shlex.split(command.split(">")[0], comments=True))


def check_command(words: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    if words[:1] == ["mfal"]:
        options = make_parser().parse_args(words[1:])  # exits where it would not be taken
        assert callable(options.run)
    elif words[:3] == ["pip", "install", "-e"]:
        wanted = re.fullmatch(r"\.(?:\[([\w,]+)\])?", words[3])
        assert wanted is not None, words
        assert set((wanted[1] or "test").split(",")) <= set(extras), words
    elif words[:1] == ["mkdocs"]:
        assert words[1] in ("build", "serve"), words
        assert set(words[2:]) <= {"--strict"}, words
        assert (ROOT / "mkdocs.yml").exists()
    else:
        assert words in ([], ["pytest"], ["pytest", "-m", "slow"]), words


@pytest.mark.parametrize("block", named("toml"))
def test_toml_is_a_configuration(block):
    from_mapping(tomllib.loads(block.text))


def prose(page):
    """A page's text without its blocks of code."""
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def anchors(page):
    """What a link into a page may name: its headings as GitHub and MkDocs write them."""
    headings = re.findall(r"^#+ +(.+?) *$", prose(page), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)|[`*]", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", text).strip().lower().replace(" ", "-") for text in plain}


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path, _, anchor = target.partition("#")
        if target.startswith(("http:", "https:")):
            continue
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


def test_every_page_is_in_the_site_and_every_entry_has_a_page():
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text()))
    assert listed == {str(page.relative_to(ROOT / "docs")) for page in PAGES[1:]}


def test_the_site_tells_every_option_command_and_exported_name():
    page = hooks().on_page_markdown("<!-- options -->\n<!-- commands -->\n<!-- api mfal.envs -->")
    assert "<!--" not in page
    for path, _, _, text in option_paths():
        assert f"`--{path.replace('.', '-').replace('_', '-')}`" in page
        assert text in page
    commands = next(
        action.choices
        for action in make_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    assert all(f"`mfal {name}`" in page for name in commands)
    assert "::: mfal.envs.Environment\n" in page
    assert "::: mfal.envs.CrystalSpec\n" in page


@pytest.mark.slow
def test_the_tutorial_runs_from_end_to_end(tmp_path):
    """Its commands and scripts one after the other, as a reader would run them."""
    (tmp_path / "mfal").write_text(f'#!/bin/sh\nexec {sys.executable} -m mfal.cli "$@"\n')
    (tmp_path / "mfal").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    environment["PYTHONPATH"] = str(ROOT)
    for block in blocks_of(ROOT / "docs" / "tutorial.md"):
        program = {"bash": ["bash", "-e", "-c"], "python": [sys.executable, "-c"]}
        if block.language in program:
            subprocess.run(
                [*program[block.language], block.text], cwd=tmp_path, env=environment, check=True
            )
    assert "-4.678 log10 S/cm" in (tmp_path / "campaign" / "candidates.csv").read_text()
    assert (tmp_path / "campaign" / "report.html").stat().st_size > 500_000
    again = (tmp_path / "again" / "candidates.csv").read_text().splitlines()
    assert len(again) > 1
