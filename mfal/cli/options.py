"""Flags made from the configuration's fields, and the configuration made from flags and TOML."""

import argparse
import types
import typing
from pathlib import Path
from typing import Any

from mfal.campaign.config import CampaignConfig, from_mapping, option_paths
from mfal.campaign.toml import read_toml

__all__ = ["add_config_options", "config_from"]

_DESTINATION = "option:"
_SHORT = {f"execution.{name}": (f"--{name}",) for name in ("executor", "hours", "workers")}
"""Flags without the name of their table, for what is typed most."""


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
            table[last] = value
    config: CampaignConfig = from_mapping(values)
    return config


def _argument(kind: Any) -> dict[str, Any]:
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    if isinstance(kind, types.UnionType):
        (kind,) = (each for each in typing.get_args(kind) if each is not type(None))
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)[0]
        return {"type": inner, "nargs": "+", "metavar": "X"}
    return {"type": kind, "metavar": "N" if kind in (int, float) else "X"}
