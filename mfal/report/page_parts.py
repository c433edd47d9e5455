"""Parts of the page. All text from the campaign passes through `text`, which escapes it."""

import html
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mfal.campaign.standing import COUNTING
from mfal.report.advice import advice
from mfal.report.candidate import beyond_range
from mfal.report.motion import dynamics_command, motion_table, motions
from mfal.report.periodic import composition_map
from mfal.report.plot import Figure, csv_text
from mfal.report.portraits import Portrait
from mfal.report.progress_figures import rank_agreement
from mfal.report.summary import Candidate, Summary
from mfal.report.windows import Window

__all__ = [
    "as_table",
    "candidate_rows",
    "cards",
    "facts",
    "motion_words",
    "numbers",
    "periodic_table",
    "provenance",
    "text",
    "words",
    "worth_table",
]

_ROWS = 100
_SUBSCRIPT = re.compile(r"(?<=[A-Za-z)])(\d+(?:\.\d+)?)")
_NUMBERS = 60
"""Rows of a figure's numbers that the page shows; the whole goes with its CSV link."""


def text(value: Any) -> str:
    """Anything as text that is no markup."""
    return html.escape(str(value), quote=True)


def words(summary: Summary) -> str:
    """The campaign in a paragraph."""
    target = summary.target
    lines = [
        f"{len(summary.candidates)} candidates were proposed and answered for"
        f" {summary.spent:.4g} CPU s, {summary.initial_cost:.4g} of them spent on"
        f" {summary.begun_with} before the first round."
    ]
    if summary.candidates:
        first = summary.candidates[0]
        if first.standing in COUNTING or first.basis == "measured":
            lines.append(
                f"The best is {first.crystal.formula} in space group {first.crystal.space_group}:"
                f" {value_of(first)} {target.unit} ({first.basis})."
            )
        else:
            lines.append(f"{summary.none_counts}.")
    known = summary.best_known
    if known is not None and known.value is not None:
        lines.append(
            f"The best known crystal that was asked about, {known.query.crystal.formula}, has"
            f" {known.value:.2f}."
        )
    if summary.baseline is not None and summary.baseline.best and summary.campaign.best:
        lines.append(
            f"At equal CPU time the baseline ({summary.baseline_name}) came to"
            f" {summary.baseline.best[-1]:.2f}, this campaign to {summary.campaign.best[-1]:.2f}."
        )
    lines += [f"{sentence[0].upper()}{sentence[1:]}." for sentence in summary.comparison]
    failed = sum(kinds["failed"] for kinds in summary.numbers.values())
    if failed:
        lines.append(f"{failed} questions failed and were charged.")
    lines += [f"{sentence}." for sentence in advice(summary)]
    measured = sum(candidate.basis == "measured" for candidate in summary.candidates)
    if measured:
        lines.append(f"{measured} candidates have been measured, which decides their places.")
    lines.append(
        f"{'Other values' if measured else 'Values'} come from models of ion transport, not from"
        " measurements: they rank candidates for a closer look."
    )
    return "<p>" + text(" ".join(lines)) + "</p>"


def facts(summary: Summary) -> str:
    """Four figures to begin with."""
    unit = summary.target.unit
    asked = sum(kinds["observed"] + kinds["failed"] for kinds in summary.numbers.values())
    budget = summary.config.get("budget")
    found = [
        ("best calculated proposal", _number(summary.campaign.best), unit),
        (
            f"{summary.baseline_name}, equal CPU time",
            _number(summary.baseline.best if summary.baseline else []),
            unit,
        ),
        ("spent", f"{summary.spent:.4g}", f"of {budget:g} CPU s" if budget else "CPU s"),
        ("questions answered or failed", str(asked), f"at {len(summary.oracles)} fidelities"),
    ]
    return "".join(
        f"<div><dt>{text(name)}</dt><dd><b>{text(value)}</b> {text(what)}</dd></div>"
        for name, value, what in found
    )


def cards(portraits: Sequence[Portrait]) -> str:
    """What a chemist asks of the best candidates, with the answers."""
    if not portraits:
        return "<p>No candidate is new, near enough to the hull and answered about yet.</p>"
    return '<div class="cards">' + "".join(_card(each) for each in portraits) + "</div>"


def _card(portrait: Portrait) -> str:
    c = portrait.candidate
    name, formula = text(c.crystal.hash), _SUBSCRIPT.sub(r"<sub>\1</sub>", text(c.crystal.formula))
    rows = "".join(f"<dt>{text(q)}</dt><dd>{text(a)}</dd>" for q, a in portrait.answers)
    label = text(f"Show the structure of {c.crystal.formula}, rank {c.rank}")
    button = f'<button type="button" data-id="{name}" aria-label="{label}">show structure</button>'
    head = f"<h3><span>{c.rank}. {formula}</span> {button if c.cif else ''}</h3>"
    return f"<article>{head}<dl>{rows}</dl></article>"


