"""Files that a campaign leaves for other programs: candidates.csv and CIFs."""

import csv
import io
import math
from pathlib import Path
from typing import Any

from mfal.acquisition.objectives import Tradeoff
from mfal.errors import MfalError
from mfal.report.summary import Candidate, Summary

__all__ = ["CIF_FOLDER", "CSV_NAME", "candidate_table", "write_candidates"]

CSV_NAME = "candidates.csv"
CIF_FOLDER = "cifs"
_STABILITY = [
    "window_reduction [V]",
    "window_oxidation [V]",
    "window_width [V]",
    "hull_distance [eV/atom]",
    "meets_requirement",
    "pareto_rank",
]


def candidate_table(summary: Summary) -> tuple[list[str], list[list[Any]]]:
    """Header and rows of candidates.csv, best first; units are in the header."""
    header = ["rank", "formula", "space_group", f"{summary.target.name} [{summary.target.unit}]"]
    header += ["standard_deviation", "basis", "censoring", "highest_fidelity_asked"]
    for oracle in summary.oracles:
        header += [
            f"{oracle.name}_answer [{oracle.unit}]",
            f"{oracle.name}_spread [{oracle.unit}]",
            f"{oracle.name}_predicted [{oracle.unit}]",
            f"{oracle.name}_status",
        ]
    if summary.tradeoffs:
        header += _STABILITY
    header += ["a [Å]", "b [Å]", "c [Å]", "alpha [°]", "beta [°]", "gamma [°]"]
    header += ["cell", "oxidation_states", "round", "arrangements_tried", "measured", "cif", "id"]
    header += ["source"]
    return header, [_row(candidate, summary) for candidate in summary.candidates]


def write_candidates(summary: Summary, folder: Path) -> list[Path]:
    """Writes candidates.csv and a CIF of each candidate that has atoms; returns the paths."""
    header, rows = candidate_table(summary)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    written = [folder / CSV_NAME]
    try:
        written[0].write_text(text.getvalue(), encoding="utf-8")
        (folder / CIF_FOLDER).mkdir(exist_ok=True)
        for candidate in summary.candidates:
            if candidate.cif:
                path = folder / CIF_FOLDER / candidate.file_name
                path.write_text(_cif(candidate, summary), encoding="utf-8")
                written.append(path)
    except OSError as error:
        raise MfalError(
            f"{error.filename}: {error.strerror}", "make the folder writable or free some space"
        ) from None
    return written


def _row(candidate: Candidate, summary: Summary) -> list[Any]:
    crystal = candidate.crystal
    row: list[Any] = [candidate.rank, crystal.formula, crystal.space_group]
    row += [_number(candidate.value), _number(candidate.std), candidate.basis]
    row += [candidate.censoring]
    row += [summary.oracles[candidate.fidelity].name]
    for m in range(len(summary.oracles)):
        answer = candidate.observed.get(m)
        predicted = candidate.predicted.get("mean", {})
        row += [
            _number(answer.value) if answer else "",
            _number(answer.spread) if answer else "",
            _number(predicted[m]) if predicted else "",
            str(answer.detail.get("status", answer.kind)) if answer else "not asked",
        ]
    if summary.tradeoffs:
        row += _stability(summary.tradeoffs.get(crystal.hash))
    row += [f"{x:.4f}" for x in crystal.lattice]
    row += [
        " ".join(f"{symbol}{count}" for symbol, count in crystal.composition.items()),
        " ".join(f"{symbol}{charge:+g}" for symbol, charge in crystal.oxidation_states.items()),
        min(answer.query.round for answer in candidate.observed.values()),
        candidate.observed[candidate.fidelity].detail.get("tried", ""),
        "; ".join(f"{name}: {text}" for name, text in candidate.measured.items()),
        f"{CIF_FOLDER}/{candidate.file_name}" if candidate.cif else "",
        crystal.hash,
        crystal.source,
    ]
    return row


def _stability(found: Tradeoff | None) -> list[Any]:
    if found is None:
        return [""] * len(_STABILITY)
    feasible = {True: "yes", False: "no", None: "unknown"}[found.feasible]
    numbers = (found.reduction, found.oxidation, found.width, found.hull_distance)
    rank = str(found.rank) if found.rank >= 0 else ""
    return [*("" if math.isnan(x) else _number(x) for x in numbers), feasible, rank]


def _cif(candidate: Candidate, summary: Summary) -> str:
    """The CIF under a comment that says what it is."""
    target = summary.target
    std = f" ± {candidate.std:.2g}" if candidate.std is not None else ""
    what = "one of several arrangements of atoms that fit composition, space group and lattice"
    if candidate.crystal.structure is not None:
        what = " ".join(candidate.crystal.source.split())
    lines = [
        f"# candidate {candidate.crystal.hash} of a campaign of mfal, rank {candidate.rank}",
        f"# {target.name}, {candidate.basis}: {candidate.shown}{std} {target.unit}",
        f"# {what}",
    ]
    return "\n".join(lines) + "\n" + (candidate.cif or "")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
