"""`mfal data`: list, show, export and fetch tables of materials."""

import argparse
import json
import math
from typing import TYPE_CHECKING, Any

from mfal.cli.arguments import Words, at_least
from mfal.errors import MfalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mfal.data.pages import Fetched
    from mfal.data.table import MaterialTable

__all__ = ["add_parser"]

_EPILOG = """\
example:
  mfal data list
  mfal data list embedded --json
  mfal data show embedded LiTaO3
  mfal data export pool pool.json
  mfal data fetch mp --elements Li O --max-hull 0.1 --out mp.json
  mfal data phases mp --elements Li P S Cl --out phases.csv
"""
_PHASES_EPILOG = """\
`mfal data phases mp` takes all energies of a chemical system from the Materials Project (its
corrections applied; CHGNet is trained on such), with the key in MP_API_KEY. A table's structures
are relaxed by CHGNet, seconds each, and put beside the phases that come with mfal. `mfal score
--phases`, `hull_oracle(phases=...)` and a campaign's `stability.energies` take the file.

example:
  mfal data phases mp --elements Li P S Cl --out phases.csv
  mfal data fetch optimade --provider alexandria --elements Li P S --out lps.json
  mfal data phases lps.json --out phases.csv
"""
_LIST_EPILOG = """\
example:
  mfal data list embedded --json
"""
_SHOW_EPILOG = """\
example:
  mfal data show embedded LiTaO3
"""
_EXPORT_EPILOG = """\
example:
  mfal data export pool pool.json
"""
_FETCH_EPILOG = """\
`mfal data fetch mp` uses the mp-api client (pip install 'mfal[mp]') and the key in MP_API_KEY;
`mfal data fetch optimade` needs neither. A fetch that broke off goes on when the command is run
again; a finished one is answered from the cache (MFAL_CACHE).

example:
  mfal data fetch mp --elements Li O --max-hull 0.1 --out mp.json
  mfal data fetch optimade --provider alexandria --elements Li P S --max-hull 0.05 --out lps.json
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "data",
        help="list, show, export and fetch tables of materials",
        description="Tables of materials: what comes with mfal, your own, and public databases.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    table_help = (
        "a name (see `mfal data list`), a .json or .csv file, or a folder of structure files"
    )

    listing = actions.add_parser(
        "list",
        help="list the tables, or the materials of one",
        epilog=_LIST_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    listing.add_argument("table", nargs="?", metavar="TABLE", help=table_help)
    listing.add_argument("--json", action="store_true", help="print JSON")
    _add_strict(listing)
    listing.set_defaults(run=_list)

    show = actions.add_parser(
        "show",
        help="show a material: cell, sites, labels, sources",
        epilog=_SHOW_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    show.add_argument("table", metavar="TABLE", help=table_help)
    show.add_argument("material", metavar="ID", help="id, or a formula that occurs once")
    show.add_argument("--json", action="store_true", help="print JSON")
    _add_strict(show)
    show.set_defaults(run=_show)

    export = actions.add_parser(
        "export",
        help="write a table as JSON, CSV or CIFs",
        epilog=_EXPORT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    export.add_argument("table", metavar="TABLE", help=table_help)
    export.add_argument("target", metavar="PATH", help=".json, .csv, or a folder for CIFs")
    export.add_argument("--json", action="store_true", help="print JSON")
    _add_strict(export)
    export.set_defaults(run=_export)

    fetch = actions.add_parser(
        "fetch",
        help="fetch structures from a database",
        epilog=_FETCH_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fetch.add_argument("database", choices=("mp", "optimade"), help="which interface to ask")
    fetch.add_argument(
        "--provider",
        metavar="NAME|URL",
        help="for optimade: mp, cod, oqmd, alexandria or the URL of a server (default: mp)",
    )
    fetch.add_argument(
        "--elements",
        nargs="+",
        action=Words,
        required=True,
        metavar="EL",
        help="elements that must all occur",
    )
    fetch.add_argument(
        "--max-hull",
        type=at_least(float, 0),
        metavar="EV",
        help="distance from the hull, eV per atom, at most",
    )
    fetch.add_argument(
        "--max-atoms",
        "--max-sites",
        dest="max_sites",
        type=at_least(int, 1),
        default=200,
        metavar="N",
        help="atoms in a cell, at most (200)",
    )
    fetch.add_argument("--limit", type=at_least(int, 1), metavar="N", help="stop after so many")
    fetch.add_argument("--refresh", action="store_true", help="ask again despite the cache")
    fetch.add_argument("--out", required=True, metavar="PATH", help=".json, .csv, or a folder")
    fetch.add_argument("--json", action="store_true", help="print JSON")
    fetch.set_defaults(run=_fetch)

    phases = actions.add_parser(
        "phases",
        help="make a table of competing phases for hull distances",
        epilog=_PHASES_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    phases.add_argument("source", metavar="mp|TABLE", help=f"mp, or {table_help}")
    phases.add_argument("--elements", nargs="+", metavar="EL", help="for mp: the chemical system")
    phases.add_argument("--out", required=True, metavar="FILE.csv", help="where to write it")
    phases.add_argument("--json", action="store_true", help="print JSON")
    phases.set_defaults(run=_phases)


def _add_strict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--strict",
        action="store_true",
        help="fail on a row or file that can't be read, instead of leaving it out with a warning",
    )


def _list(options: argparse.Namespace) -> int:
    from mfal.data.named import NAMED_TABLES, open_table, summarise_table

    if options.table is None:
        if options.json:
            print(json.dumps(NAMED_TABLES, indent=1, ensure_ascii=False))
        else:
            width = max(map(len, NAMED_TABLES))
            for name, what in NAMED_TABLES.items():
                print(f"{name:<{width}}  {what}")
        return 0
    table = open_table(options.table, strict=options.strict)
    summary = summarise_table(table)
    if options.json:
        rows = [_row(table, i) for i in range(len(table))]
        print(json.dumps({"summary": summary, "materials": rows}, indent=1, ensure_ascii=False))
        return 0
    id_width = max([2, *(len(identifier) for identifier in table.ids)])
    formula_width = max([7, *(len(formula) for formula in table.formulas)])
    print(f"{'id':<{id_width}}  {'formula':<{formula_width}}  group  atoms  labels")
    for i, identifier in enumerate(table.ids):
        group = int(table.space_group_number[i])
        atoms = "yes" if table.structure_records[i] is not None else "–"
        labels = ", ".join(sorted({label.quantity for label in table.labels[i]})) or "–"
        print(
            f"{identifier:<{id_width}}  {table.formulas[i]:<{formula_width}}  "
            f"{group or '–':>5}  {atoms:>5}  {labels}"
        )
    print(f"\n{summary['materials']} materials, {summary['with_atoms']} with atoms")
    return 0


def _show(options: argparse.Namespace) -> int:
    from mfal.data.named import describe, find_row, open_table

    table = open_table(options.table, strict=options.strict)
    row = find_row(table, options.material)
    if options.json:
        from mfal.data.table_json import row_to_dict

        print(json.dumps(row_to_dict(row), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        print(describe(row))
    return 0


def _export(options: argparse.Namespace) -> int:
    from mfal.data.named import export_table, open_table

    table = open_table(options.table, strict=options.strict)
    written = export_table(table, options.target)
    print(_written(table, options.target) if options.json else written)
    return 0


def _fetch(options: argparse.Namespace) -> int:
    from rich.console import Console

    from mfal.data.named import export_table

    with Console(stderr=True).status("asking the database") as status:

        def progress(done: int, total: int | None) -> None:
            status.update(f"{done} of {total} entries" if total else f"{done} entries")

        fetched = _ask(options, progress)
    written = export_table(fetched.table, options.out)
    if options.json:
        left_out = dict(sorted(fetched.skipped.items()))
        print(_written(fetched.table, options.out, skipped=left_out, cached=fetched.from_cache))
        return 0
    print(written)
    for reason, count in sorted(fetched.skipped.items()):
        print(f"{count} left out: {reason}")
    if fetched.from_cache:
        print("(from the cache; --refresh asks again)")
    return 0


def _ask(options: argparse.Namespace, progress: "Callable[[int, int | None], None]") -> "Fetched":
    shared: dict[str, Any] = {
        "max_hull": options.max_hull,
        "max_sites": options.max_sites,
        "limit": options.limit,
        "refresh": options.refresh,
        "progress": progress,
    }
    if options.database == "mp":
        if options.provider is not None:
            raise MfalError(
                f"--provider {options.provider} with the mp-api client",
                "use: mfal data fetch optimade --provider ...",
            )
        from mfal.data.materials_project import fetch_materials_project

        return fetch_materials_project(options.elements, **shared)
    from mfal.data.optimade import fetch_optimade

    return fetch_optimade(options.elements, options.provider or "mp", **shared)


def _written(table: "MaterialTable", target: str, **more: Any) -> str:
    """What has been written and where, as JSON."""
    return json.dumps({"path": target, "materials": len(table), **more}, ensure_ascii=False)


def _row(table: "MaterialTable", index: int) -> dict[str, Any]:
    """What the list says of a material, as plain values."""
    lattice = [round(float(x), 5) for x in table.lattice[index]]
    return {
        "id": table.ids[index],
        "formula": table.formulas[index],
        "space_group_number": int(table.space_group_number[index]) or None,
        "lattice": None if any(map(math.isnan, lattice)) else lattice,
        "atoms": table.structure_records[index] is not None,
        "labels": sorted({label.quantity for label in table.labels[index]}),
        "licence": table.licences[index],
    }


def _phases(options: argparse.Namespace) -> int:
    """Make a table of competing phases."""
    from mfal.cli.cache import use_compilation_cache

    use_compilation_cache()
    from mfal.data.named import open_table
    from mfal.oracles.stability.hull import competing_phases
    from mfal.oracles.stability.phases import (
        phases_from_materials_project,
        phases_of_table,
        write_phases,
    )

    if options.source == "mp":
        if not options.elements:
            raise MfalError("mp without elements", "give --elements Li P S")
        made = phases_from_materials_project(options.elements)
    else:
        made = (*competing_phases(), *phases_of_table(open_table(options.source)))
    write_phases(options.out, made)
    systems = {frozenset(phase.amounts) for phase in made}
    if options.json:
        print(json.dumps({"phases": len(made), "systems": len(systems), "file": options.out}))
    else:
        print(f"{len(made)} phases of {len(systems)} chemical systems in {options.out}")
    return 0
