"""A configuration in TOML: read, and written."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

from mfal.errors import MfalError

__all__ = ["read_toml", "to_toml"]


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
    """The whole configuration as TOML, which `read_toml` and `options.from_mapping` read again."""
    import tomli_w

    # Not msgspec.to_builtins: it leaves out what `msgspec.convert` has left at its default.
    return tomli_w.dumps(_without_none(dataclasses.asdict(config)))


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    """The mapping without its None: TOML has no null, and an absent option has its default."""
    return {
        name: _without_none(value) if isinstance(value, dict) else value
        for name, value in table.items()
        if value is not None
    }
