"""OBELiX: measured conductivities of 599 lithium solid electrolytes, 321 of them with CIFs.

Therrien et al., arXiv:2502.14234 (2025), CC BY 4.0. The authors' own package, `obelix-data`,
downloads it; its folder is what is read here. Three things to know:

- 37 labels are detection limits ("<1E-10"); they become censored labels, not numbers;
- coordinates carry Gaussian noise of 0.01 in fractions of the cell (`details["noisy_positions"]`),
  lattices and groups do not;
- many rows describe one material: `group` keeps them together (`composition_groups`).
"""

from __future__ import annotations

import contextlib
import math
import re
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from mfal.cache import writable_cache_folder
from mfal.data.rows import LATTICE_COLUMNS, composition_of_formula
from mfal.data.table import CONDUCTIVITY, Label, Material, MaterialTable
from mfal.errors import MfalError, warn

__all__ = ["composition_groups", "load_obelix"]

SOURCE = "Therrien et al., OBELiX, arXiv:2502.14234 (2025)"
LICENCE = "CC BY 4.0, the OBELiX authors"
CIF_FOLDERS = ("anon_cifs", "all_randomized_cifs")
SIGMA_COLUMN = "Ionic conductivity (S cm-1)"
DETAIL_COLUMNS = {
    "Family": "family",
    "DOI": "doi",
    "ICSD ID": "icsd",
    "note": "note",
    "close match": "close_match",
}
SAME_MATERIAL = 0.01
"""Sum of the absolute differences of atomic fractions under which two rows are one material."""

MISTYPED = 0.02
"""The same distance, above which a cell's composition contradicts the row's formula."""


def load_obelix(folder: str | Path | None = None, *, strict: bool = False) -> MaterialTable:
    """OBELiX from a folder, or from the `obelix-data` package's download.

    A row that makes no sense is left out with a warning. Where a CIF holds another composition than
    its row says, `details["notes"]` tells.

    Args:
      folder: holds `all.csv`, perhaps `test.csv` (the ids of a test split, kept in
        `details["split"]`) and the CIFs. None downloads it once into the cache.
      strict: raise an error for a row that would be left out.

    Raises:
      MfalError: when the folder isn't OBELiX's, the package or network is missing, or no row makes
        sense.
    """
    from mfal.data.table_pandas import read_csv

    path = _download() if folder is None else Path(folder)
    table = path / "all.csv"
    if not table.is_file():
        raise MfalError(
            f"{path} holds no all.csv", "give the folder that obelix.OBELiX(data_path=...) wrote"
        )
    frame = read_csv(table, dtype=str, keep_default_na=False)
    missing = {"ID", "True Composition", "Space group #", SIGMA_COLUMN, *LATTICE_COLUMNS} - set(
        frame.columns
    )
    if missing:
        raise MfalError(f"{table} lacks the columns {', '.join(sorted(missing))}", "fetch it again")
    test = _test_ids(path)
    cifs = next((path / name for name in CIF_FOLDERS if (path / name).is_dir()), None)
    rows: list[Material] = []
    seen: set[str] = set()
    problems: list[MfalError] = []
    for line, row in enumerate(frame.to_dict("records"), 2):
        try:
            material = _material(row, line, cifs, test)
            if material.id in seen:
                raise MfalError(f"all.csv, line {line}: id {material.id} occurs twice", "keep one")
            MaterialTable.from_rows([material])
        except MfalError as error:
            if strict:
                raise
            problems.append(error)
            warn(f"left out: {error}")
        else:
            rows.append(material)
            seen.add(material.id)
    if not rows:
        raise problems[0] if problems else MfalError(f"{table} is empty", "fetch it again")
    groups = composition_groups(MaterialTable.from_rows(rows).composition)
    return MaterialTable.from_rows(
        row._replace(group=f"obelix-group-{group}") for row, group in zip(rows, groups, strict=True)
    )


def composition_groups(composition: np.ndarray, tolerance: float = SAME_MATERIAL) -> np.ndarray:
    """Group number of each row, [n] int: equal for compositions within the tolerance.

    Rows are joined if their atomic fractions differ by less than `tolerance` in sum, and so are
    chains of such rows; polymorphs fall together too.

    Args:
      composition: [n, 103], amounts in any scale.
      tolerance: sum of the absolute differences of atomic fractions.
    """
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial.distance import cdist

    total = composition.sum(1, keepdims=True)
    fractions = composition / np.where(total > 0, total, 1)
    near = cdist(fractions, fractions, "cityblock") < tolerance
    # Unknown compositions (all zero) are no reason to join rows.
    near[(total == 0).ravel()] = False
    groups: np.ndarray = connected_components(near, directed=False)[1]
    return groups


