"""What a chemist asks of a candidate, each question with its answer in words.

Nothing is computed here but sums: what the ledger and the report know is said in sentences.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mfal.campaign.standing import COUNTING
from mfal.errors import MfalError
from mfal.oracles.dynamics.shown import run_words
from mfal.report.candidate import Candidate, beyond_range
from mfal.report.export import CIF_FOLDER
from mfal.report.paths import EnergyMap
from mfal.report.summary import Summary
from mfal.report.windows import Window

__all__ = ["Portrait", "becomes", "portraits", "portraits_to_plain"]

_MANY = 0.2
"""Relative change of volume on relaxation above which a candidate isn't what was proposed."""
_NAMED = 3
"""Known crystals of the same formula that are named."""


class Portrait(NamedTuple):
    """A candidate in words."""

    candidate: Candidate
    answers: tuple[tuple[str, str], ...]
    """(question, answer in whole sentences)."""


def portraits(
    summary: Summary,
    windows: Mapping[str, Window],
    maps: Mapping[str, EnergyMap | str],
    number: int,
) -> list[Portrait]:
    """The first candidates that count or were measured, in words.

    Args:
      summary: the campaign.
      windows: stability windows by crystal hash.
      maps: site energies by crystal hash, or why there are none.
      number: most of them.
    """
    first = [c for c in summary.candidates if c.standing in COUNTING or c.basis == "measured"]
    return [
        Portrait(
            c,
            (
                ("What is it?", _what(c)),
                ("Does it exist?", _exists(c)),
                ("What would it become?", _falls(c)),
                ("Is it new?", _new(c, summary)),
                (f"Does {summary.ion_name} move?", _moves(c, summary, maps.get(c.crystal.hash))),
                ("Against electrodes?", _window(windows.get(c.crystal.hash))),
                ("How sure is that?", _sure(c, summary)),
                ("What next?", _next(c, summary)),
            ),
        )
        for c in first[:number]
    ]


def becomes(formula: str, products: Mapping[str, float]) -> str:
    """The decomposition as "Li8SiO6 → Li4SiO4 + 2 Li2O"; "" where there is none.

    Args:
      formula: of the compound.
      products: share of its atoms that each product takes.

    Raises:
      MfalError: a formula that can't be read.
    """
    right = _amounts(formula, products)
    return f"{formula} → {' + '.join(_count(n, name) for name, n in right)}" if right else ""


def _amounts(formula: str, products: Mapping[str, float]) -> list[tuple[str, float]]:
    """Formula units of each product from one of the compound."""
    from mfal.crystals.formulas import formula_amounts

    atoms = sum(formula_amounts(formula).values())
    return [
        (name, share * atoms / sum(formula_amounts(name).values()))
        for name, share in products.items()
        if share > 1e-6
    ]


def _count(number: float, name: str) -> str:
    text = f"{number:.2f}".rstrip("0").rstrip(".")
    return name if text == "1" else f"{text} {name}"


def _what(c: Candidate) -> str:
    cell = c.relaxation.get("cell_after") or c.crystal.lattice
    edges = ", ".join(f"{x:.2f}" for x in cell[:3])
    angles = ", ".join(f"{x:.0f}" for x in cell[3:])
    atoms = f"{sum(c.crystal.composition.values()):g} atoms" if c.crystal.composition else "atoms"
    group = f"in space group {c.crystal.space_group}"
    if c.group_of_atoms not in (0, c.crystal.space_group):
        group += f", of which the atoms have come to rest in {c.group_of_atoms}"
    origin, _, name = c.crystal.source.partition(":")
    came = {
        "sampled": "Drawn by the sampler",
        "random": "Drawn at random",
        "exchanged": f"Made by exchanging ions in {name.removeprefix('known:')}",
        "pool": f"{c.crystal.pool_name}, of the pool",
    }.get(origin, f"From {c.crystal.source}")
    return f"{came}, {group}; {atoms} in a cell of {edges} Å and {angles}°."


def _exists(c: Candidate) -> str:
    found = c.relaxation
    if not found:
        return f"Not known: its atoms were not relaxed{f' ({c.unrelaxed})' if c.unrelaxed else ''}."
    distance = found.get("hull_distance_ev_per_atom")
    if distance is None:
        said = ["Its distance from the hull of known phases is not known."]
    elif found.get("hull_bounded", True):
        side = "below" if distance < 0 else "above"
        said = [f"It lies {abs(distance):.3f} eV per atom {side} the hull of known phases."]
    else:
        lacking = "; ".join(found.get("hull_lacking", ())) or "phases"
        said = [
            f"Its distance from the hull is at least {distance:.3f} eV per atom, as the table of"
            f" known phases lacks {lacking}."
        ]
    modes = c.vibrations
    if modes is None:
        said.append("Its vibrations were not asked for.")
    elif modes.value is None:
        said.append("Its vibrations could not be found.")
    elif modes.value == 0:
        said.append("No mode of vibration is imaginary: it is at a minimum.")
    else:
        lowest = (modes.detail.get("provenance") or {}).get("lowest_thz")
        deep = "" if lowest is None else f" (down to {abs(lowest):.1f}i THz)"
        said.append(
            f"{modes.value:g} modes are imaginary{deep}: it is a saddle, and would distort into"
            " something lower."
        )
    change = found.get("volume_change", 0.0)
    if not found.get("survived", True) or abs(change) > _MANY:
        other = "" if found.get("survived", True) else " and made another structure of it"
        said.append(f"Relaxing changed its volume by {change:+.0%}{other}.")
    return " ".join(said)


