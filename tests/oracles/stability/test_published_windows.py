import re
from pathlib import Path

import pytest

from experiments.stability_windows import published_windows
from mfal.errors import MfalError
from mfal.oracles.stability.thermochemistry import embedded_energies
from mfal.oracles.stability.window import stability_window

DOCUMENT = Path(__file__).parents[3] / "docs" / "stability.md"


def documented() -> dict[tuple[str, str], str]:
    """(electrolyte, source) to the cell of the documentation's table."""
    lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")]
    start = next(i for i, line in enumerate(lines) if "electrolyte" in line)
    split = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines[start:]]
    head, body = split[0], split[2:]
    return {
        (row[0], name): cell for row in body for name, cell in zip(head[1:], row[1:], strict=True)
    }


def limit(formula: str, energies, which: str) -> str:
    try:
        value = getattr(stability_window(formula, energies, limits=(which,)), which)
    except MfalError:
        return "unavailable"
    return f"{value:.2f}"


@pytest.mark.parametrize("energies", embedded_energies(), ids=lambda energies: energies.source)
def test_documented_table_is_what_the_embedded_energies_give(energies):
    cells = documented()
    for window in published_windows():
        low, high = (limit(window.formula, energies, w) for w in ("reduction", "oxidation"))
        ours = "unavailable" if low == high == "unavailable" else f"{low} - {high}"
        assert re.sub(r" \(!\)", "", cells[window.name, energies.source]) == ours, window.name
        assert cells[window.name, "published"] == f"{window.reduction:.2f} - {window.oxidation:.2f}"


def test_most_bounded_limits_are_within_a_third_of_a_volt():
    errors = [
        float(ours) - getattr(window, which)
        for energies in embedded_energies()
        for window in published_windows()
        for which in ("reduction", "oxidation")
        if (ours := limit(window.formula, energies, which)) != "unavailable"
    ]
    assert len(errors) >= 25
    assert sum(abs(error) <= 0.3 for error in errors) >= 0.9 * len(errors)