def _material(
    row: dict[Any, Any], line: int, cifs: Path | None, test: frozenset[str] | None
) -> Material:
    identifier = row["ID"]
    where = f"all.csv, line {line} ({identifier})"
    try:
        lattice = tuple(float(row[key] or "nan") for key in LATTICE_COLUMNS)
        number = int(float(row["Space group #"] or 0))
        sigma = row[SIGMA_COLUMN].strip()
        value = float(sigma.lstrip("<>")) if sigma else math.nan
    except ValueError as error:
        raise MfalError(f"{where}: {error}", "fetch the data set again") from None
    details: dict[str, Any] = {
        key: row[column] for column, key in DETAIL_COLUMNS.items() if row.get(column)
    }
    stated = _symbol_number(row.get("Space group", ""))
    if stated and stated != number:
        details["space_group_note"] = f"listed with number {number}, symbol {row['Space group']}"
        number = stated
    composition = composition_of_formula(row["True Composition"], where)
    by_formula = composition_of_formula((row.get("Reduced Composition") or "").strip(), where)
    if by_formula and _distance(composition, by_formula) > MISTYPED and row.get("Z"):
        details["composition_note"] = f"cell listed as {row['True Composition']}"
        composition = {e: float(row["Z"]) * x for e, x in by_formula.items()}
    labels: tuple[Label, ...] = ()
    if sigma:
        censoring = {"<": "below", ">": "above"}.get(sigma[0], "exact")
        labels = (Label(CONDUCTIVITY, value, "S/cm", censoring, source=row.get("DOI", "")),)
    structure = None
    if cifs is not None and identifier == Path(identifier).name:
        cif = cifs / f"{identifier}.cif"
        if cif.is_file():
            structure = {"cif": cif.read_text(encoding="utf-8", errors="replace")}
            details["noisy_positions"] = cifs.name == CIF_FOLDERS[1]
            if notes := _contents_notes(structure["cif"], composition):
                details["notes"] = notes
    if test is not None:
        details["split"] = "test" if identifier in test else "train"
    return Material(
        id=f"obelix-{identifier}",
        formula=row.get("Reduced Composition") or row["True Composition"],
        composition=composition,
        space_group_number=number,
        lattice=lattice,
        labels=labels,
        source=f"{SOURCE}, {identifier}",
        licence=LICENCE,
        structure=structure,
        details=details,
    )


def _contents_notes(cif: str, composition: dict[str, float]) -> list[str]:
    """A note where a CIF states another composition than its row; none where it states none."""
    from pymatgen.core import Composition

    from mfal.crystals.checks import formula_note

    match = re.search(r"^_chemical_formula_sum\s+(?:'([^']*)'|(\S+))", cif, re.MULTILINE)
    try:
        held = composition_of_formula((match[1] or match[2]) if match else "", "")
    except MfalError:
        return []
    return formula_note(Composition(held), composition, "the table's formula") if held else []


def _distance(a: dict[str, float], b: dict[str, float]) -> float:
    """Sum of the absolute differences of two compositions' atomic fractions."""
    totals = sum(a.values()), sum(b.values())
    return sum(abs(a.get(e, 0) / totals[0] - b.get(e, 0) / totals[1]) for e in {*a, *b})


def _symbol_number(symbol: str) -> int:
    """Space group number of a symbol as OBELiX writes it; 0 where it can't be told."""
    from mfal.crystals.groups import GROUP_SYMBOLS

    plain = symbol.replace(" ", "").replace("_", "")
    for number, known in enumerate(GROUP_SYMBOLS, 1):
        if known.replace("_", "") == plain:
            return number
    return 0


def _test_ids(folder: Path) -> frozenset[str] | None:
    from mfal.data.table_pandas import read_csv

    for name in ("test.csv", "test_idx.csv"):
        if (folder / name).is_file():
            frame = read_csv(folder / name, dtype=str)
            if "ID" not in frame.columns:
                raise MfalError(f"{folder / name} has no column ID", "fetch the data set again")
            return frozenset(frame["ID"])
    return None


def _download() -> Path:
    target = writable_cache_folder() / "obelix"
    if (target / "all.csv").is_file():
        return target
    try:
        from obelix import OBELiX
    except ImportError:
        raise MfalError(
            "OBELiX needs the package obelix-data", "pip install 'mfal[obelix]', or give a folder"
        ) from None
    # The package takes any folder that exists for complete, so it must not see a half-made one.
    partial = target.with_name("obelix.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # it talks, and our output may be JSON
            OBELiX(data_path=str(partial), no_cifs=True)
    except (OSError, EOFError, tarfile.TarError, ValueError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise MfalError(
            f"OBELiX cannot be downloaded ({error})", "check the network, or give a folder"
        ) from None
    partial.replace(target)
    return target