def candidate_rows(
    summary: Summary, windows: Mapping[str, Window], shown: set[str]
) -> tuple[str, str]:
    """Head and body of the candidates' table.

    Args:
      summary: the campaign.
      windows: by crystal hash.
      shown: hashes of the crystals that the viewer knows.
    """
    columns = [("rank", "n"), ("formula", ""), ("structure", "screen"), ("group", "n")]
    columns += [("value", "n"), ("basis", ""), ("standing", ""), ("hull, eV/atom", "n")]
    columns += [("volume", "n"), ("imaginary modes", "n")]
    columns += [(oracle.name, "n") for oracle in summary.oracles]
    columns += [("window, V", "n"), ("round", "n"), ("tried", "n"), ("measured", ""), ("id", "")]
    head = "".join(f'<th scope="col"{_class(kind)}>{text(name)}</th>' for name, kind in columns)
    body = "".join(
        _row(c, summary, windows, c.crystal.hash in shown) for c in summary.candidates[:_ROWS]
    )
    if not body:
        said = "No oracle has answered for a candidate yet."
        body = f'<tr><td colspan="{len(columns)}">{said}</td></tr>'
    return f"<tr>{head}</tr>", body


def _row(candidate: Candidate, summary: Summary, windows: Mapping[str, Window], shown: bool) -> str:
    crystal = candidate.crystal
    name = text(crystal.hash)
    label = text(f"Show {crystal.formula}, rank {candidate.rank}")
    button = f'<button type="button" data-id="{name}" aria-label="{label}">show</button>'
    seen = candidate.observed[candidate.fidelity]
    window = windows.get(crystal.hash)
    told = "; ".join(f"{what} {value}" for what, value in candidate.measured.items())
    cells: list[tuple[str, str]] = [
        (button if shown else "none", "screen"),
        (text(candidate.groups), "n"),
        (text(value_of(candidate)), "n"),
        (text(candidate.basis), ""),
        *_existence(candidate),
    ]
    cells += [(text(_answer(candidate, m)), "n") for m in range(len(summary.oracles))]
    cells += [
        (text("not asked" if window is None else window), "n"),
        (text(seen.query.round), "n"),
        (text(seen.detail.get("tried", "given" if crystal.structure else "unknown")), "n"),
        (text(told or "not yet"), ""),
        (f"{text(crystal.pool_name or '')} <code>{text(crystal.hash[:8])}</code>", ""),
    ]
    rest = "".join(f"<td{_class(kind)}>{cell}</td>" for cell, kind in cells)
    return (
        f'<tr data-id="{name}"><td class="n">{candidate.rank}</td>'
        f'<th scope="row">{text(crystal.formula)}</th>{rest}</tr>'
    )


def _existence(candidate: Candidate) -> list[tuple[str, str]]:
    """Standing, hull distance, change of volume on relaxation, imaginary modes."""
    found = candidate.relaxation
    standing = f"known as {candidate.known_as}" if candidate.known_as else candidate.standing
    distance = found.get("hull_distance_ev_per_atom")
    bound = "" if found.get("hull_bounded", True) else "at least "
    hull = "not known" if distance is None else f"{bound}{distance:.3f}"
    not_relaxed = f"not relaxed: {candidate.unrelaxed}" if candidate.unrelaxed else "not relaxed"
    change = f"{found['volume_change']:+.0%}" if found else not_relaxed
    answer = candidate.vibrations
    modes = "not asked" if answer is None else "failed"
    if answer is not None and answer.value is not None:
        modes = f"{answer.value:g}"
    return [(text(standing), ""), *((text(x), "n") for x in (hull, change, modes))]


def _answer(candidate: Candidate, fidelity: int) -> str:
    answer = candidate.observed.get(fidelity)
    if answer is None:
        return "not asked"
    if answer.value is None:
        return "failed"
    spread = "" if answer.spread is None else f" ± {answer.spread:.2g}"
    beyond = beyond_range(answer)
    return f"{answer.value:.3g}{spread}" + (f" ({beyond})" if beyond else "")


def worth_table(summary: Summary) -> str:
    """What each fidelity costs, how often it was asked, and how far it agrees with the target."""
    head = ["fidelity", "unit", "cost", "answered", "failed", "share of cost"]
    head += ["rank agreement", "crystals"]
    spent = {o.name: sum(mix[o.name] for mix in summary.spending) for o in summary.oracles}
    whole = sum(spent.values()) or 1.0
    rows: list[list[Any]] = []
    for m, oracle in enumerate(summary.oracles):
        kinds = summary.numbers[oracle.name]
        rho, pairs = rank_agreement(summary, m)
        agreement = "too few" if rho is None else f"{rho:+.2f}"
        if m == len(summary.oracles) - 1:
            agreement, pairs = "the target itself", kinds["observed"]
        rows.append(
            [
                oracle.name,
                oracle.unit,
                f"{oracle.cost:g}",
                kinds["observed"],
                kinds["failed"],
                f"{spent[oracle.name] / whole:.0%}",
                agreement,
                pairs,
            ]
        )
    return as_table("Fidelities: CPU s of one evaluation, and what was asked", head, rows)


