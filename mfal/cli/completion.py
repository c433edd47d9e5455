"""`mfal completion`: lets a shell complete commands, options and paths."""

import argparse
import functools
from pathlib import Path
from typing import Any

__all__ = ["add_parser", "run"]

_SHELLS = ("bash", "fish", "zsh", "tcsh")
_FILES = ("FILE", "PATH", "CSV", "SOURCE")
_FOLDERS = ("DIR", "NEW", "BATCH")
"""How arguments that are paths are named in the help."""
_EPILOG = """\
example:
  mfal completion bash > ~/.local/share/bash-completion/completions/mfal
  mfal completion zsh > ~/.zfunc/_mfal
  mfal completion fish > ~/.config/fish/completions/mfal.fish
"""


def add_parser(commands: Any, whole: argparse.ArgumentParser) -> None:
    """Add the subcommand, which tells a shell of the whole parser's commands."""
    parser = commands.add_parser(
        "completion",
        help="print a script that lets the shell complete mfal's commands",
        description="Print a completion script for a shell; put it where the shell looks for them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=_SHELLS, help="the shell that is to complete")
    parser.set_defaults(run=functools.partial(run, whole))


def run(whole: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Print the script."""
    print(_completion_script(whole, options.shell))
    return 0


def _completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for a shell, from the parser's own options, so that it can't fall behind them."""
    import shtab

    for action in _actions(parser):
        action.help = getattr(action, "whole_help", action.help)
        if action.metavar in _FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.metavar in _FILES or action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    script: str = shtab.complete(parser, shell)
    return script


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The options of a parser and of those under it."""
    found: list[argparse.Action] = []
    for action in parser._actions:
        found.append(action)
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                found += _actions(inner)
    return found
