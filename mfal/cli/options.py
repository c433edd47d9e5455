"""Flags made from the configuration's fields, and the configuration made from flags and TOML."""

import argparse
import difflib
import types
import typing
from pathlib import Path
from typing import Any

from mfal.campaign.config import CampaignConfig, from_mapping, option_paths
from mfal.campaign.toml import read_toml
from mfal.errors import MfalError

__all__ = ["Parser", "add_config_options", "config_from"]

_DESTINATION = "option:"
_SHORT = {f"execution.{name}": (f"--{name}",) for name in ("executor", "hours", "workers")}
"""Flags without the name of their table, for what is typed most."""


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


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """One flag for each field of the configuration, grouped by its table in TOML."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="TOML file with options; flags given beside it win",
    )
    groups: dict[str, Any] = {}
    for path, kind, default, text in option_paths():
        section = path.rpartition(".")[0]
        if section not in groups:
            title = f"[{section}] options" if section else "campaign options"
            groups[section] = parser.add_argument_group(title)
        shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
        shown = "none" if shown in ("", None) else shown
        groups[section].add_argument(
            *_SHORT.get(path, ()),
            f"--{path.replace('.', '-').replace('_', '-')}",
            dest=_DESTINATION + path,
            default=argparse.SUPPRESS,
            help=f"{text} (default: {shown})".replace("%", "%%"),
            **_argument(kind),
        )


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
