"""The one page that a finished campaign prints."""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mfal.campaign.standing import COUNTING
from mfal.report.advice import advice
from mfal.report.export import CIF_FOLDER, CSV_NAME
from mfal.report.motion import dynamics_command, motion_sentences, motions
from mfal.report.summary import Candidate, Summary

__all__ = ["print_summary"]

_SHOWN = 15


def print_summary(console: Console, summary: Summary, folder: Path, shown: int = _SHOWN) -> None:
    """Candidates by standing and rank, what was spent on what, and where the files are."""
    target = summary.target
    console.print()
    if not summary.candidates:
        console.print(Text("No candidate was answered by any oracle.", style="red"))
    else:
        for standings, title in _TITLES.items():
            some = [c for c in summary.candidates if c.standing in standings]
            # What is no discovery is shown by its first few.
            number = shown if standings == COUNTING else shown // 3
            if some:
                console.print(_candidates(summary, some[:number], title))
            if len(some) > number:
                console.print(Text(f"... and {len(some) - number} more in {CSV_NAME}"))
        if not any(candidate.standing in COUNTING for candidate in summary.candidates):
            console.print(Text(f"{summary.none_counts}.", style="red"))
    console.print()
    for line in [*_facts(summary), *_motion(summary)]:
        console.print(Text(line), soft_wrap=True)
    each, command = dynamics_command(summary, folder)
    if command:
        whole = "Whole runs of dynamics" if motions(summary) else "Dynamics show whether ions move;"
        said = f"{whole} take about, in CPU time: {each}. They go into the report by"
        console.print(Text(f"{said}\n  {command}"), soft_wrap=True)
    console.print()
    console.print(
        Text(
            f"Files in {folder}: report.html, report.json, {CSV_NAME}, {CIF_FOLDER}/, figures/,"
            " best_against_cost.png."
            f" Values are {target.name} in {target.unit}."
        ),
        soft_wrap=True,
    )


_TITLES = {
    COUNTING: "Best candidates",
    ("polymorph",): "Further polymorphs of these",
    ("repeated",): "The same crystals again",
    ("known",): "Known compounds, no discoveries",
    ("unstable",): "Known to miss the requirement",
}


def _candidates(summary: Summary, candidates: Sequence[Candidate], name: str) -> Table:
    target = summary.target
    title = Text(f"{name} by {target.name} ({target.unit})", style="bold")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("rank", justify="right")
    table.add_column("formula", overflow="fold")
    table.add_column("group", justify="right")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("±", justify="right", no_wrap=True)
    relaxed = any(candidate.relaxation for candidate in candidates)
    if relaxed:
        table.add_column("hull, eV", justify="right", no_wrap=True)
        table.add_column("ΔV", justify="right", no_wrap=True)
        table.add_column("imag.", justify="right", no_wrap=True)
    if any(candidate.known_as for candidate in candidates):
        table.add_column("known as", overflow="fold")
    table.add_column("basis", no_wrap=True)
    table.add_column("asked up to", overflow="fold")
    from_pool = any(candidate.crystal.pool_name for candidate in candidates)
    table.add_column("name in the pool, or file" if from_pool else "file", overflow="fold")
    for candidate in candidates:
        style = "dim" if candidate.basis == "predicted" else None
        cells = _cells(candidate, summary)
        if relaxed:
            cells[5:5] = _existence(candidate)
        if any(each.known_as for each in candidates):
            cells.insert(8 if relaxed else 5, candidate.known_as)
        table.add_row(*(Text(cell) for cell in cells), style=style)
    return table


def _existence(candidate: Candidate) -> list[str]:
    """Hull distance, change of volume on relaxation, and imaginary modes."""
    found, modes = candidate.relaxation, candidate.vibrations
    if not found:
        return ["", "", ""]
    return [
        candidate.hull,
        f"{found['volume_change']:+.0%}",
        "" if modes is None else "?" if modes.value is None else f"{modes.value:g}",
    ]


def _cells(candidate: Candidate, summary: Summary) -> list[str]:
    return [
        str(candidate.rank),
        candidate.crystal.formula,
        candidate.groups,
        candidate.shown,
        "" if candidate.std is None else f"{candidate.std:.2f}",
        candidate.basis,
        summary.oracles[candidate.fidelity].name,
        candidate.crystal.pool_name or (candidate.file_name if candidate.cif else ""),
    ]


def _motion(summary: Summary) -> list[str]:
    """What molecular dynamics showed, a line for each candidate."""
    lines = [f"{m.name}: {'; '.join(motion_sentences(m))}." for m in motions(summary)]
    for candidate in summary.candidates:
        answer = candidate.dynamics
        if answer is not None and answer.value is None:
            said = answer.detail.get("status", answer.kind)
            lines.append(f"Dynamics of {candidate.crystal.formula} {said}.")
    return lines


def _facts(summary: Summary) -> list[str]:
    lines = [
        f"Spent {summary.spent:.4g} CPU s, of which {summary.initial_cost:.4g} on"
        f" {summary.begun_with}: "
        + "; ".join(
            f"{name} {kinds['observed']} answered"
            + (f", {kinds['failed']} failed" if kinds["failed"] else "")
            for name, kinds in summary.numbers.items()
        )
        + "."
    ]
    if summary.campaign.best and summary.baseline is not None and summary.baseline.best:
        lines.append(
            f"Best calculated proposal: {summary.campaign.best[-1]:.2f}; the baseline"
            f" ({summary.baseline_name}) at equal CPU time: {summary.baseline.best[-1]:.2f}."
        )
    lines += [f"{sentence[0].upper()}{sentence[1:]}." for sentence in summary.comparison]
    if summary.best_known is not None:
        known = summary.best_known
        lines.append(
            f"Best known crystal in the initial data: {known.query.crystal.formula}"
            f" {known.value:.2f}."
        )
    said = [*summary.fidelities, *advice(summary)]
    return lines + [f"{sentence[0].upper()}{sentence[1:]}." for sentence in said]
