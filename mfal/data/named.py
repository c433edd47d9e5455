"""Tables by name, and what a command line shows of them: list, show, export."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfal.data.table import CENSORING, Label, Material, MaterialTable
from mfal.errors import MfalError

if TYPE_CHECKING:
    from mfal.data.pool import PoolConfig

__all__ = [
    "NAMED_TABLES",
    "cached_pool",
    "describe",
    "export_table",
    "find_row",
    "open_table",
    "summarise_table",
]

NAMED_TABLES: Mapping[str, str] = {
    "embedded": "known lithium compounds with atoms, from cited sources",
    "phases": "elements and compounds that compete with them, with atoms (the hull)",
    "set40": "40 measured conductors (Sendek et al. 2017)",
    "set41": "41 conductors simulated by DFT molecular dynamics (Sendek et al. 2019)",
    "obelix": "599 measured conductivities, needs obelix-data or a folder (obelix:FOLDER)",
    "pool": "hypothetical compounds by exchange of ions in the embedded ones (a minute)",
}
"""What `open_table` takes by name, and what each is."""


def open_table(reference: str | Path, *, strict: bool = False) -> MaterialTable:
    """A table by its name, or from a file or folder.

    Args:
      reference: a key of `NAMED_TABLES`; "obelix:FOLDER"; a `.json` or `.csv` file that
        `export_table` wrote, or a CSV with a column of formulas; a folder of structure files.
      strict: raise an error for rows and files that can't be read; otherwise they are left out with
        a warning.

    Raises:
      MfalError: when there's no such table, or it can't be read.
    """
    text = str(reference)
    if text == "embedded":
        from mfal.data.embedded import load_embedded

        return load_embedded()
    if text == "phases":
        from mfal.data.embedded import load_competing_phases

        return load_competing_phases()
    if text in ("set40", "set41"):
        from mfal.data import sendek

        return sendek.load_set40() if text == "set40" else sendek.load_set41()
    if text == "obelix" or text.startswith("obelix:"):
        from mfal.data.obelix import load_obelix

        return load_obelix(text.partition(":")[2] or None, strict=strict)
    if text == "pool":
        from mfal.data.embedded import load_embedded
        from mfal.data.pool import PoolConfig

        return cached_pool(load_embedded(), PoolConfig())
    path = Path(reference)
    if path.is_dir():
        from mfal.data.table_cifs import from_cif_folder

        if (path / "all.csv").is_file():
            from mfal.data.obelix import load_obelix

            return load_obelix(path, strict=strict)
        return from_cif_folder(path, strict=strict)
    if path.suffix.lower() == ".json":
        from mfal.data.table_json import load_json

        return load_json(path)
    if path.suffix.lower() in (".csv", ".tsv"):
        return _csv(path, strict)
    raise MfalError(
        f"no table {text!r}",
        f"give one of {', '.join(NAMED_TABLES)}, a .json or .csv file, or a folder of CIFs",
    )


def summarise_table(table: MaterialTable) -> dict[str, Any]:
    """What a table holds, as plain values: counts of rows, atoms, labels, families, licences."""
    quantities: dict[str, Counter[str]] = {}
    for labels in table.labels:
        for label in labels:
            quantities.setdefault(label.quantity, Counter())[label.censoring] += 1
    families = Counter(str(details["family"]) for details in table.details if "family" in details)
    return {
        "materials": len(table),
        "formulas": len(set(table.formulas)),
        "with_cell": int(table.has_crystal.sum()),
        "with_atoms": int(table.has_structure.sum()),
        "labels": {name: dict(counts) for name, counts in sorted(quantities.items())},
        "families": dict(families.most_common()),
        "licences": sorted(set(table.licences) - {""}),
    }


def find_row(table: MaterialTable, text: str) -> Material:
    """The row with an id, or else the only one of a formula.

    Raises:
      MfalError: when none or several fit; the message lists their ids.
    """
    if text in table.ids:
        return table.row(table.index(text))
    from mfal.data.rows import composition_of_formula

    try:
        wanted = _proportions(composition_of_formula(text, "search"))
    except MfalError:
        wanted = {}
    fitting = [
        i
        for i, formula in enumerate(table.formulas)
        if wanted and formula and _proportions(composition_of_formula(formula, formula)) == wanted
    ]
    if len(fitting) == 1:
        return table.row(fitting[0])
    if not fitting:
        raise MfalError(f"no material {text!r} in the table", "give an id or a formula of the list")
    ids = ", ".join(table.ids[i] for i in fitting)
    raise MfalError(f"{text} is several materials: {ids}", "give one of these ids")


def describe(row: Material) -> str:
    """A material as a few lines of text: what it is, its cell and sites, labels and sources."""
    from mfal.data.asymmetric import AsymmetricUnit

    lines = [f"{row.id}  {row.formula}"]
    if row.details.get("name"):
        lines.append(str(row.details["name"]))
    if row.space_group_number:
        from mfal.crystals.groups import GROUP_SYMBOLS

        symbol = GROUP_SYMBOLS[row.space_group_number - 1]
        lines.append(f"space group  {symbol} ({row.space_group_number})")
    if not math.isnan(row.lattice[0]):
        a, b, c, alpha, beta, gamma = row.lattice
        lines.append(f"cell         {a:.4f} {b:.4f} {c:.4f} Å  {alpha:.2f} {beta:.2f} {gamma:.2f}°")
        atoms = " ".join(f"{symbol}{amount:g}" for symbol, amount in row.composition.items())
        lines.append(f"in the cell  {atoms}")
    if isinstance(row.structure, AsymmetricUnit):
        for site in row.structure.sites:
            x, y, z = site.position
            ions = " ".join(_occupant(*occupant) for occupant in site.occupants)
            lines.append(f"  {site.wyckoff:>5}  {x:8.5f} {y:8.5f} {z:8.5f}  {ions}")
    lines.extend(f"label        {_label(label)}" for label in row.labels)
    for key, value in row.details.items():
        if key != "name" and value not in ("", None):
            lines.append(f"{key:<12} {value}")
    lines.append(f"source       {row.source or 'not stated'}")
    lines.append(f"licence      {row.licence or 'not stated'}")
    return "\n".join(lines)


def export_table(table: MaterialTable, target: str | Path) -> str:
    """Write a table to a `.json` or `.csv` file, or as CIFs into a folder.

    Returns:
      What was written, in words.

    Raises:
      MfalError: when the target's kind can't be told, or it can't be written to.
    """
    from mfal.data import table_cifs, table_json, table_pandas

    target = Path(target)
    if target.suffix == ".json":
        table_json.save_json(table, target)
        return f"{len(table)} materials to {target}"
    if target.suffix == ".csv":
        table_json.write_text(target, table_pandas.to_pandas(table).to_csv(index=False))
        return f"{len(table)} materials to {target}"
    if target.suffix and not target.is_dir():
        raise MfalError(
            f"cannot export to {target.name}", "name a .json or .csv file, or a folder for CIFs"
        )
    count = table_cifs.to_cif_folder(table, target)
    return f"{count} CIFs and {table_cifs.INDEX_FILE} to {target}"


def cached_pool(known: MaterialTable, config: PoolConfig) -> MaterialTable:
    """A pool from the cache, made anew when the package, the table or the settings changed."""
    import hashlib
    import json
    from dataclasses import asdict

    import mfal
    from mfal.cache import writable_cache_folder
    from mfal.data.pool import make_pool
    from mfal.data.table_json import load_json, save_json, to_json

    text = mfal.__version__ + to_json(known) + json.dumps(asdict(config))
    name = hashlib.sha256(text.encode()).hexdigest()[:20]
    path = writable_cache_folder() / "pool" / f"{name}.json"
    try:
        return load_json(path)
    except MfalError:  # not there yet, or damaged
        pool = make_pool(known, config)
        save_json(pool, path)
        return pool


def _csv(path: Path, strict: bool) -> MaterialTable:
    from mfal.data.table_pandas import from_pandas, read_csv

    return from_pandas(read_csv(path), strict=strict)


def _proportions(amounts: Mapping[str, float]) -> dict[str, float]:
    total = sum(amounts.values())
    return {symbol: round(amount / total, 4) for symbol, amount in sorted(amounts.items())}


def _occupant(element: str, charge: float, occupancy: float) -> str:
    ion = f"{element}{abs(charge):g}{'+' if charge > 0 else '-'}" if charge else element
    return ion if occupancy == 1 else f"{ion} × {occupancy:g}"


def _label(label: Label) -> str:
    assert label.censoring in CENSORING
    sign = {"below": "< ", "above": "> ", "class": "class "}.get(label.censoring, "")
    upper = f" to {label.upper:g}" if label.censoring == "interval" else ""
    source = f"  ({label.source})" if label.source else ""
    return f"{label.quantity} {sign}{label.value:g}{upper} {label.unit}{source}"
