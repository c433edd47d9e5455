"""Flags made from the configuration's fields, and the configuration made from flags and TOML."""

import argparse
import difflib
import types
import typing
from pathlib import Path
from typing import Any

from mfal.campaign.config import CampaignConfig
from mfal.campaign.options import VERBATIM, from_mapping, option_paths
from mfal.campaign.toml import read_toml
from mfal.errors import MfalError

__all__ = ["Parser", "add_config_options", "config_from", "reveal"]

_DESTINATION = "option:"
_SHORT = {
    **{
        f"execution.{name}": (f"--{name}",)
        for name in ("device", "dynamics", "executor", "hours", "workers")
    },
    **{
        f"space.{name}": (f"--{name.replace('_', '-')}",)
        for name in ("elements", "must_contain", "max_atoms", "max_price", "banned_toxicity")
    },
    "stability.max_hull_distance": ("--max-hull",),
    **{f"space.{name}": (f"--{name}",) for name in ("banned", "anions", "formula")},
}
"""Flags without the name of their table, for what is typed most."""
_FIRST = (
    *("space.elements", "space.must_contain", "space.formula", "pool", "ion", "budget", "seed"),
    *("execution.hours", "execution.workers", "hide"),
)
"""Options that `--help` shows, in this order; `--help-all` shows the rest as well."""
_WORDS: dict[str, Any] = {"nargs": "+", "metavar": "SOURCE"}
"""Of options whose words may hold commas."""


class Parser(argparse.ArgumentParser):
    """A parser whose error for an unknown flag names those that may have been meant."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """See `argparse`; every command parses its own flags through here."""
        found, unknown = super().parse_known_args(args, namespace)
        for each in unknown:
            flag = each.partition("=")[0]
            close = difflib.get_close_matches(flag, self._option_string_actions, cutoff=0.7)
            if flag.startswith("--") and close:
                self.error(f"unknown option {flag}; did you mean {' or '.join(close)}?")
        return found, unknown


def add_config_options(parser: argparse.ArgumentParser) -> "argparse._ArgumentGroup":
    """One flag for each field of the configuration, grouped by its table in TOML.

    What is needed most comes first, in a group of its own; the rest waits for `--help-all`.

    Args:
      parser: one without help of its own (`add_help=False`), so that its groups keep this order.

    Returns:
      The last group, for what else the command takes.
    """
    first = parser.add_argument_group("what to search, and how much")
    known = {path: (kind, default, text) for path, kind, default, text in option_paths()}
    for path in _FIRST:
        if path in known:
            _add_option(first, path, *known[path])
    groups: dict[str, Any] = {}
    for path, (kind, default, text) in known.items():
        if path in _FIRST:
            continue
        section = path.rpartition(".")[0]
        if section not in groups:
            title = f"[{section}] options" if section else "campaign options"
            groups[section] = parser.add_argument_group(title)
        action = _add_option(groups[section], path, kind, default, text)
        action.whole_help, action.help = action.help, argparse.SUPPRESS  # type: ignore[attr-defined]
    other = parser.add_argument_group("files and help")
    other.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="TOML file with options; flags given beside it win",
    )
    other.add_argument("-h", "--help", action="help", help="show what is needed most, and leave")
    other.add_argument("--help-all", action=_HelpAll, nargs=0, help="show all options, and leave")
    return other


def reveal(parser: argparse.ArgumentParser) -> None:
    """Let a parser's help show all options."""
    for action in parser._actions:
        action.help = getattr(action, "whole_help", action.help)


class _HelpAll(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: Any = None
    ) -> None:
        reveal(parser)
        parser.print_help()
        parser.exit()


def _add_option(group: Any, path: str, kind: Any, default: Any, text: str) -> argparse.Action:
    shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
    shown = "none" if shown in ("", None) else shown
    action: argparse.Action = group.add_argument(
        *_SHORT.get(path, ()),
        f"--{path.replace('.', '-').replace('_', '-')}",
        dest=_DESTINATION + path,
        default=argparse.SUPPRESS,
        help=(text if "(default" in text else f"{text} (default: {shown})").replace("%", "%%"),
        **(_WORDS if path in VERBATIM else _argument(kind)),
    )
    return action


def config_from(options: argparse.Namespace) -> CampaignConfig:
    """Defaults, then the TOML file, then flags.

    Raises:
      MfalError: for unknown or wrong options.
    """
    values: dict[str, Any] = read_toml(options.config) if options.config else {}
    for name, value in vars(options).items():
        if name.startswith(_DESTINATION):
            *tables, last = name.removeprefix(_DESTINATION).split(".")
            table = values
            for each in tables:
                table = table.setdefault(each, {})
                if not isinstance(table, dict):  # the file has a value there
                    raise MfalError(f"option {each} is {table!r}", f"write it as a table [{each}]")
            table[last] = value
    return from_mapping(values)


def _argument(kind: Any) -> dict[str, Any]:
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    if isinstance(kind, types.UnionType):
        (kind,) = (each for each in typing.get_args(kind) if each is not type(None))
    if typing.get_origin(kind) is tuple:
        # "Li P S" and "Li,P,S" are the same list.
        return {"action": _Joined, "nargs": "+", "metavar": "X"}
    return {"type": kind, "metavar": "N" if kind in (int, float) else "X"}


class _Joined(argparse.Action):
    """Keeps several words as one text with commas, which the configuration reads as a list."""

    def __call__(
        self, parser: Any, namespace: argparse.Namespace, values: Any, option: Any = None
    ) -> None:
        setattr(namespace, self.dest, ",".join(values))
