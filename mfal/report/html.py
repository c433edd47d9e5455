"""The report: one page that holds everything it needs and opens without a network.

All text from the campaign is escaped; data for the page's script is JSON in which no tag can end.
"""

import base64
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import mfal
from mfal.errors import MfalError
from mfal.report.advice import advice
from mfal.report.figures import all_figures
from mfal.report.motion import motion_figures, motions, write_motion_files
from mfal.report.page_parts import (
    candidate_rows,
    cards,
    facts,
    motion_words,
    numbers,
    periodic_table,
    provenance,
    text,
    words,
    worth_table,
)
from mfal.report.paths import EnergyMap, energy_maps, page_map, write_map
from mfal.report.plain import summary_to_dict
from mfal.report.plot import Figure, write_figure
from mfal.report.portraits import portraits, portraits_to_plain
from mfal.report.questions import questions_table
from mfal.report.summary import Summary
from mfal.report.windows import Window, windows_of

__all__ = ["render_page", "write_page"]

PAGE_NAME = "report.html"
JSON_NAME = "report.json"
FIGURE_FOLDER = "figures"
MAIN_FIGURE = "best_against_cost"
"""Name of the figure that also lies beside the page."""
_STRUCTURES = 40
_MAPS = 5
"""Best candidates whose site energies are shown."""
_PORTRAITS = 3
"""Best candidates that are described in words."""


def write_page(summary: Summary, folder: Path) -> list[Path]:
    """Writes the page, the same as JSON, and its figures as PNG and CSV; returns the paths.

    Maps of the best candidates' site energies go along as Gaussian cube files.
    """
    windows = windows_of(summary) if summary.ion == "Li" else {}  # they are against lithium metal
    best = [c for c in summary.candidates if c.cif][:_MAPS]
    maps = energy_maps(best, summary.ion)
    figures = all_figures(summary, windows, maps)
    pictures: dict[str, bytes] = {}
    written: list[Path] = []
    try:
        for figure in figures.values():
            picture, table = write_figure(figure, folder / FIGURE_FOLDER)
            if picture is not None:
                pictures[figure.name] = picture.read_bytes()
                written.append(picture)
            written.append(table)
        for candidate in summary.candidates:
            found = maps.get(candidate.crystal.hash)
            if isinstance(found, EnergyMap):
                name = candidate.file_name.removesuffix(".cif") + "_site_energy.cube"
                written.append(write_map(found, folder / FIGURE_FOLDER / name))
        written += write_motion_files(motions(summary), folder / FIGURE_FOLDER)
        if MAIN_FIGURE in pictures:
            beside = folder / f"{MAIN_FIGURE}.png"
            beside.write_bytes(pictures[MAIN_FIGURE])
            written.insert(0, beside)
        for name, content in (
            (JSON_NAME, _report_json(summary, windows, figures, maps)),
            (PAGE_NAME, render_page(summary, figures, pictures, windows, maps)),
        ):
            (folder / name).write_text(content, encoding="utf-8")
            written.insert(0, folder / name)
    except OSError as error:
        raise MfalError(
            f"{error.filename or folder}: {error.strerror}",
            "make the folder writable or free some space",
        ) from None
    return written


