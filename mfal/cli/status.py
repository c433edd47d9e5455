"""`mfal status`: where a campaign stands, read beside its writer."""

import argparse
import json
from pathlib import Path
from typing import Any

__all__ = ["add_parser", "run"]

_EPILOG = """\
example:
  mfal status campaign --json
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "status",
        help="show where a campaign stands",
        description="Show what a campaign has spent and found so far; works while it runs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the campaign")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print rounds, budget, numbers of queries and the best so far."""
    from mfal.campaign.folder import read_campaign
    from mfal.campaign.status import read_status

    with read_campaign(options.folder) as ledger:
        status = read_status(ledger)
    if options.json:
        print(json.dumps(status, indent=1, ensure_ascii=False))
        return 0
    account = status["budget"]
    where = f"round {status['round']} of {status['rounds']}, {status['state']}"
    print(f"{options.folder}: {where}" + (f" ({status['reason']})" if status["reason"] else ""))
    print(
        f"budget   {account['spent']:.4g} of {account['total']:g} CPU s spent,"
        f" {account['reserved']:.4g} reserved"
    )
    for name, kinds in status["queries"].items():
        print(
            f"{name:14} {kinds['observed']} answered, {kinds['failed']} failed,"
            f" {kinds['pending']} open"
        )
    for name, each in status["computing"].items():
        whose = "the campaign itself" if name == "campaign" else name
        print(f"computed {each['seconds']:.4g} CPU s by {whose}, charged {each['cost']:.4g}")
    for best in status["best"]:
        sign = {"below": "<", "above": ">"}.get(best["censoring"], "")
        print(
            f"best     {best['formula']} (space group {best['space_group']}):"
            f" {sign}{best['value']:.4g} {best['unit']} {best['basis']}"
            f"{' (known crystal)' if best['known'] else ''}"
        )
    return 0
