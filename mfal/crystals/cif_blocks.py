"""The syntax of CIF: text to blocks of tags and values."""

import re
from typing import NamedTuple, cast

import gemmi

from mfal.errors import MfalError

__all__ = ["Block", "cif_blocks", "column", "number_of", "text_of"]


class Block(NamedTuple):
    """One data block."""

    name: str
    """What follows `data_`; may be empty."""
    items: dict[str, str | list[str]]
    """Values by tag: tags in lower case, dots as underscores; columns of loops as lists."""


def cif_blocks(text: str) -> list[Block]:
    """All data blocks of a CIF, in their order.

    By gemmi, which is strict; where it gives up by pymatgen's reader, which is not.

    Raises:
      MfalError: where neither can read it; the message names the line.
    """
    start = re.search(r"^[ \t]*data_", text, re.MULTILINE | re.IGNORECASE)
    # Letters and listings around the data are passed over; a block without its name gets one.
    text = text[start.start() :] if start else f"data_\n{text}"
    offset = 0 if start is None else start.start()
    try:
        document = gemmi.cif.read_string(text, check_level=0)
    except (ValueError, RuntimeError) as error:
        blocks = _tolerant(text)
        if any(column(block, "_atom_site_fract_x") for block in blocks):
            return blocks
        line = re.match(r"[^:]*:(\d+)", str(error))
        where = f"line {int(line[1])}" if line and not offset else "the text"
        raise MfalError(
            f"{where} breaks the rules of CIF",
            "look for an open quote, or a loop with a value too few or too many",
        ) from None
    return [_block(block) for block in document]


def _block(block: gemmi.cif.Block) -> Block:
    items: dict[str, str | list[str]] = {}
    for item in block:
        loop, pair = item.loop, cast(tuple[str, str] | None, item.pair)
        if pair is not None:
            items[_key(pair[0])] = _bare(pair[1])
        elif loop is not None:
            values = [_bare(value) for value in loop.values]
            for position, tag in enumerate(loop.tags):
                items[_key(tag)] = values[position :: len(loop.tags)]
    return Block(block.name, items)


def _tolerant(text: str) -> list[Block]:
    """Blocks by pymatgen's reader; none where it fails as well."""
    from pymatgen.io.cif import CifFile

    try:
        found = CifFile.from_str(text).data
    except Exception:  # it raises whatever it stumbles over
        return []
    return [
        Block(
            name,
            {
                _key(tag): [str(each) for each in value] if isinstance(value, list) else str(value)
                for tag, value in block.data.items()
            },
        )
        for name, block in found.items()
    ]


def _bare(value: str) -> str:
    """A value without its quotes; what is unknown stays "?" or "."."""
    return gemmi.cif.as_string(value) if _is_known(value) else value


def _is_known(value: str) -> bool:
    return value not in ("?", ".")


def _key(tag: str) -> str:
    return tag.lower().replace(".", "_")


def column(block: Block, *tags: str) -> list[str] | None:
    """The values of the first of the tags that the block has; one that stands alone is a row."""
    for tag in tags:
        value = block.items.get(tag)
        if value is not None:
            return value if isinstance(value, list) else [value]
    return None


def text_of(block: Block, *tags: str) -> str:
    """The value of the first of the tags that has one; empty where none is known."""
    for tag in tags:
        for value in column(block, tag) or []:
            if _is_known(value) and value.strip():
                return value.strip()
    return ""


def number_of(text: str) -> float | None:
    """A number as CIFs write it, perhaps with its uncertainty or as a fraction; None for no number.

    >>> number_of("0.3333(12)"), number_of("1/4"), number_of("?"), number_of("0,25")
    (0.3333, 0.25, None, 0.25)
    """
    plain = re.sub(r"\(\d*\.?\d*\)?$", "", text.strip().replace("−", "-")).replace(",", ".")
    numerator, slash, denominator = plain.partition("/")
    try:
        value = float(numerator) / (float(denominator) if slash else 1.0)
    except (ValueError, ZeroDivisionError):
        return None
    return value if abs(value) < 1e9 else None  # also neither NaN nor infinite
