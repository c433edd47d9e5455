"""`mfal score`: what every oracle says about a structure."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfal.errors import MfalError
from mfal.numbers import number_or_text

if TYPE_CHECKING:
    from mfal.oracles.types import Observation, Oracle

__all__ = ["add_parser", "run"]

_EPILOG = """\
example:
  mfal score Li3PO4.cif Li6PS5Cl.cif --json
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "score",
        help="ask all oracles about structures in files",
        description="Ask every oracle about the structures in CIF or POSCAR files.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="CIF or POSCAR")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--oracles",
        nargs="+",
        default=["mfal.oracles:default_oracles"],
        metavar="MODULE:FUNCTION",
        help="oracles to ask (default: mfal.oracles:default_oracles)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print all values; 1 where any file or oracle failed."""
    from mfal.cli.cache import use_compilation_cache

    use_compilation_cache()
    from mfal.oracles.loading import load_oracles

    oracles = load_oracles(tuple(options.oracles))
    results = [_score(path, oracles) for path in options.files]
    if options.json:
        print(json.dumps(results, indent=1, allow_nan=False, ensure_ascii=False))
    else:
        _print_table(results)
    failed = any(
        "error" in result or any(a["status"] != "ok" for a in result["oracles"])
        for result in results
    )
    return 1 if failed else 0


def _score(path: str, oracles: "Sequence[Oracle]") -> dict[str, Any]:
    """One file's values; a file that can't be read has an "error" instead."""
    from mfal.crystals.reading import read_structure
    from mfal.crystals.structures import space_group_number
    from mfal.oracles.loading import ask_oracle

    try:
        structure = read_structure(Path(path))
        group = space_group_number(structure)
    except MfalError as error:
        return {"file": path, "error": str(error)}
    answers = [_plain(oracle, ask_oracle(oracle, [structure])[0]) for oracle in oracles]
    formula = structure.composition.reduced_formula
    return {"file": path, "formula": formula, "space_group": group, "oracles": answers}


def _plain(oracle: "Oracle", observation: "Observation") -> dict[str, Any]:
    return {
        "oracle": oracle.name,
        "version": oracle.version,
        "value": number_or_text(observation.value),
        "uncertainty": observation.uncertainty,
        "unit": oracle.unit,
        "status": observation.status,
        "seconds": round(observation.seconds, 4),
        "cost": oracle.cost,
    }


def _print_table(results: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from mfal.cli.console import make_console

    console = make_console()
    for result in results:
        if "error" in result:
            console.print(Text(result["error"], style="red"), soft_wrap=True)
            continue
        title = f"{result['file']}: {result['formula']}, space group {result['space_group']}"
        console.print(Text(title, style="bold"), soft_wrap=True)
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for name, justify in (("oracle", "left"), ("value", "right"), ("unit", "left")):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        table.add_column("note")
        for answer in result["oracles"]:
            value, status = answer["value"], answer["status"]
            table.add_row(
                answer["oracle"],
                "–" if value is None else f"{float(value):.4g}",
                answer["unit"],
                Text("" if status == "ok" else status, style="red"),
            )
        console.print(table)
        console.print()
