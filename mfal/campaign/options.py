"""A campaign's options by their names, as TOML and flags give them.

`msgspec` checks and converts values by the types of the fields. It does so for plain dataclasses,
in C, and takes some 20 ms of CPU to import; what it doesn't do is done here: unknown names are
errors, and text such as "Li,P,S" is a list.
"""

import dataclasses
import difflib
import functools
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import msgspec

from mfal.campaign.config import CampaignConfig
from mfal.durations import parse_duration
from mfal.errors import MfalError

__all__ = ["VERBATIM", "describe_differences", "from_mapping", "option_paths"]

VERBATIM = ("pool",)
"""Options whose items may hold commas: text is one item, not several."""


def option_paths(
    kind: type = CampaignConfig, prefix: str = ""
) -> Iterator[tuple[str, Any, Any, str]]:
    """Every option as (dotted path, type, default, help), in the order of the fields.

    >>> next(option_paths())[0]
    'budget'
    """
    hints = typing.get_type_hints(kind)
    for item in fields(kind):
        hint = hints[item.name]
        if dataclasses.is_dataclass(hint):
            yield from option_paths(typing.cast(type, hint), f"{prefix}{item.name}.")
        else:
            # What is typed as "20m" is text.
            hint = str if item.metadata.get("duration") else hint
            yield f"{prefix}{item.name}", hint, item.default, item.metadata["help"]


def from_mapping(values: Mapping[str, Any]) -> CampaignConfig:
    """A configuration from nested mappings, such as a parsed TOML file.

    An option that is a list may be given as text with commas between its items.

    Raises:
      MfalError: for an unknown option or a value of the wrong type.

    >>> from_mapping({"budget": "20m", "proxy": {"members": 3}}).budget
    1200.0
    >>> from_mapping({"space": {"elements": "Li, P, S"}}).space.elements
    ('Li', 'P', 'S')
    """
    try:
        return msgspec.convert(_understood(values, CampaignConfig), CampaignConfig)
    except msgspec.ValidationError as error:
        raise _wrong_type(str(error), values) from None


def describe_differences(old: CampaignConfig, new: CampaignConfig) -> list[str]:
    """Options that bear on the result and differ, each as "path: old -> new"."""
    before, after = dict(_flat(old)), dict(_flat(new))
    return [
        f"{path}: {_shown(before[path])} -> {_shown(after[path])}"
        for path in before
        if before[path] != after[path]
    ]


def _flat(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for item in fields(config):
        value = getattr(config, item.name)
        if item.metadata.get("execution"):
            continue
        if dataclasses.is_dataclass(value):
            yield from _flat(value, f"{prefix}{item.name}.")
        else:
            yield prefix + item.name, value


def _understood(values: Mapping[str, Any], kind: type, prefix: str = "") -> dict[str, Any]:
    """The same values, once all names are known, with lists where text stood for one."""
    hints = typing.get_type_hints(kind)
    durations = {item.name for item in fields(kind) if item.metadata.get("duration")}
    made = {}
    for name, value in values.items():
        if name not in hints:
            raise _unknown(prefix + name)
        hint = _without_none(hints[name])
        if isinstance(value, str) and name in durations:
            value = 0.0 if value.strip() == "0" else parse_duration(prefix + name, value)
        elif dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
            value = _understood(value, typing.cast(type, hint), f"{prefix}{name}.")
        elif isinstance(value, str) and prefix + name in VERBATIM:
            value = [value]
        elif typing.get_origin(hint) is tuple and isinstance(value, str):
            value = _items(prefix + name, value, typing.get_args(hint)[0])
        made[name] = value
    return made


def _without_none(hint: Any) -> Any:
    """The type of an option that may be left out, where it is given."""
    if isinstance(hint, types.UnionType):
        return next(kind for kind in typing.get_args(hint) if kind is not type(None))
    return hint


def _items(path: str, text: str, kind: type) -> list[Any]:
    parts = [part.strip() for part in text.split(",")]
    try:
        return [msgspec.convert(part, kind, strict=False) for part in parts if part]
    except msgspec.ValidationError:
        raise MfalError(
            f"option {path} is {text!r}",
            f"give values of type {kind.__name__}, with commas between",
        ) from None


def _unknown(path: str) -> MfalError:
    """The error for a name that is no option, with those that may have been meant."""
    known = [each for each, *_ in option_paths()]
    known += sorted({each.partition(".")[0] for each in known if "." in each})
    leaf = path.rpartition(".")[2]
    close = [each for each in known if each.rpartition(".")[2] == leaf]
    close += difflib.get_close_matches(path, known)
    close += [each for each in known if difflib.get_close_matches(leaf, [each.rpartition(".")[2]])]
    if close:
        return MfalError(
            f"unknown option {path}", f"did you mean {' or '.join(dict.fromkeys(close))}?"
        )
    return MfalError(f"unknown option {path}", "`mfal discover --help` lists all options")


def _wrong_type(message: str, values: Mapping[str, Any]) -> MfalError:
    """What msgspec says of a value ("Expected `int`, got `str` - at `$.seed`"), as our error."""
    found = re.fullmatch(r"Expected `(.+)`, got `.+` - at `\$\.(.+)`", message)
    if found is None:
        return MfalError(f"configuration: {message}", "mend that option")
    expected, path = found.groups()
    keys = [int(key) if key.isdigit() else key for key in re.findall(r"\w+", path)]
    value = functools.reduce(lambda within, key: within[key], keys, typing.cast(Any, values))
    if expected == "object":
        return MfalError(f"option {path} is {value!r}", f"write it as a table [{path}]")
    return MfalError(f"option {path} is {value!r}", f"give a value of type {expected}")


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return str(value) if isinstance(value, float) else json.dumps(value)
