"""The report: one page that holds everything it needs and opens without a network.

All text from the campaign is escaped; data for the page's script is JSON in which no tag can end.
"""

import base64
import html
import json
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Any

import mfal
from mfal.crystals.elements import SYMBOLS
from mfal.errors import MfalError
from mfal.report.plot import plot_best_against_cost, plot_fidelity_mix, plot_parity
from mfal.report.summary import Candidate, Summary

__all__ = ["render_page", "write_page"]

PAGE_NAME = "report.html"
_ROWS = 100
_STRUCTURES = 40
_NOBLE = (2, 10, 18, 36, 54, 86, 118)
"""Atomic numbers that end the periods."""


def write_page(summary: Summary, folder: Path) -> list[Path]:
    """report.html and the plots that it shows, as PNG; returns what was written."""
    plots = [
        plot_best_against_cost(summary, folder / "best_against_cost.png"),
        plot_fidelity_mix(summary, folder / "fidelity_mix.png"),
        plot_parity(summary, folder / "parity.png"),
    ]
    path = folder / PAGE_NAME
    try:
        path.write_text(render_page(summary, plots), encoding="utf-8")
    except OSError as error:
        raise MfalError(
            f"{path}: {error.strerror}", "make the folder writable or free some space"
        ) from None
    return [path, *plots]


def render_page(summary: Summary, plots: list[Path]) -> str:
    """The page as text.

    Args:
      summary: the campaign.
      plots: PNG files of best against cost, fidelity mix, and parity, which are inlined.
    """
    best, mix, parity = map(_image, plots)
    shown = [candidate for candidate in summary.candidates if candidate.cif][:_STRUCTURES]
    structures = {
        candidate.crystal.hash: {
            "cif": candidate.cif,
            "label": f"{candidate.rank}. {candidate.crystal.formula},"
            f" space group {candidate.crystal.space_group}",
        }
        for candidate in shown
    }
    top = summary.top
    axis = _text(f"{top.name}, {top.unit}")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data: blob:;
 style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval' blob:; worker-src blob:">
