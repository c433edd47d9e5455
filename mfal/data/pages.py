"""Downloads in pages that survive a break: each page is a file, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mfal.cache import writable_cache_folder
from mfal.data.table import Material, MaterialTable
from mfal.data.table_json import row_from_dict, row_to_dict, write_text
from mfal.errors import MfalError

__all__ = ["Fetched", "Page", "PageStore", "collect_pages"]

SCHEMA = 1


class Page(NamedTuple):
    """One answer of a server, read."""

    rows: tuple[Material, ...]
    skipped: Mapping[str, int]
    """How many entries were left out, by reason."""
    next: str | None
    """What to ask for next; None when that was all."""


class Fetched(NamedTuple):
    """What a query gave."""

    table: MaterialTable
    skipped: Mapping[str, int]
    """How many entries were left out, by reason."""
    from_cache: bool
    """Whether nothing had to be asked for."""


class PageStore:
    """The pages of one query in the cache folder."""

    def __init__(self, kind: str, query: Mapping[str, Any]) -> None:
        text = json.dumps(query, sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:20]
        self.folder = writable_cache_folder() / kind / name
        self.query = text

    def clear(self) -> None:
        """Forget the pages."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def pages(self) -> Iterator[Page]:
        """The pages kept, in order; from a damaged one on they are thrown away."""
        number = 0
        while True:
            number += 1
            path = self._path(number)
            if not path.exists():
                return
            try:
                page = _read_page(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, KeyError, TypeError, IndexError, MfalError):
                for later in self._from(number):
                    later.unlink(missing_ok=True)
                return
            yield page

    def add(self, number: int, page: Page) -> None:
        """Keep page `number`, counted from 1."""
        if number == 1:
            write_text(self.folder / "query.json", self.query + "\n")
        write_text(self._path(number), _page_text(page))

    def _path(self, number: int) -> Path:
        return self.folder / f"page-{number:06d}.json"

    def _from(self, number: int) -> list[Path]:
        return [path for path in self.folder.glob("page-*.json") if path >= self._path(number)]


def _page_text(page: Page) -> str:
    data = {
        "schema": SCHEMA,
        "next": page.next,
        "skipped": dict(page.skipped),
        "rows": [row_to_dict(row) for row in page.rows],
    }
    return json.dumps(data, allow_nan=False) + "\n"


def _read_page(text: str) -> Page:
    data = json.loads(text)
    if data["schema"] != SCHEMA:
        raise ValueError("another schema")
    rows = tuple(row_from_dict(row) for row in data["rows"])
    MaterialTable.from_rows(rows)  # its checks
    return Page(rows, data["skipped"], data["next"])


def collect_pages(pages: list[Page], from_cache: bool, limit: int | None = None) -> Fetched:
    """All pages as one table; of entries that a server sent twice the first is kept."""
    rows: dict[str, Material] = {}
    skipped: dict[str, int] = {}
    for page in pages:
        for row in page.rows:
            if row.id in rows:
                skipped["sent twice"] = skipped.get("sent twice", 0) + 1
            else:
                rows[row.id] = row
        for reason, count in page.skipped.items():
            skipped[reason] = skipped.get(reason, 0) + count
    return Fetched(MaterialTable.from_rows(list(rows.values())[:limit]), skipped, from_cache)