def motion_words(summary: Summary) -> str:
    """What molecular dynamics showed, or how to let them show something."""
    shown = motions(summary)
    parts = []
    if shown:
        parts.append(
            '<p class="lead">Molecular dynamics of all atoms by the potential named. Ten hops make'
            " a coefficient; fewer bound it. CHGNet is too soft away from minima, so that ions come"
            " out rather too fast, and a perfect crystal has no defects to move by. Densities of"
            f" {text(summary.ion_name)} lie in figures/ as cube files where their runs are"
            " kept.</p>"
        )
        table = as_table("Molecular dynamics of the best candidates", *motion_table(shown))
        parts.append(
            '<div class="scroll" tabindex="0" role="region" aria-label="Molecular dynamics">'
            f"{table}</div>"
        )
    failed = [
        f"{c.crystal.formula}: {c.dynamics.detail.get('status', c.dynamics.kind)}"
        for c in summary.candidates
        if c.dynamics is not None and c.dynamics.value is None
    ]
    if failed:
        parts.append(f"<p>{text('; '.join(failed))}</p>")
    each, command = dynamics_command(summary, ".")
    if command:
        what = "Whole runs" if shown else "No finalist has been simulated. Whole runs"
        parts.append(
            f"<p>{what} take about, in CPU time: {text(each)}. In the folder of this page:</p>"
            f'<pre tabindex="0" role="region" aria-label="Command">{text(command)}</pre>'
        )
    elif not parts:
        parts.append(
            "<p>No candidate has been simulated: <code>mfal score --oracles mfal.oracles:dynamics"
            " cifs/FILE.cif --files shown</code> takes minutes.</p>"
        )
    return "".join(parts)


def numbers(figure: Figure) -> str:
    """A figure's numbers as a table, and as a CSV to keep."""
    link = (
        f'<a download="{text(figure.name)}.csv" href="{_data_address(csv_text(figure))}">'
        f"{text(figure.name)}.csv</a>"
    )
    if not figure.rows:
        return ""
    shown = figure.rows[:_NUMBERS]
    rest = len(figure.rows) - len(shown)
    more = f" The first {len(shown)} of {len(figure.rows)} rows." if rest else ""
    rows = [[f"{x:.4g}" if isinstance(x, float) else x for x in row] for row in shown]
    table = as_table(f"{figure.title}.{more}", list(figure.header), rows)
    return (
        f'<details><summary>Numbers</summary><p>{link}</p><div class="scroll" tabindex="0"'
        f' role="region" aria-label="{text(figure.title)}, numbers">{table}</div></details>'
    )


def _data_address(content: str) -> str:
    """A text as an address that a page can hold."""
    import base64

    coded = base64.b64encode(content.encode("utf-8")).decode("ascii")
    return f"data:text/csv;charset=utf-8;base64,{coded}"


def periodic_table(summary: Summary) -> str:
    """The periodic table with counts and best values; the f block in rows of its own."""
    tiles = composition_map(summary)
    most = max([tile.candidates for tile in tiles] + [1])
    cells = []
    for tile in tiles:
        style = f"grid-row:{tile.row};grid-column:{tile.column}"
        if not tile.candidates or tile.best is None:
            cells.append(
                f'<div class="unused" style="{style}" aria-hidden="true">{tile.symbol}</div>'
            )
            continue
        style += f";background:rgba(11,83,148,{0.08 + 0.3 * tile.candidates / most:.2f})"
        best = f"best {tile.best:.2f} {summary.target.unit}"
        said = f"{tile.symbol}: {tile.candidates} candidates, {best}"
        cells.append(
            f'<div role="img" aria-label="{text(said)}" title="{text(said)}" style="{style}">'
            f"<b>{tile.symbol}</b><span>{tile.candidates}</span><span>{tile.best:.1f}</span></div>"
        )
    return f'<div class="periodic">{"".join(cells)}</div>'


def provenance(summary: Summary) -> str:
    """Oracles with their versions, and the configuration."""
    rows = [
        [oracle.name, oracle.version, oracle.unit, f"{oracle.cost:g}"]
        + [summary.numbers[oracle.name][kind] for kind in ("observed", "failed", "abandoned")]
        for oracle in summary.oracles
    ]
    head = ["oracle", "version", "unit", "cost", "answered", "failed", "given up"]
    table = as_table("Oracles, with the CPU s of one evaluation", head, rows)
    config = json.dumps(summary.config, indent=1, ensure_ascii=False)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Oracles">{table}</div>'
        f"<details><summary>Configuration</summary><pre>{text(config)}</pre></details>"
        '<p class="paper">The whole configuration is in config.toml, all numbers of the figures in'
        " figures/.</p>"
    )


def value_of(candidate: Candidate) -> str:
    """Value and spread."""
    std = "" if candidate.std is None else f" ± {candidate.std:.2f}"
    return f"{candidate.shown}{std}"


def as_table(caption: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table with a caption; the first cell of each row is its heading."""
    heads = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{text(row[0])}</th>'
        + "".join(f"<td>{text(_said(cell))}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f"<table><caption>{text(caption)}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _said(cell: Any) -> Any:
    return "none" if cell is None or cell == "" else cell


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _number(values: Sequence[float]) -> str:
    return f"{values[-1]:.2f}" if values else "none"
