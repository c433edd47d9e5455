"""What the site takes from the code when it is built, so that it can't fall behind.

In a page the comment `<!-- options -->` becomes the table of all options, `<!-- commands -->` the
help of every command, and `<!-- api PACKAGE -->` the docstrings of what a package exports: its
`__all__` is the documented interface.
"""

import argparse
import importlib
import os
import re
from typing import Any

MARKER = re.compile(r"<!-- (options|commands|api) ?([\w.]*) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs for each page."""

    def expand(match: re.Match[str]) -> str:
        kind, argument = match.groups()
        return {"options": options, "commands": commands, "api": api}[kind](argument)

    return MARKER.sub(expand, markdown)


def options(_: str = "") -> str:
    """All options of a campaign, a table for each table in TOML."""
    from mfal.campaign.options import option_paths

    sections: dict[str, list[str]] = {}
    for path, kind, default, text in option_paths():
        section, _, name = path.rpartition(".")
        flag = f"`--{path.replace('.', '-').replace('_', '-')}`"
        shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
        value = "none" if shown in (None, "") else str(shown)
        value = value if len(value) <= 60 else value[:57] + "..."
        type_ = getattr(kind, "__name__", kind)
        row = f"| `{name}`<br>{flag} | {type_} | `{value}` | {text} |"
        sections.setdefault(section, []).append(row)
    head = "| option | type | default | what it says |\n| --- | --- | --- | --- |\n"
    return "\n\n".join(
        (f"## `[{section}]`\n\n" if section else "## The campaign\n\n") + head + "\n".join(rows)
        for section, rows in sections.items()
    )


def commands(_: str = "") -> str:
    """The help of every command, and of the commands under it."""
    from mfal.cli.command import make_parser
    from mfal.cli.options import reveal

    os.environ["COLUMNS"] = "96"
    found: list[str] = []

    def visit(parser: argparse.ArgumentParser, level: int) -> None:
        reveal(parser)
        found.append(f"{'#' * level} `{parser.prog}`\n\n```text\n{parser.format_help()}```")
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for inner in action.choices.values():
                    visit(inner, min(level + 1, 4))

    visit(make_parser(), 2)
    return "\n\n".join(found)


def api(package: str) -> str:
    """The docstrings of what a package exports."""
    names = importlib.import_module(package).__all__
    return "\n\n".join(f"::: {package}.{name}" for name in names)
