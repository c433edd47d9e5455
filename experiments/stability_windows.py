"""How well do the embedded energies reproduce published stability windows?

    python experiments/stability_windows.py [--out FOLDER] [--entries FILE.json]

For every electrolyte with a published window, each embedded source of energies is asked for the
reduction and the oxidation limit; what a source can't bound is `unavailable`, and the JSON says
what it lacks. The published windows were computed with the Materials Project's energies of about
2015, so a source that differs by up to 0.3 V reproduces them: the oxidation limits of the database
itself have moved by as much since. Writes the table as JSON and Markdown and a plot.
"""

import argparse
import csv
import json
import platform
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pymatgen.core

import mfal
from mfal.errors import MfalError
from mfal.oracles.stability.coverage import Limit
from mfal.oracles.stability.energies import Energies, energies_from_json
from mfal.oracles.stability.thermochemistry import embedded_energies
from mfal.oracles.stability.window import stability_window

LIMITS: tuple[Limit, ...] = ("reduction", "oxidation")
CLOSE = 0.3
"""V within which a limit counts as reproduced."""
TABLE = Path(__file__).parent / "tables" / "published_windows.csv"


class PublishedWindow(NamedTuple):
    """A window from the literature: computed with the Materials Project's energies of about 2015.

    Zhu, He and Mo, ACS Appl. Mater. Interfaces 7, 23685 (2015), doi:10.1021/acsami.5b07517, and J.
    Mater. Chem. A 4, 3253 (2016), doi:10.1039/C5TA08574H; Richards et al., Chem. Mater. 28, 266
    (2016), doi:10.1021/acs.chemmater.5b04082.
    """

    name: str
    formula: str
    reduction: float
    """V against lithium."""
    oxidation: float
    """V against lithium."""


def published_windows() -> tuple[PublishedWindow, ...]:
    """Windows of known electrolytes from the literature, to compare with."""
    with TABLE.open(encoding="utf8") as file:
        return tuple(
            PublishedWindow(
                row["name"], row["formula"], float(row["reduction"]), float(row["oxidation"])
            )
            for row in csv.DictReader(file)
        )


def ask(formula: str, energies: Energies, limit: Limit) -> dict[str, Any]:
    """One limit by one source, or why there is none."""
    try:
        window = stability_window(formula, energies, limits=(limit,))
    except MfalError as error:
        return {"value": None, "lacks": error.what}
    reaction = window.reduced_to if limit == "reduction" else window.oxidised_to
    return {
        "value": float(getattr(window, limit)),
        "reaction": reaction,
        "hull_distance": round(window.hull_distance, 4),
    }


def compare(published: PublishedWindow, sources: list[Energies]) -> dict[str, Any]:
    """Both limits by all sources beside the published ones."""
    return {
        **published._asdict(),
        "ours": {
            energies.source: {limit: ask(published.formula, energies, limit) for limit in LIMITS}
            for energies in sources
        },
    }


def cell(answer: dict[str, Any], published: float) -> str:
    """A limit for the table, marked where it is further than CLOSE from the published one."""
    if answer["value"] is None:
        return "unavailable"
    far = abs(answer["value"] - published) > CLOSE
    return f"{answer['value']:.2f}{' (!)' if far else ''}"


def table(rows: list[dict[str, Any]], names: list[str]) -> list[list[str]]:
    """Header and lines, as text."""
    lines = [["electrolyte", "published", *names]]
    for row in rows:
        line = [row["name"], f"{row['reduction']:.2f} - {row['oxidation']:.2f}"]
        for name in names:
            low, high = (cell(row["ours"][name][limit], row[limit]) for limit in LIMITS)
            neither = low == high == "unavailable"
            line.append("unavailable" if neither else f"{low} - {high}")
        lines.append(line)
    return lines


def summary(rows: list[dict[str, Any]], names: list[str]) -> list[str]:
    """For each source: how many limits it gives, and how far off."""
    lines = []
    for name in names:
        errors = [
            row["ours"][name][limit]["value"] - row[limit]
            for row in rows
            for limit in LIMITS
            if row["ours"][name][limit]["value"] is not None
        ]
        close = sum(abs(error) <= CLOSE for error in errors)
        line = f"{name}: {len(errors)} of {2 * len(rows)} limits bounded"
        if errors:
            mean = sum(map(abs, errors)) / len(errors)
            line += f", {close} of them within {CLOSE} V, mean absolute difference {mean:.2f} V"
        lines.append(line)
    return lines


def plot(rows: list[dict[str, Any]], names: list[str], path: Path) -> None:
    """Published windows as bars, ours as marks."""
    figure, axes = plt.subplots(figsize=(8, 0.38 * len(rows) + 1.5))
    for height, row in enumerate(rows):
        width = row["oxidation"] - row["reduction"]
        axes.barh(height, width, left=row["reduction"], color="0.85", height=0.7)
    for name, mark, shift in zip(names, "o^sDv", (-0.2, 0.0, 0.2, 0.1, -0.1), strict=False):
        points = [
            (row["ours"][name][limit]["value"], height + shift)
            for height, row in enumerate(rows)
            for limit in LIMITS
            if row["ours"][name][limit]["value"] is not None
        ]
        if points:
            axes.plot(*zip(*points, strict=True), mark, markersize=5, label=name)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("V against Li/Li+ (grey: published)")
    axes.legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/stability_windows"))
    parser.add_argument("--entries", type=Path, help="one more source, a JSON file of entries")
    options = parser.parse_args()
    sources = list(embedded_energies())
    if options.entries:
        sources.append(energies_from_json(options.entries, exhaustive=True))
    names = [energies.source for energies in sources]
    rows = [compare(published, sources) for published in published_windows()]
    lines = table(rows, names)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)))
    print()
    print("\n".join(summary(rows, names)))
    options.out.mkdir(parents=True, exist_ok=True)
    content = {
        "versions": {
            "mfal": mfal.__version__,
            "pymatgen": pymatgen.core.__version__,
            "python": platform.python_version(),
        },
        "seed": None,
        "windows": rows,
    }
    (options.out / "windows.json").write_text(json.dumps(content, indent=1) + "\n")
    head, *body = lines
    markdown = ["| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *body)]
    (options.out / "windows.md").write_text(
        "\n".join([*markdown, "", *(f"- {line}" for line in summary(rows, names)), ""])
    )
    plot(rows, names, options.out / "windows.png")
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
