"""`mfal doctor`: is a campaign's folder sound?"""

import argparse
import json
from pathlib import Path
from typing import Any

__all__ = ["add_parser", "run"]

_EPILOG = """\
example:
  mfal doctor campaign
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "doctor",
        help="check a campaign's folder",
        description="Check a campaign's ledger, sums, budget and configuration; bring an older"
        " ledger up to date. Exit code 1 where there is a problem.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the campaign")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the findings."""
    from mfal.campaign.doctor import examine

    findings = examine(options.folder)
    if options.json:
        print(json.dumps([finding._asdict() for finding in findings], indent=1))
    else:
        for finding in findings:
            print(f"{finding.level:8} {finding.text}")
    return int(any(finding.level == "problem" for finding in findings))