<link rel="icon" href="data:,">
<title>mfal campaign report</title>
<style>{_asset("page.css")}</style>
</head>
<body>
<header>
<h1>Lithium conductor campaign</h1>
<p class="lead">{"Finished" if summary.finished else "Still under way"};
written by mfal {_text(mfal.__version__)}</p>
</header>
<main>
<h2>Summary</h2>
{_words(summary)}
<h2>Candidates</h2>
<div class="scroll">{_table(summary, set(structures))}</div>
<h2>Structure</h2>
<p id="viewer-label" aria-live="polite"></p>
<div id="viewer" role="img" aria-label="3-D view of the chosen candidate's unit cell; lithium is
purple"></div>
<p class="lead">One of several arrangements of atoms that fit the composition, space group and
lattice. Drag to turn, scroll to zoom.</p>
<h2>Search</h2>
<div class="pair">
<figure>{best(f"Best answer so far against cost, beside random search ({axis})")}</figure>
<figure>{mix("Number of queries at each fidelity, round by round")}</figure>
<figure>{parity(f"What the proxy expected of a proposal against the answer ({axis})")}</figure>
</div>
<h2>What each fidelity is worth</h2>
{_list(summary.fidelities) if summary.fidelities else "<p>Known at the end.</p>"}
<h2>Elements</h2>
<p class="lead">How many of the candidates hold each element.</p>
<div class="scroll">{_periodic(summary)}</div>
<h2>Provenance</h2>
{_provenance(summary)}
<footer>3-D view by 3Dmol.js (N. Rego and D. Koes, Bioinformatics 31, 1322 (2015);
BSD 3-clause licence).</footer>
</main>
<script type="application/json" id="structures">{_json(structures)}</script>
<script>{_asset("3Dmol-min.js")}</script>
<script>{_asset("page.js")}</script>
</body>
</html>
"""


def _words(summary: Summary) -> str:
    top = summary.top
    lines = [
        f"{len(summary.candidates)} candidates were proposed and answered for"
        f" {summary.spent:.4g} cost units, {summary.initial_cost:.4g} of them spent on known"
        f" crystals before the first round."
    ]
    if summary.candidates:
        first = summary.candidates[0]
        lines.append(
            f"The best is {first.crystal.formula} in space group {first.crystal.space_group}:"
            f" {_value(first)} {top.unit} ({first.basis})."
        )
    if summary.best_known is not None and summary.best_known.value is not None:
        lines.append(
            f"The best known crystal that was asked about,"
            f" {summary.best_known.query.crystal.formula}, has {summary.best_known.value:.2f}."
        )
    if summary.random is not None and summary.random.best and summary.campaign.best:
        lines.append(
            f"At equal cost a random search on the same oracles came to"
            f" {summary.random.best[-1]:.2f}, this campaign to {summary.campaign.best[-1]:.2f}."
        )
    lines.append(
        "Values come from models of ion transport, not from measurements: they rank candidates"
        " for a closer look."
    )
    return "<p>" + " ".join(map(_text, lines)) + "</p>"


def _table(summary: Summary, shown: set[str]) -> str:
    head = "".join(f'<th scope="col" class="n">{_text(o.name)}</th>' for o in summary.oracles)
    rows = "".join(_row(c, summary, c.crystal.hash in shown) for c in summary.candidates[:_ROWS])
    top = summary.top
    return (
        f"<table><caption>Ranked by {_text(top.name)} in {_text(top.unit)}: the oracle's mean over"
        " arrangements of atoms where it was asked, else the proxy's expectation</caption>"
        '<thead><tr><th scope="col" class="n">rank</th><th scope="col">formula</th>'
        '<th scope="col" class="n">group</th><th scope="col" class="n">value</th>'
        f'<th scope="col">basis</th>{head}<th scope="col" class="n">round</th>'
        '<th scope="col" class="n">tried</th><th scope="col">measured</th>'
        '<th scope="col">structure</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _row(candidate: Candidate, summary: Summary, shown: bool) -> str:
    crystal = candidate.crystal
    cells = []
    for fidelity in range(len(summary.oracles)):
        answer = candidate.observed.get(fidelity)
        if answer is None:
            cells.append("not asked")
        elif answer.value is None:
            cells.append("failed")
        else:
            spread = "" if answer.spread is None else f" ± {answer.spread:.2g}"
            cells.append(f"{answer.value:.3g}{spread}")
    answers = "".join(f'<td class="n">{_text(cell)}</td>' for cell in cells)
    seen = candidate.observed[candidate.fidelity]
    measured = "; ".join(f"{name} {text}" for name, text in candidate.measured.items())
    label = _text(f"Show {crystal.formula}, rank {candidate.rank}")
    button = (
        f'<button type="button" data-id="{crystal.hash}" aria-label="{label}">show</button>'
        if shown
        else ""
    )
    return (
        f'<tr data-id="{_text(crystal.hash)}" aria-selected="false"><td class="n">{candidate.rank}'
        f'</td><th scope="row">{_text(crystal.formula)}</th><td class="n">{crystal.space_group}'
        f'</td><td class="n">{_value(candidate)}</td><td>{_text(candidate.basis)}</td>{answers}'
        f'<td class="n">{seen.query.round}</td>'
        f'<td class="n">{_text(str(seen.detail.get("tried", "")))}</td>'
        f"<td>{_text(measured)}</td><td>{button}</td></tr>"
    )


def _periodic(summary: Summary) -> str:
    """The periodic table with counts; lanthanides and actinides in rows of their own."""
    counts = Counter(s for c in summary.candidates for s in c.crystal.composition)
    most = max(counts.values(), default=1)
    cells = []
    for number, symbol in enumerate(SYMBOLS, 1):
        row, column = _place(number)
        count = counts.get(symbol, 0)
        style = f"grid-row:{row};grid-column:{column}"
        if count:
            style += f";background:rgba(11,83,148,{0.1 + 0.3 * count / most:.2f})"
            cells.append(f'<div style="{style}"><b>{symbol}</b>{count}</div>')
        else:
            cells.append(f'<div class="unused" style="{style}"><b>{symbol}</b></div>')
    return f'<div class="periodic">{"".join(cells)}</div>'


def _place(number: int) -> tuple[int, int]:
    """Row and column of an element, 1 to 9 and 1 to 18."""
    for row, (first, last) in enumerate(((57, 71), (89, 103)), 8):
        if first <= number <= last:
            return row, number - first + 3
    row = next(row for row, noble in enumerate(_NOBLE, 1) if number <= noble)
    place = number - (0, *_NOBLE)[row - 1]
    if row == 1:
        return 1, 1 if number == 1 else 18
    if row <= 3:
        return row, place if place <= 2 else place + 10
    if row >= 6 and place > 17:
        place -= 14
    return row, place


def _provenance(summary: Summary) -> str:
    facts = {
        oracle.name: f"version {oracle.version}, {oracle.cost:g} cost units an evaluation;"
        + "".join(f" {n} {kind}," for kind, n in summary.numbers[oracle.name].items()).rstrip(",")
        for oracle in summary.oracles
    }
    facts |= {"configuration": json.dumps(summary.config)}
    items = "".join(f"<dt>{_text(k)}</dt><dd>{_text(v)}</dd>" for k, v in facts.items())
    return f"<dl>{items}</dl>"


def _list(sentences: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{_text(s)}</li>" for s in sentences) + "</ul>"


def _value(candidate: Candidate) -> str:
    std = "" if candidate.std is None else f" ± {candidate.std:.2f}"
    return f"{candidate.value:.2f}{std}"


def _image(path: Path) -> Any:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return lambda text: f'<img alt="{text}" src="data:image/png;base64,{data}">'


def _asset(name: str) -> str:
    return (files("mfal.report") / "assets" / name).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    """JSON that can't end the script element that holds it."""
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e")


def _text(value: str) -> str:
    return html.escape(value, quote=True)
