"""A configuration in TOML: read, and written."""

import dataclasses
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from mfal.errors import MfalError

__all__ = ["literal", "read_toml", "to_toml"]


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
      MfalError: where it can't be read or parsed.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MfalError(f"{path}: {error.strerror}", "give a readable TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MfalError(f"{path}: not valid TOML ({error})", "mend that line") from None


def to_toml(config: Any) -> str:
    """The whole configuration as TOML, which `read_toml` and `config.from_mapping` read again."""
    lines: list[str] = []
    tables: list[str] = []
    for item in fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            tables.append(f"\n[{item.name}]\n{to_toml(value)}")
        elif value is not None:  # TOML has no null: an absent option has its default
            lines.append(f"{item.name} = {literal(value)}\n")
    return "".join(lines + tables)


def literal(value: Any) -> str:
    """One value as TOML writes it; None, which it doesn't know, as none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(literal(each) for each in value) + "]"
    if value is None:
        return "none"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c >= " " else f"\\u{ord(c):04x}" for c in escaped) + '"'
    return repr(value)