def _falls(c: Candidate) -> str:
    products = c.relaxation.get("decomposition") or {}
    try:
        written = becomes(c.crystal.formula, products)
    except MfalError:
        written = ""
    if not written:
        return "Not known."
    if set(products) == {c.crystal.formula}:
        return f"The most stable known form of {c.crystal.formula}."
    return f"{written}."


def _new(c: Candidate, summary: Summary) -> str:
    if c.known_as:
        return f"No: it is {c.known_as}."
    from mfal.data.novelty import known_crystals

    pool = c.crystal.pool_name is not None
    try:
        known = known_crystals(tuple(summary.config.get("known", ())), own=not pool)
    except MfalError:  # a table of the user's that has gone since
        return "It was none of the known crystals that the campaign compared it with."
    forms = [known.tables[t].ids[row] for t, row in known.rows.get(c.crystal.formula, ())]
    number = sum(len(table) for table in known.tables)
    if not number:
        return "It is the pool's; it was compared with no table of known crystals."
    said = f"It is none of the {number:,} known crystals that it was compared with."
    if forms:
        names = ", ".join(forms[:_NAMED]) + (", …" if len(forms) > _NAMED else "")
        return f"{said} The formula is known in another structure ({names})."
    return f"{said} None of them has its formula."


def _moves(c: Candidate, summary: Summary, shown: EnergyMap | str | None) -> str:
    said = []
    for m in sorted(c.observed, reverse=True):
        answer, oracle = c.observed[m], summary.oracles[m]
        if answer.value is None:
            continue
        spread = "" if answer.spread is None else f" ± {answer.spread:.2g}"
        beyond = beyond_range(answer)
        limit = {"below": "at most ", "above": "at least "}.get(answer.censoring, "")
        said.append(
            f"{oracle.name}: {limit}{answer.value:.2f}{spread} {oracle.unit}"
            + (f" ({beyond})" if beyond else "")
        )
    said += [f"measured {what}: {value}" for what, value in c.measured.items()]
    text = "; ".join(said) + "." if said else "No oracle has answered."
    if c.motion is not None:
        seen = "; ".join(run_words(run) for run in c.motion["simulated"])
        text += f" Molecular dynamics: {seen}."
    if isinstance(shown, EnergyMap):
        finite = [x for x in shown.threshold if math.isfinite(x) and x < 1e3]
        if finite:
            text += (
                f" Paths of bond-valence site energy close in {len(finite)}"
                f" {'dimension' if len(finite) == 1 else 'dimensions'} at {finite[-1]:.2f} eV."
            )
        else:
            text += " No path of bond-valence site energy closes."
    return text


def _window(window: Window | None) -> str:
    if window is None:
        return "Its electrochemical window was not asked for."
    if math.isnan(window.width) and window.reduction is None and window.oxidation is None:
        return f"Its electrochemical window is not bounded by the energies at hand ({window.note})."
    low = "?" if window.reduction is None else f"{window.reduction:.2f}"
    high = "?" if window.oxidation is None else f"{window.oxidation:.2f}"
    return f"Stable from {low} to {high} V against lithium metal ({window.source})."


def _sure(c: Candidate, summary: Summary) -> str:
    target = summary.target
    said = {
        "measured": "Measured.",
        "calculated": f"Its rank rests on a calculated {target.name}, not on a measurement.",
        "predicted": f"{target.name} was not asked: its rank rests on what the proxy expects,"
        f" {c.value:.2f} ± {c.std or 0.0:.2f} {target.unit}.",
    }[c.basis]
    energies: Sequence[float] = sorted(c.relaxation.get("energies_ev_per_atom", ()))
    if len(energies) > 1:
        said += (
            f" Of {len(energies)} arrangements of its atoms that were relaxed this is the lowest;"
            f" the next lies {energies[1] - energies[0]:.3f} eV per atom higher."
        )
    return said


def _next(c: Candidate, summary: Summary) -> str:
    said, products = [], c.relaxation.get("decomposition") or {}
    modes = c.vibrations
    if modes is not None and modes.value:
        said.append("Follow its softest mode to the minimum before anything else.")
    if len(products) > 1:
        try:
            parts = _amounts(c.crystal.formula, products)
        except MfalError:
            parts = []
        if parts:
            said.append(f"Precursors to try: {' + '.join(_count(n, name) for name, n in parts)}.")
    if c.cif:
        file = f"{CIF_FOLDER}/{c.file_name}"
        if c.motion is None and not any(oracle.name == "dynamics" for oracle in summary.oracles):
            said.append(f"Simulate it: mfal score --oracles mfal.oracles:dynamics {file}.")
        said.append("Hand it to DFT or to the laboratory: mfal ask.")
    return " ".join(said) or "Ask for its atoms: a larger budget."


def portraits_to_plain(found: Sequence[Portrait]) -> list[dict[str, Any]]:
    """Portraits as values for JSON."""
    return [{"id": p.candidate.crystal.hash, "answers": dict(p.answers)} for p in found]
