"""`mfal score`: what every oracle says about a structure."""

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfal.cli.arguments import Words, at_least
from mfal.cli.score_sources import Source, expand_sources
from mfal.errors import MfalError

if TYPE_CHECKING:
    from mfal.cli.score_table import ScoreTable

__all__ = ["add_parser", "run"]

SCORING = "mfal.oracles.scoring:scoring_oracles"
_DECORATIONS = 3

_EPILOG = """\
A source is a structure file (CIF, POSCAR, XDATCAR, extended XYZ, XSF, SHELX, JSON of pymatgen or
ASE, and what else ASE reads; compressed or not), a folder of them, a pattern, a table (.json or
.csv, or a name that `mfal data list` prints), or - for standard input. Several structures in a file
are numbered.

example:
  mfal score Li3PO4.cif Li6PS5Cl.cif --json
  mfal score cifs/ '*.vasp' --out scores.csv
  mfal score --ion Na Na3SbS4.cif
  mfal score Li7P3S11.cif --oracles mfal.oracles:dynamics --files shown
  mfal score --stability candidates/
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "score",
        help="ask all oracles about structures in files",
        description="Ask every oracle about structures in files, folders or tables.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="SOURCE", help="see below")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE.csv",
        help="also write a table; what it holds already is not scored again",
    )
    parser.add_argument(
        "--ion", "--mobile", default="Li", metavar="EL", help="the ion that moves (default: Li)"
    )
    parser.add_argument(
        "--decorations",
        type=at_least(int, 0),
        metavar="N",
        help="random occupations of a partly occupied framework, for the spread (default: 3)",
    )
    parser.add_argument(
        "--processes",
        type=at_least(int, 1),
        metavar="N",
        help="how many at once (default: one a core)",
    )
    parser.add_argument(
        "--oracles",
        nargs="+",
        action=Words,
        default=[SCORING],
        metavar="MODULE:FUNCTION",
        help=f"oracles to ask (default: {SCORING})",
    )
    parser.add_argument(
        "--files",
        dest="shown",
        type=Path,
        metavar="DIR",
        help="write what simulations showed: mean square displacements (CSV and PNG), density of"
        " the mobile ions (cube)",
    )
    parser.add_argument(
        "--stability",
        action="store_true",
        help="also relax each structure by CHGNet (some seconds) and place it on the hull:"
        " distance, decomposition products, change of volume",
    )
    parser.add_argument(
        "--phases",
        metavar="FILE.csv",
        help="place it on the hull of these competing phases, as `mfal data phases` writes them"
        " (default with --stability: those that come with mfal)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print all values; 1 where any file or oracle failed, 130 after Ctrl-C."""
    sources = expand_sources(options.files)
    if len(sources) != 1 or sys.stderr.isatty():
        print(f"scoring {len(sources)} files", file=sys.stderr, flush=True)
    from mfal.cli.cache import use_compilation_cache

    use_compilation_cache()
    from mfal.cli.score_print import Printer
    from mfal.cli.score_work import Job, oracles_of, process_count
    from mfal.oracles.progress import listening

    ion = options.ion.strip().capitalize()
    if options.decorations is not None and options.oracles != [SCORING]:
        raise MfalError(
            "--decorations with oracles of your own", "leave it out: it is the default oracles'"
        )
    decorations = _DECORATIONS if options.decorations is None else options.decorations
    folder = str(options.shown) if options.shown else None
    job = Job(tuple(options.oracles), ion, decorations, folder, options.stability, options.phases)
    oracles_of(job)  # what is wrong with them is said before anything is scored
    digests = {source.name: source.digest() for source in sources} if options.out else {}
    with contextlib.ExitStack() as stack:
        table = _table(options.out, job, digests) if options.out else None
        if table is not None:
            stack.enter_context(table)
            left = [one for one in sources if (one.name, digests[one.name]) not in table.done]
            if len(left) < len(sources):
                held = len(sources) - len(left)
                print(f"{held} of them are in {options.out} already", file=sys.stderr)
            sources = left
        printer = stack.enter_context(Printer(options.json, len(sources)))
        stack.enter_context(listening(printer.report))
        stack.enter_context(_terminable())
        processes = process_count(len(sources), options.processes)
        return _score(sources, job, processes, printer, table, digests)


def _score(
    sources: Sequence[Source],
    job: Any,
    processes: int,
    printer: Any,
    table: "ScoreTable | None",
    digests: dict[str, str],
) -> int:
    """Score, write and print; the results come out in the order of the sources."""
    from mfal.cli.score_work import results

    waiting: dict[int, list[dict[str, Any]]] = {}
    following, failed = 0, False
    try:
        for index, scored in results(sources, job, processes):
            if table is not None:
                table.add(sources[index].name, digests[sources[index].name], scored)
            failed |= any(_has_failed(result) for result in scored)
            waiting[index] = scored
            printer.advance()
            while following in waiting:
                printer.show(waiting.pop(following))
                following += 1
    except KeyboardInterrupt:
        for index in sorted(waiting):
            printer.show(waiting[index])
        printer.close()
        remedy = "; the same command goes on" if table is not None else ""
        print(
            f"mfal: stopped after {printer.done} of {len(sources)} files{remedy}", file=sys.stderr
        )
        return 130
    printer.summarise()
    return 1 if failed else 0


def _has_failed(result: dict[str, Any]) -> bool:
    return "error" in result or any(a["status"] != "ok" for a in result["oracles"])


def _table(path: Path, job: Any, digests: dict[str, str]) -> "ScoreTable":
    from mfal.cli.score_table import ScoreTable
    from mfal.cli.score_work import oracles_of

    oracles = [(one.name, one.version, one.unit) for one in oracles_of(job)]
    return ScoreTable(path, oracles, digests)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM as Ctrl-C, where signals may be set."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
