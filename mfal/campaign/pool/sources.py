"""Where a pool's candidates come from: one stream of materials, whatever the source.

Labels are left behind: what a campaign has not paid for it must not see.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfal.crystals.file_names import is_structure_name
from mfal.data.table import Material, MaterialTable
from mfal.errors import MfalError, warn

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["GIVEN", "materials_of", "read_source"]

GIVEN = "given"
"""Stands for a table that a program hands over itself."""
CHUNK = 20_000
"""Rows of a CSV that are turned into materials at a time."""
_STRUCTURE_COLUMNS = ("structure", "cif", "poscar", "contcar", "structure_file")
_ATOMS_LATER = ("space_group_number", "a", "b", "c", "alpha", "beta", "gamma", "formula_units")
"""Columns beside which a structure need not be read before it is asked about."""
_HINT = (
    "give one of embedded, substituted, obelix:FOLDER, mp:QUERY, optimade:PROVIDER:FILTER, a"
    " folder or file of structures, or a .json or .csv table"
)


def read_source(reference: str) -> Iterator[Material]:
    """The materials of one source, in a fixed order; what can't be read is warned of and left out.

    Args:
      reference: a folder (with the folders within), a file or a pattern of structure files; a
        `.json` table of `mfal data`; a `.csv` or `.tsv` table, perhaps with a column of structures;
        `embedded`, `substituted`, `set40`, `obelix:FOLDER`; `mp:QUERY` and
        `optimade:PROVIDER:FILTER`, where a query is elements with commas between and perhaps
        `max_hull=`, `max_sites=`, `limit=`, and a filter may also be OPTIMADE's own.

    Raises:
      MfalError: where there is no such source, or nothing in it can be read.
    """
    name, _, rest = reference.partition(":")
    path = Path(reference)
    if name in ("mp", "optimade") and rest:
        yield from _fetched(name, rest)
    elif reference in ("substituted", "pool"):
        yield from _table("pool")
    elif reference in ("embedded", "set40", "set41") or name == "obelix":
        yield from _table(reference)
    elif path.is_dir():
        if (path / "all.csv").is_file() or (path / "materials.csv").is_file():
            yield from _table(reference)
        else:
            inside = [each for each in sorted(path.rglob("*")) if each.is_file()]
            yield from _files(filter(is_structure_name, inside), path)
    elif path.suffix.lower() in (".csv", ".tsv") and path.is_file():
        yield from _csv(path)
    elif path.is_file():
        yield from _table_of_json(path) if _is_table(path) else _files([path], path.parent)
    elif matching := sorted(Path().glob(reference) if not path.is_absolute() else _absolute(path)):
        yield from _files([each for each in matching if each.is_file()], None)
    else:
        raise MfalError(f"pool {reference!r} is no source", _HINT)


def materials_of(given: Any) -> Iterator[Material]:
    """The materials of a table, a pandas data frame, or a sequence of structures."""
    if isinstance(given, MaterialTable):
        yield from given
    elif hasattr(given, "columns"):
        yield from _frame(given, 0)
    else:
        from mfal.data.rows import material_from_structure

        for number, structure in enumerate(given, 1):
            named = str(structure.properties.get("material", f"structure-{number}"))
            yield material_from_structure(named, structure, charged=False)


def _table(name: str) -> Iterator[Material]:
    from mfal.data.named import open_table

    yield from open_table(name)


def _absolute(path: Path) -> Iterable[Path]:
    anchor = Path(path.anchor)
    return anchor.glob(str(path.relative_to(anchor)))


def _is_table(path: Path) -> bool:
    if path.suffix.lower() != ".json":
        return False
    with path.open("rb") as file:
        return b'"materials"' in file.read(200)


def _table_of_json(path: Path) -> Iterator[Material]:
    from mfal.data.table_json import stream_json

    yield from stream_json(path)


def _files(paths: Iterable[Path], root: Path | None) -> Iterator[Material]:
    """Every structure of every file, each named by its path below the root."""
    from mfal.crystals.reading import read_structures
    from mfal.data.rows import material_from_structure

    tried = found = 0
    for path in paths:
        tried += 1
        try:
            readings = read_structures(path)
        except MfalError as error:
            warn(f"left out: {error}")
            continue
        name = path.relative_to(root).as_posix() if root is not None else path.as_posix()
        for reading in readings:
            own = name + reading.name.removeprefix(str(path))
            try:
                if reading.structure is None:
                    raise reading.problem or MfalError(f"{own} can't be read")
                row = material_from_structure(own, reading.structure, charged=False, source=own)
            except MfalError as error:
                warn(f"left out: {error}")
                continue
            found += 1
            yield row
    if not found:
        where = root if root is not None else "the pattern"
        if tried:
            raise MfalError(f"{where}: none of {tried} files can be read", "see the warnings")
        raise MfalError(f"{where} holds no structure file", "give a folder of CIFs or POSCARs")


def _csv(path: Path) -> Iterator[Material]:
    from mfal.data.table_pandas import read_csv

    frames: Any = read_csv(path, chunksize=CHUNK)
    first, names = 0, None
    try:
        for frame in frames:
            frame, names = _renamed(frame, names)
            yield from _frame(frame, first)
            first += len(frame)
    except ValueError as error:  # pandas' parser errors are ValueErrors
        raise MfalError(f"{path} is not a readable CSV ({error})", "mend that line") from None


def _renamed(
    frame: "pd.DataFrame", names: dict[str, str] | None
) -> "tuple[pd.DataFrame, dict[str, str]]":
    """A piece of a table under the names that `mfal.data` knows, guessed once for all pieces."""
    if names is None:
        names = {}
        column = _structure_column(frame)
        guess = frame if "formula" in frame.columns or not column else frame.assign(formula="Li")
        if column is None or any(c != column for c in frame.columns):
            from mfal.data.columns import named_columns

            guessed = named_columns(guess.drop(columns=column) if column else guess, {})
            before = [c for c in guess.columns if c != column]
            names = {
                str(old): str(new)
                for old, new in zip(before, guessed.columns, strict=True)
                if old != new
            }
    return frame.rename(columns=names), names


def _structure_column(frame: "pd.DataFrame") -> str | None:
    return next((str(c) for c in frame.columns if str(c).lower() in _STRUCTURE_COLUMNS), None)


def _frame(frame: "pd.DataFrame", first: int) -> Iterator[Material]:
    """Rows of a data frame; `first` is the number of rows before it."""
    from mfal.data.table_pandas import from_pandas

    frame = frame.copy()
    if "id" not in frame.columns:
        frame["id"] = [f"row-{first + i}" for i in range(1, len(frame) + 1)]
    column = _structure_column(frame)
    if column is None:
        yield from from_pandas(frame, {})
        return
    texts = frame.pop(column).tolist()
    if all(name in frame.columns for name in (*_ATOMS_LATER, "formula")):
        by_id = dict(zip(frame["id"].astype(str), texts, strict=True))
        for row in from_pandas(frame, {}):
            record = _record(by_id[row.id])
            complete = row.space_group_number and not math.isnan(row.lattice[0])
            if record is not None and not complete:
                yield from _parsed(row.id, by_id[row.id], row)
            else:
                yield row._replace(structure=record)
        return
    sources = frame["source"].tolist() if "source" in frame.columns else [""] * len(frame)
    for identifier, text, source in zip(frame["id"].astype(str), texts, sources, strict=True):
        stated = "" if source is None or source != source else str(source)
        yield from _parsed(identifier, text, Material(identifier, "", {}, source=stated))


def _parsed(identifier: str, text: Any, row: Material) -> Iterator[Material]:
    from mfal.data.rows import material_from_structure
    from mfal.data.table import load_structure

    try:
        structure = load_structure(_record(text), identifier)
        if structure is None:
            raise MfalError(f"{identifier} has no structure", "fill the cell in")
        yield material_from_structure(
            identifier, structure, charged=False, source=row.source, licence=row.licence
        )
    except (MfalError, ValueError, KeyError, TypeError) as error:
        warn(f"left out: {error}")


def _record(text: Any) -> dict[str, Any] | None:
    """A cell's structure as tables keep it: pymatgen's JSON, or the text of a file."""
    if hasattr(text, "as_dict"):
        return dict(text.as_dict())
    if isinstance(text, dict):
        return text
    if not isinstance(text, str) or not text.strip():
        return None
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except json.JSONDecodeError:
            return {"cif": text}
        return dict(found)
    return {"cif": text}


def _fetched(service: str, rest: str) -> Iterator[Material]:
    if service == "mp":
        from mfal.data.materials_project import fetch_materials_project

        elements, limits = _query(rest)
        yield from fetch_materials_project(elements, **limits).table
        return
    from mfal.data.optimade import PROVIDERS, fetch_optimade

    provider = next((name for name in PROVIDERS if rest.startswith(f"{name}:")), None)
    if provider is None:
        # A URL has colons of its own; the filter comes after the last.
        match = re.fullmatch(r"(https?://[^\s\"]+?/?):([A-Za-z\"(].*)", rest)
        if match is None:
            raise MfalError(
                f"pool 'optimade:{rest}'", "write optimade:PROVIDER:Li,P,S or optimade:URL:FILTER"
            )
        provider, rest = match[1], match[2]
    else:
        rest = rest[len(provider) + 1 :]
    if re.fullmatch(r"[A-Z][a-z]?([,-][A-Z][a-z]?)*(,\w+=[\d.eE+-]+)*", rest):
        elements, limits = _query(rest)
        yield from fetch_optimade(elements, provider, **limits).table
    else:
        yield from fetch_optimade((), provider, where=rest).table


def _query(text: str) -> tuple[list[str], dict[str, Any]]:
    """Elements and limits of a query such as "Li,O,max_hull=0.1"."""
    kinds = {"max_hull": float, "max_sites": int, "limit": int}
    elements: list[str] = []
    limits: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals:
            elements += part.split("-")
            continue
        try:
            limits[name.strip()] = kinds[name.strip()](value)
        except (KeyError, ValueError):
            raise MfalError(
                f"pool query {part!r}", f"write elements, and {', '.join(kinds)} as NAME=NUMBER"
            ) from None
    return [e.strip() for e in elements if e.strip()], limits
