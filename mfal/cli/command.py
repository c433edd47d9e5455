"""Parsing, dispatch, and what becomes of errors.

Exit codes: 0 all went well; 1 the command finished, but something that it was asked for failed (it
says what); 2 wrong use or input (one line says what and the remedy); 130 stopped by Ctrl-C or by
SIGTERM.
"""

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import mfal
from mfal.cli.console import allow_any_locale
from mfal.cli.options import Parser
from mfal.errors import MfalError, MfalWarning

__all__ = ["main", "make_parser"]

_EPILOG = """\
exit codes:
  0  all went well
  1  finished, but something that was asked for failed (the output says what)
  2  wrong use or input: one line names the input and the remedy
  130  stopped by Ctrl-C or SIGTERM; the same command goes on

example:
  mfal discover --budget 20m --seed 1 --out campaign
"""


def make_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    from mfal.cli import completion, data, discover, doctor, handoff, relax, report, score, status

    parser = Parser(
        prog="mfal",
        description="Discover ion conductors, of lithium first, by multi-fidelity learning.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mfal {mfal.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (discover, handoff, status, report, score, relax, data, doctor):
        module.add_parser(commands)
    completion.add_parser(commands, parser)
    return parser


def _show(
    otherwise: Callable[..., None],
    message: Warning | str,
    category: type[Warning],
    *place: Any,
    **more: Any,
) -> None:
    """A warning of ours as one line on standard error; others as Python has it."""
    if issubclass(category, MfalWarning):
        print(f"mfal: {message}", file=sys.stderr)
    else:
        otherwise(message, category, *place, **more)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    allow_any_locale()
    options = make_parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            # In the order and number in which they come, whatever else is set.
            warnings.simplefilter("always", MfalWarning)
            shown = warnings.showwarning
            warnings.showwarning = partial(_show, shown)
            return int(options.run(options))
    except MfalError as error:
        print(f"mfal: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mfal: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `mfal ... | head`
        sys.stderr.close()
        return 0
