"""The table that `mfal score --out` writes: a row for each structure, failures among them.

Rows of one source are written together, at once, and the file is never rewritten while scoring:
whatever stops the command, what was done stays, and the same command goes on.
"""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mfal.errors import MfalError

__all__ = ["ScoreTable"]

_FIXED = ("file", "formula", "space_group", "error", "notes", "source", "digest", "versions")


class ScoreTable:
    """A CSV file that grows; use it as a context manager."""

    def __init__(
        self, path: Path, oracles: Sequence[tuple[str, str, str]], digests: Mapping[str, str]
    ) -> None:
        """Takes up the table, or begins it.

        Args:
          path: of the CSV file.
          oracles: name, version and unit of each.
          digests: of the contents of each source by its name; rows of a source that has changed
            since are taken out.

        Raises:
          MfalError: when the file is another table, by other oracles, or can't be written.
        """
        self.path = path
        self._oracles = [name for name, _, _ in oracles]
        self._versions = " ".join(f"{name}:{version}" for name, version, _ in oracles)
        self._columns = [*_FIXED[:3]]
        for name, _, unit in oracles:
            self._columns += [f"{name} ({unit})", f"{name} uncertainty", f"{name} notes"]
        self._columns += ["barrier 1-D (eV)", "barrier 2-D (eV)", "barrier decorations (eV)"]
        self._columns += _FIXED[3:]
        kept = [
            row
            for row in self._kept()
            if digests.get(row["source"], row["digest"]) == row["digest"]
        ]
        self.done = {(row["source"], row["digest"]) for row in kept}
        """Sources that are in the table, as (name, digest of the contents)."""
        self._write_anew(kept)
        self._file = path.open("a", encoding="utf-8", newline="")

    def __enter__(self) -> "ScoreTable":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def add(self, source: str, digest: str, results: Sequence[dict[str, Any]]) -> None:
        """The results of one source, on disk when this returns."""
        rows = [self._row(source, digest, result) for result in results]
        self._file.write(_lines(self._columns, rows))
        self._file.flush()
        os.fsync(self._file.fileno())

    def _kept(self) -> list[dict[str, str]]:
        """Rows that are there; the last line only if it is whole."""
        if not self.path.exists():
            return []
        text = self.path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        reader = csv.DictReader(io.StringIO(whole, newline=""))
        if whole and not {"file", "source", "digest", "versions"} <= set(reader.fieldnames or ()):
            raise MfalError(f"{self.path} is another table", "name a new file after --out")
        rows = [row for row in reader if None not in row and None not in row.values()]
        if any(row["versions"] != self._versions for row in rows):
            raise MfalError(
                f"{self.path} holds scores of other oracles ({rows[0]['versions']})",
                "name a new file after --out",
            )
        return rows

    def _write_anew(self, rows: Sequence[dict[str, str]]) -> None:
        from mfal.data.table_json import write_text

        head = _lines(self._columns, [dict(zip(self._columns, self._columns, strict=True))])
        write_text(self.path, head + _lines(self._columns, rows))

    def _row(self, source: str, digest: str, result: dict[str, Any]) -> dict[str, Any]:
        row: dict[str, Any] = {
            "file": result["file"],
            "formula": result.get("formula", ""),
            "space_group": result.get("space_group", ""),
            "error": result.get("error", ""),
            "notes": "; ".join(result.get("notes", ())),
            "source": source,
            "digest": digest,
            "versions": self._versions,
        }
        for answer in result.get("oracles", ()):
            name, failed = answer["oracle"], answer["status"] != "ok"
            notes = [*([answer["status"]] if failed else []), *answer["notes"]]
            row[f"{name} ({answer['unit']})"] = _cell(answer["value"])
            row[f"{name} uncertainty"] = _cell(answer["uncertainty"])
            row[f"{name} notes"] = "; ".join(notes)
            if "decorations" in answer:
                row["barrier decorations (eV)"] = " ".join(map(_cell, answer["decorations"]))
            for dimension in ("1-D", "2-D"):
                if "barriers" in answer:
                    row[f"barrier {dimension} (eV)"] = _cell(answer["barriers"][dimension])
        return row


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _lines(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, restval="", extrasaction="ignore", lineterminator="\n")
    for row in rows:
        # A line break within a cell would make half a row look like a whole one.
        writer.writerow({key: str(value).replace("\n", " ") for key, value in row.items()})
    return out.getvalue()
