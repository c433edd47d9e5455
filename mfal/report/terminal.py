"""The one page that a finished campaign prints."""

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mfal.report.advice import advice
from mfal.report.export import CIF_FOLDER, CSV_NAME
from mfal.report.summary import Candidate, Summary

__all__ = ["print_summary"]

_SHOWN = 15


def print_summary(console: Console, summary: Summary, folder: Path, shown: int = _SHOWN) -> None:
    """Ranked candidates, what was spent on what, how random search did, and where the files are."""
    target = summary.target
    console.print()
    if not summary.candidates:
        console.print(Text("No candidate was answered by any oracle.", style="red"))
    else:
        console.print(_candidates(summary, shown))
        if len(summary.candidates) > shown:
            console.print(Text(f"... and {len(summary.candidates) - shown} more in {CSV_NAME}"))
    console.print()
    for line in _facts(summary):
        console.print(Text(line), soft_wrap=True)
    console.print()
    console.print(
        Text(
            f"Files in {folder}: report.html, report.json, {CSV_NAME}, {CIF_FOLDER}/, figures/,"
            " best_against_cost.png."
            f" Values are {target.name} in {target.unit}."
        ),
        soft_wrap=True,
    )


def _candidates(summary: Summary, shown: int) -> Table:
    target = summary.target
    title = Text(f"Best candidates by {target.name} ({target.unit})", style="bold")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("rank", justify="right")
    table.add_column("formula", overflow="fold")
    table.add_column("group", justify="right")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("±", justify="right", no_wrap=True)
    table.add_column("basis", no_wrap=True)
    table.add_column("asked up to", overflow="fold")
    table.add_column("file", overflow="fold")
    for candidate in summary.candidates[:shown]:
        style = "dim" if candidate.basis == "predicted" else None
        table.add_row(*(Text(cell) for cell in _cells(candidate, summary)), style=style)
    return table


def _cells(candidate: Candidate, summary: Summary) -> list[str]:
    return [
        str(candidate.rank),
        candidate.crystal.formula,
        str(candidate.crystal.space_group),
        candidate.shown,
        "" if candidate.std is None else f"{candidate.std:.2f}",
        candidate.basis,
        summary.oracles[candidate.fidelity].name,
        candidate.file_name if candidate.cif else "",
    ]


def _facts(summary: Summary) -> list[str]:
    lines = [
        f"Spent {summary.spent:.4g} CPU s, of which {summary.initial_cost:.4g} on known"
        " crystals: "
        + "; ".join(
            f"{name} {kinds['observed']} answered"
            + (f", {kinds['failed']} failed" if kinds["failed"] else "")
            for name, kinds in summary.numbers.items()
        )
        + "."
    ]
    if summary.campaign.best and summary.random is not None and summary.random.best:
        lines.append(
            f"Best calculated proposal: {summary.campaign.best[-1]:.2f}; random search at equal"
            f" cost on the same oracles: {summary.random.best[-1]:.2f}."
        )
    if summary.best_known is not None:
        known = summary.best_known
        lines.append(
            f"Best known crystal in the initial data: {known.query.crystal.formula}"
            f" {known.value:.2f}."
        )
    said = [*summary.fidelities, *advice(summary)]
    return lines + [f"{sentence[0].upper()}{sentence[1:]}." for sentence in said]
