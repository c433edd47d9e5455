"""`mfal discover`: a whole campaign, from nothing to ranked candidates."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from mfal.cli.options import add_config_options, config_from

__all__ = ["add_parser", "run"]

_EPILOG = """\
`mfal discover --help-all` shows all options, which are also those of a --config file.

The same command goes on with a campaign that was stopped; what was paid for is never paid twice.
Ctrl-C stops one: what has been answered is written first. DIR/config.toml holds all options as
they were understood: --config DIR/config.toml --out OTHER does the whole campaign again.

exit codes:
  0  the campaign has ended, with candidates
  1  it has ended without any, or its --hours ran out before the end
  2  wrong use or input, or a full disk, or a broken machine: one line says what, and the remedy
  130  stopped by Ctrl-C or SIGTERM; the same command goes on

example:
  mfal discover --budget 20m --seed 1 --out campaign
  mfal discover --elements Li,P,S,Cl --budget 2h --out thiophosphates
  mfal discover --executor dask://head-node:8786 --overlap 0.5 --limits conductivity=2h
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "discover",
        help="search for new conductors within a budget",
        description="Search for new conductors, of lithium ions unless --ion names others: initial"
        " data from known crystals, then rounds of fitting a proxy, training a sampler, choosing"
        " and asking, within a budget.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,  # it has a place of its own
    )
    other = add_config_options(parser)
    other.add_argument(
        "--out",
        type=Path,
        default=Path("mfal-campaign"),
        metavar="DIR",
        help="folder of the campaign (default: mfal-campaign)",
    )
    other.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run or resume the campaign, then write and show what it found."""
    from mfal.cli.cache import use_compilation_cache, use_one_thread

    config = config_from(options)
    use_compilation_cache()
    use_one_thread()
    from mfal.campaign.folder import read_campaign
    from mfal.campaign.ledger.interrupts import interruptible
    from mfal.campaign.loop import run_campaign
    from mfal.cli.console import make_console
    from mfal.oracles.loading import load_oracles
    from mfal.report.display import show_progress
    from mfal.report.export import write_candidates
    from mfal.report.html import write_page
    from mfal.report.pareto import write_pareto
    from mfal.report.plain import summary_to_json
    from mfal.report.questions import write_questions
    from mfal.report.summary import summarise
    from mfal.report.terminal import print_summary

    console = make_console(stderr=options.json)
    oracles = load_oracles(config.oracles, config.hide)
    try:
        with interruptible(), show_progress(console, config, oracles, options.out) as notify:
            ended = run_campaign(options.out, config, notify=notify)
    except KeyboardInterrupt:
        console.print(
            f"Stopped. All answers are in {options.out}; to go on: {_command(options)}",
            markup=False,
            soft_wrap=True,
        )
        return 130
    with read_campaign(options.out) as ledger:
        summary = summarise(ledger)
    write_candidates(summary, options.out)
    write_pareto(summary, options.out)
    write_questions(summary, options.out)
    write_page(summary, options.out)
    if options.json:
        print(summary_to_json(summary))
    else:
        print_summary(console, summary, options.out)
    if not ended:
        console.print(
            f"The time is up; to go on: {_command(options)}", markup=False, soft_wrap=True
        )
    sys.stdout.flush()
    return 0 if ended and summary.candidates else 1


def _command(options: argparse.Namespace) -> str:
    """The command that goes on with a campaign: its folder holds its configuration."""
    folder = shlex.quote(str(options.out))
    config = shlex.quote(str(options.out / "config.toml"))
    return f"mfal discover --out {folder} --config {config}"
