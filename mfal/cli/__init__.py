"""The `mfal` command: thin, one module per subcommand."""

from mfal.cli.command import main

__all__ = ["main"]
