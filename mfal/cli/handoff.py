"""`mfal ask` and `mfal tell`: measurements by people, by DFT, in the laboratory."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfal.cli.arguments import at_least
from mfal.errors import MfalError

if TYPE_CHECKING:
    from mfal.report.summary import Candidate, Summary

__all__ = ["add_parser", "run_ask", "run_tell"]

_NUMBER = 5
_MEASUREMENT = "ionic_conductivity"
_SHORTLIST = 512
"""Queries from whose crystals candidates are taken, of the latest and of the best."""
_ASK = """\
example:
  mfal ask campaign --number 5 --batch to-the-lab
  mfal ask campaign --withdraw to-the-lab
"""
_TELL = """\
example:
  mfal tell campaign to-the-lab
"""


def add_parser(commands: Any) -> None:
    """Add both subcommands."""
    ask = commands.add_parser(
        "ask",
        help="write a batch of candidates to measure or compute elsewhere",
        description="Write a folder with the best candidates that have no measured value yet:"
        " CIFs, VASP inputs, and a table to fill in.",
        epilog=_ASK,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    ask.add_argument("folder", type=Path, metavar="DIR", help="folder of the campaign")
    ask.add_argument(
        "--number", type=at_least(int, 1), metavar="N", help=f"candidates (default: {_NUMBER})"
    )
    what = ask.add_mutually_exclusive_group(required=True)
    what.add_argument("--batch", type=Path, metavar="NEW", help="folder to write")
    what.add_argument(
        "--withdraw",
        metavar="NAME",
        help="take back what is still open of the batch of that name, instead of asking",
    )
    ask.add_argument(
        "--measurement",
        metavar="NAME",
        help=f"quantity to ask for (default: {_MEASUREMENT})",
    )
    ask.add_argument("--no-vasp", action="store_true", help="leave VASP inputs out")
    ask.add_argument("--flow", action="store_true", help="add atomate2 flows")
    ask.add_argument("--json", action="store_true", help="print JSON")
    ask.set_defaults(run=run_ask)
    tell = commands.add_parser(
        "tell",
        help="take the answers of a batch",
        description="Read a filled table, or the finished VASP runs of a batch's folder. Either"
        " every line is right and all are written, or nothing is, unless --partial is given.",
        epilog=_TELL,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tell.add_argument("folder", type=Path, metavar="DIR", help="folder of the campaign")
    tell.add_argument("batch", type=Path, metavar="BATCH", help="folder that `mfal ask` wrote")
    tell.add_argument("--partial", action="store_true", help="take what is right, leave the rest")
    tell.add_argument("--json", action="store_true", help="print JSON")
    tell.set_defaults(run=run_tell)


def run_ask(options: argparse.Namespace) -> int:
    """Choose by the present ranking and write the batch."""
    from mfal.campaign.folder import CAMPAIGN, HANDOFF, read_campaign
    from mfal.campaign.ledger.records import Proposal
    from mfal.cli.cache import use_compilation_cache, use_one_thread
    from mfal.handoff.exchange import ask, measurement
    from mfal.handoff.measurements import quantity
    from mfal.report.summary import summarise

    if options.withdraw is not None:
        return _withdraw(options)
    wanted, number = options.measurement or _MEASUREMENT, options.number or _NUMBER
    quantity(wanted)
    use_compilation_cache()
    use_one_thread()
    from mfal.campaign.loop import rank_again

    # What has been told since the last ranking teaches the proxy first.
    rank_again(options.folder)
    with read_campaign(options.folder) as ledger:
        # All that has been asked already may stand before the next ones.
        handed = sum(t.number for t in ledger.tallies() if t.account == HANDOFF)
        summary = summarise(ledger, number=_SHORTLIST + number + handed)
        told = any(detail.get("told") for _, detail in ledger.rounds(CAMPAIGN)[-1:])
    fidelity = len(summary.oracles)
    candidates = by_expectation(summary) if told else summary.candidates
    ranked = [
        (
            measurement(Proposal(c.crystal, 0, "", "", 0.0, 1, c.predicted), wanted, fidelity),
            c.cif,
        )
        for c in candidates
        if c.cif
    ]
    queries, notes = ask(
        options.folder,
        ranked,
        number,
        options.batch,
        vasp=not options.no_vasp,
        flow=options.flow,
    )
    formulas = [query.crystal.formula for query in queries]
    if options.json:
        print(json.dumps({"batch": str(options.batch), "formulas": formulas, "notes": notes}))
        return 0
    print(f"{options.batch}: {len(queries)} candidates to measure: {', '.join(formulas)}")
    for note in notes:
        print(f"note: {note}")
    print(f"Fill in {options.batch}/answers.csv, then: mfal tell {options.folder} {options.batch}")
    return 0


def _withdraw(options: argparse.Namespace) -> int:
    from mfal.handoff.exchange import withdraw

    given = {
        "--number": options.number,
        "--measurement": options.measurement,
        "--no-vasp": options.no_vasp,
        "--flow": options.flow,
    }
    if useless := [flag for flag, value in given.items() if value]:
        raise MfalError(f"{useless[0]} beside --withdraw", "leave it out: nothing is asked then")
    name = Path(options.withdraw).name
    formulas = [query.crystal.formula for query in withdraw(options.folder, name)]
    if options.json:
        print(json.dumps({"withdrawn": name, "formulas": formulas}))
    else:
        print(f"{name}: {len(formulas)} questions taken back: {', '.join(formulas)}")
    return 0


def by_expectation(summary: "Summary") -> "list[Candidate]":
    """Candidates by what the proxy expects of the target oracle's quantity, best first.

    It has learned from the measurements that came back; what an oracle said of a candidate itself
    is one answer among those that it has learned from.
    """
    target = len(summary.oracles) - 1
    sign = -1.0 if summary.oracles[target].higher_is_better else 1.0

    def key(candidate: "Candidate") -> tuple[float, int]:
        mean = candidate.predicted.get("mean")
        return sign * (mean[target] if mean else candidate.value), candidate.rank

    return sorted(summary.candidates, key=key)


def run_tell(options: argparse.Namespace) -> int:
    """Write the answers; 1 where lines were refused."""
    from mfal.handoff.exchange import tell

    number, problems = tell(options.folder, options.batch, partial=options.partial)
    if options.json:
        print(json.dumps({"written": number, "refused": problems}))
    else:
        print(f"{options.folder}: {number} answers written")
        for problem in problems:
            print(f"refused: {problem}")
    return 1 if problems else 0