def render_page(
    summary: Summary,
    figures: Mapping[str, Figure],
    pictures: Mapping[str, bytes],
    windows: Mapping[str, Window],
    maps: Mapping[str, EnergyMap | str],
) -> str:
    """The page as text.

    Args:
      summary: the campaign.
      figures: by name, as from `all_figures`.
      pictures: their PNG files, which are inlined; a figure without one says so.
      windows: stability windows by crystal hash.
      maps: site energies by crystal hash, or why there are none.
    """
    structures = _structures(summary, maps)
    known = portraits(summary, windows, maps, _PORTRAITS)
    head, rows = candidate_rows(summary, windows, set(structures))
    target = summary.target

    def show(*names: str) -> str:
        return "".join(_figure(figures[name], pictures.get(name)) for name in names)

    ion = text(summary.ion_name)
    against = (
        "The window against lithium metal is the campaign's, or that of the formula's most stable"
        " phase where the embedded energies bound it."
        if summary.ion == "Li"
        else f"Windows are against lithium metal, and not given for {ion}."
    )
    moving = [figure.name for figure in motion_figures(motions(summary))]
    cheap = [name for name in figures if name.startswith("parity_")]
    best_five = "top_against_cost"
    state = "finished" if summary.finished else "still under way"
    worth = "".join(f"<li>{text(sentence)}.</li>" for sentence in summary.fidelities)
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
<h1>{ion.capitalize()} conductor campaign</h1>
<p class="lead">{state}; report by mfal {text(mfal.__version__)}; values are {text(target.name)} in
{text(target.unit)}</p>
<nav aria-label="Sections"><a href="#best">Best candidates</a> <a href="#structure">Structure</a>
<a href="#motion">Motion</a> <a href="#candidates">All candidates</a> <a href="#search">Search</a>
<a href="#worth">Fidelities</a> <a href="#trust">Trust</a>
<a href="#chemistry">Chemistry</a> <a href="#provenance">Provenance</a></nav>
</header>
<main>
<section id="best" aria-labelledby="h-best">
<h2 id="h-best">Best candidates</h2>
{cards(known)}
</section>
<section id="structure" aria-labelledby="h-structure">
<h2 id="h-structure">Structure and {ion} paths</h2>
<p id="viewer-label" aria-live="polite"></p>
<div id="viewer" data-ion="{text(summary.ion)}" data-name="{ion}" role="img"
 aria-label="3-D view of the chosen candidate's unit cell"></div>
<div class="controls" role="group" aria-label="View">
<button type="button" data-turn="y-">turn left</button>
<button type="button" data-turn="y+">turn right</button>
<button type="button" data-turn="x-">turn up</button>
<button type="button" data-turn="x+">turn down</button>
<button type="button" data-zoom="1.25">nearer</button>
<button type="button" data-zoom="0.8">farther</button>
<label><input type="checkbox" id="names"> element symbols</label>
<label><input type="checkbox" id="surface" checked> paths</label>
<label for="level">surface at <output id="level-text" for="level"></output></label>
<input type="range" id="level" min="0.02" max="1" step="0.02" value="0.5"
 aria-label="energy of the surface above the lowest site, eV">
