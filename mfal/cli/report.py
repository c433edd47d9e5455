"""`mfal report`: a campaign as a page, tables and plots."""

import argparse
import sys
from pathlib import Path
from typing import Any

__all__ = ["add_parser", "run"]

_EPILOG = """\
example:
  mfal report campaign
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "report",
        help="write a campaign's report",
        description="Write a campaign's report into its folder, finished or not, also while it"
        " runs: report.html, which opens offline, report.json, candidates.csv, CIFs, and every"
        " figure as PNG and CSV.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the campaign")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write everything and say where it is."""
    print(f"mfal: making the report of {options.folder}", file=sys.stderr, flush=True)
    from mfal.campaign.folder import read_campaign
    from mfal.report.export import write_candidates
    from mfal.report.html import write_page
    from mfal.report.pareto import write_pareto
    from mfal.report.plain import summary_to_json
    from mfal.report.questions import write_questions
    from mfal.report.summary import summarise

    with read_campaign(options.folder) as ledger:
        summary = summarise(ledger)
    written = write_page(summary, options.folder) + write_candidates(summary, options.folder)
    written += write_pareto(summary, options.folder)
    written.append(write_questions(summary, options.folder))
    if options.json:
        print(summary_to_json(summary))
    else:
        for path in written:
            print(path)
    return 0
