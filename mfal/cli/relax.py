"""`mfal relax`: structures in files, relaxed by an interatomic potential."""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfal.cli.arguments import at_least
from mfal.errors import MfalError
from mfal.numbers import number_or_text

if TYPE_CHECKING:
    from mfal.crystals.reading import ReadStructure
    from mfal.oracles.stability.relaxing import RelaxedStructure

__all__ = ["add_parser", "run"]

_EPILOG = """\
example:
  mfal relax Li3PO4.cif candidates/ --out relaxed
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "relax",
        help="relax structures in files by an interatomic potential",
        description="Relax positions and cell of the structures in files to the nearest minimum of"
        " CHGNet's energy, and write them as CIFs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "files",
        nargs="+",
        metavar="SOURCE",
        help="files, folders, patterns, tables or - for standard input, as in `mfal score`",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("relaxed"),
        metavar="DIR",
        help="folder for the relaxed CIFs (default: relaxed)",
    )
    parser.add_argument(
        "--free",
        action="store_true",
        help="let structures lower their symmetry (default: each keeps its space group)",
    )
    parser.add_argument(
        "--fixed-cell", action="store_true", help="relax positions alone, in the cell as it is"
    )
    parser.add_argument(
        "--force",
        type=at_least(float, 0, above=True),
        default=0.05,
        metavar="EV_PER_A",
        help="longest force at which a structure counts as relaxed, eV/Å (default: 0.05)",
    )
    parser.add_argument(
        "--steps",
        type=at_least(int, 1),
        default=500,
        metavar="N",
        help="most evaluations each (default: 500)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Relax everything, write CIFs, print a table; 1 where any file or relaxation failed."""
    print("mfal: reading, compiling, relaxing", file=sys.stderr, flush=True)
    from mfal.cli.cache import use_compilation_cache

    use_compilation_cache()
    from mfal.cli.console import make_console
    from mfal.cli.score_sources import expand_sources, structures_of
    from mfal.oracles.stability.relaxing import relax_structures
    from mfal.potentials.relax import DEFAULT

    read = [one for source in expand_sources(options.files) for one in structures_of(source)]
    results: dict[int, dict[str, Any]] = {}
    for number, one in enumerate(read):
        if one.problem is not None:
            results[number] = {"file": one.name, "error": str(one.problem)}
    good = [(n, one, one.structure) for n, one in enumerate(read) if one.structure is not None]
    targets = _names([one.name for _, one, _ in good])
    settings = DEFAULT._replace(
        force=options.force, steps=options.steps, cell=not options.fixed_cell
    )
    from rich.progress import Progress

    with Progress(console=make_console(stderr=True), transient=True) as progress:
        bar = progress.add_task("compiling, then relaxing", total=len(good))
        relaxed = relax_structures(
            [structure for _, _, structure in good],
            settings=settings,
            keep_symmetry=not options.free,
            report=lambda done: progress.update(bar, completed=done),
        )
    for (number, one, _), answer, target in zip(good, relaxed, targets, strict=True):
        results[number] = _record(one, answer, options.out / target)
    ordered = [results[number] for number in sorted(results)]
    if options.json:
        print(json.dumps(ordered, indent=1, allow_nan=False, ensure_ascii=False))
    else:
        _print_table(ordered)
    return 0 if all(result.get("status") == "converged" for result in ordered) else 1


def _names(files: Sequence[str]) -> list[str]:
    """A CIF's name for each structure, none twice."""
    taken: dict[str, int] = {}
    names = []
    for file in files:
        stem = Path(file.partition("#")[0]).name
        for suffix in (".gz", ".bz2", ".xz"):
            stem = stem.removesuffix(suffix)
        stem = Path(stem).stem or "structure"
        part = file.partition("#")[2]
        name = f"{stem}-{part}" if part else stem
        taken[name] = taken.get(name, 0) + 1
        names.append(f"{name}.cif" if taken[name] == 1 else f"{name}_{taken[name]}.cif")
    return names


def _record(read: "ReadStructure", answer: "RelaxedStructure", target: Path) -> dict[str, Any]:
    """One structure's answer, JSON-ready; its CIF is written unless there is none."""
    from mfal.crystals.checks import notes_of
    from mfal.crystals.structures import structure_to_cif

    assert read.structure is not None
    there = not answer.status.startswith(("refused", "exploded"))
    if there:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(structure_to_cif(answer.structure), encoding="utf-8")
        except OSError as error:
            raise MfalError(
                f"{target}: {error.strerror}", "give a folder that can be written with --out"
            ) from None
    return {
        "file": read.name,
        "formula": read.structure.composition.reduced_formula,
        "status": answer.status,
        "energy_ev_per_atom": number_or_text(answer.energy),
        "volume_change_percent": number_or_text(100 * answer.volume_change),
        "shift_angstrom": number_or_text(answer.shift),
        "space_group_before": answer.space_group_before,
        "space_group_after": answer.space_group_after,
        "force_ev_per_angstrom": number_or_text(answer.force),
        "stress_gpa": number_or_text(answer.stress),
        "steps": answer.steps,
        "notes": list(notes_of(read.structure)),
        "cif": str(target) if there else None,
    }


def _print_table(results: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from mfal.cli.console import make_console

    console = make_console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("file", overflow="fold")
    for name in ("formula", "energy\neV/atom", "volume\n%", "shift\nÅ", "space\ngroup", "steps"):
        table.add_column(name, justify="left" if name == "formula" else "right")
    table.add_column("status", overflow="fold")
    for result in results:
        if "error" in result:
            continue
        before, after = result["space_group_before"], result["space_group_after"]
        table.add_row(
            result["file"],
            result["formula"],
            _format(result["energy_ev_per_atom"], "{:.4f}"),
            _format(result["volume_change_percent"], "{:+.1f}"),
            _format(result["shift_angstrom"], "{:.3f}"),
            str(before) if before == after else f"{before} → {after}",
            str(result["steps"]),
            Text(result["status"], style="" if result["status"] == "converged" else "red"),
        )
    if table.row_count:
        console.print(table)
    for result in results:
        if "error" in result:
            console.print(Text(result["error"], style="red"), soft_wrap=True)
        for note in result.get("notes", []):
            console.print(f"{result['file']}: {note}", soft_wrap=True, markup=False)
    written = [result["cif"] for result in results if result.get("cif")]
    if written:
        folder = Path(written[0]).parent
        console.print(f"{len(written)} CIF(s) in {folder}", soft_wrap=True, markup=False)


def _format(value: float | str | None, form: str) -> str:
    if not isinstance(value, float) or math.isnan(value):
        return "–"
    return form.format(value)