</div>
<p id="legend"></p>
<p id="map-note"></p>
<p class="lead">One of several arrangements of atoms that fit the composition, space group and
lattice. The surface encloses the places where the bond-valence site energy of {ion} lies below
the chosen level; at the level first shown, paths just close in all three dimensions if they do at
all. Drag to turn, scroll or pinch to zoom. CIFs lie in cifs/, maps as cube files in figures/.</p>
<div class="figures">{show("ion_paths")}</div>
</section>
<section id="motion" aria-labelledby="h-motion">
<h2 id="h-motion">Does {ion} move?</h2>
{motion_words(summary)}
<div class="figures">{show(*moving)}</div>
</section>
<section id="candidates" aria-labelledby="h-candidates">
<h2 id="h-candidates">All candidates</h2>
<p class="lead">The value is the oracle's mean ± spread over arrangements of atoms where it was
asked, else the proxy's expectation ± its standard deviation. “Tried” counts arrangements. In
brackets stands what an oracle said where it lies beyond the range that counts. {against}
The whole list is in candidates.csv.</p>
<div class="scroll tall" tabindex="0" role="region" aria-label="Candidates">
<table><caption>Candidates ranked by {text(target.name)} in {text(target.unit)}</caption>
<thead>{head}</thead><tbody>{rows}</tbody></table></div>
</section>
<section id="search" aria-labelledby="h-search">
<h2 id="h-search">How the search went</h2>
<dl class="facts">{facts(summary)}</dl>
{words(summary)}
<div class="figures">{show(MAIN_FIGURE, best_five, "fidelity_mix")}</div>
</section>
<section id="worth" aria-labelledby="h-worth">
<h2 id="h-worth">What each fidelity is worth</h2>
<div class="figures">{show("fidelity_worth")}
<div><ul>{worth or "<li>The proxy's last word comes at the end.</li>"}</ul>
<p class="lead">Rank agreement is Spearman's correlation with the target oracle over the crystals
that both answered: +1 where they agree fully on what is better, 0 where the one says nothing of the
other.</p></div></div>
<div class="scroll" tabindex="0" role="region" aria-label="Fidelities">{worth_table(summary)}</div>
<div class="scroll" tabindex="0" role="region" aria-label="Questions">
{questions_table(summary)}</div>
</section>
<section id="trust" aria-labelledby="h-trust">
<h2 id="h-trust">How far the proxy can be trusted</h2>
<div class="figures">{show("parity", "calibration", *cheap)}</div>
</section>
<section id="chemistry" aria-labelledby="h-chemistry">
<h2 id="h-chemistry">Chemistry</h2>
<h3>Elements of the candidates</h3>
<p class="lead">{text(figures["elements"].text)}</p>
<div class="scroll" tabindex="0" role="region" aria-label="Periodic table">
{periodic_table(summary)}</div>
{numbers(figures["elements"])}
<div class="figures">{show("stability_front")}</div>
</section>
<section id="provenance" aria-labelledby="h-provenance">
<h2 id="h-provenance">Provenance</h2>
{provenance(summary)}
</section>
</main>
<footer>3-D view by 3Dmol.js (N. Rego and D. Koes, Bioinformatics 31, 1322 (2015); BSD 3-clause
licence). Site energies after Chen, Wong and Adams, Acta Cryst. B 75, 18 (2019).</footer>
<script type="application/json" id="structures">{_json(structures)}</script>
<script>{_asset("3Dmol-min.js")}</script>
<script>{_asset("page.js")}</script>
</body>
</html>
"""


def _structures(summary: Summary, maps: Mapping[str, EnergyMap | str]) -> dict[str, Any]:
    """What the viewer knows, best first."""
    found: dict[str, Any] = {}
    for candidate in [c for c in summary.candidates if c.cif][:_STRUCTURES]:
        crystal = candidate.crystal
        shown = maps.get(crystal.hash, f"Paths are shown for the best {_MAPS} candidates only.")
        found[crystal.hash] = {
            "cif": candidate.cif,
            "label": f"{candidate.rank}. {crystal.formula}, space group {crystal.space_group}",
            "elements": list(crystal.composition),
            "note": shown if isinstance(shown, str) else _note(shown),
            "map": None if isinstance(shown, str) else page_map(shown),
        }
    return found


def _note(shown: EnergyMap) -> str:
    ends = [
        f"{threshold:.2f} eV in {dimension}-D" if threshold < 1e3 else f"none in {dimension}-D"
        for dimension, threshold in enumerate(shown.threshold, 1)
    ]
    spacing = shown.structure.lattice.abc[0] / shown.energy.shape[0]
    return (
        f"Paths close above the lowest site at {', '.join(ends)} on this grid of {spacing:.2f} Å;"
        " the oracles' own values are in the table."
    )


def _figure(figure: Figure, picture: bytes | None) -> str:
    if picture is None:
        image = f"<p>Nothing to draw yet: {text(figure.title.lower())}.</p>"
    else:
        data = base64.b64encode(picture).decode("ascii")
        said = text(f"{figure.title}: {figure.text}")
        image = f'<img alt="{said}" src="data:image/png;base64,{data}">'
    return (
        f"<figure><h3>{text(figure.title)}</h3>{image}<figcaption>{text(figure.text)}</figcaption>"
        f"{numbers(figure)}</figure>"
    )


def _report_json(
    summary: Summary,
    windows: Mapping[str, Window],
    figures: Mapping[str, Figure],
    maps: Mapping[str, EnergyMap | str],
) -> str:
    """Everything that the page shows, for machines; NaN becomes null."""
    data = summary_to_dict(summary)
    data["advice"] = advice(summary)
    data["portraits"] = portraits_to_plain(portraits(summary, windows, maps, _PORTRAITS))
    data["windows"] = {name: window._asdict() for name, window in windows.items()}
    data["figures"] = {
        figure.name: {
            "title": figure.title,
            "text": figure.text,
            "columns": list(figure.header),
            "rows": [[None if cell != cell else cell for cell in row] for row in figure.rows],
        }
        for figure in figures.values()
    }
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _asset(name: str) -> str:
    return (files("mfal.report") / "assets" / name).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    """JSON that can't end the script element that holds it."""
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e")
