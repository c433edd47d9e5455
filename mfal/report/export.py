"""Files that a campaign leaves for other programs: candidates.csv and CIFs."""

import csv
import io
import math
from pathlib import Path
from typing import Any

from mfal.acquisition.objectives import Tradeoff
from mfal.campaign.ledger.book import Answer
from mfal.errors import MfalError
from mfal.report.candidate import beyond_range
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
_EXISTENCE = [
    "standing",
    "known_as",
    "relaxed_by",
    "relaxed_energy [eV/atom]",
    "relaxed_hull_distance [eV/atom]",
    "decomposes_to",
    "arrangements_spread [eV/atom]",
    "volume_change [%]",
    "rms_shift [Å]",
    "relaxed_space_group",
    "structure_survived",
    "imaginary_modes",
    "lowest_frequency [THz]",
    *(f"relaxed_{name}" for name in ("a [Å]", "b [Å]", "c [Å]")),
    *(f"relaxed_{name}" for name in ("alpha [°]", "beta [°]", "gamma [°]")),
]


_MOTION = ["dynamics_temperature [K]", "dynamics_state", "dynamics_D [cm2/s]"]
_MOTION += ["dynamics_D_error [cm2/s]", "dynamics_D_below [cm2/s]", "dynamics_length [ps]"]


def candidate_table(summary: Summary) -> tuple[list[str], list[list[Any]]]:
    """Header and rows of candidates.csv, best first; units are in the header."""
    header = [
        "rank",
        "formula",
        "space_group",
        "space_group_of_atoms",
        f"{summary.target.name} [{summary.target.unit}]",
    ]
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
    if _relaxed(summary):
        header += _EXISTENCE
    moved = any(candidate.motion for candidate in summary.candidates)
    header += _MOTION if moved else []
    header += ["a [Å]", "b [Å]", "c [Å]", "alpha [°]", "beta [°]", "gamma [°]"]
    header += ["cell", "oxidation_states", "round", "arrangements_tried", "measured", "cif", "id"]
    header += ["source"]
    return header, [_row(candidate, summary, moved) for candidate in summary.candidates]


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


def _row(candidate: Candidate, summary: Summary, moved: bool) -> list[Any]:
    crystal = candidate.crystal
    row: list[Any] = [candidate.rank, crystal.formula, crystal.space_group]
    row += [candidate.group_of_atoms or ""]
    row += [_number(candidate.value), _number(candidate.std), candidate.basis]
    row += [candidate.censoring]
    row += [summary.oracles[candidate.fidelity].name]
    for m in range(len(summary.oracles)):
        answer = candidate.observed.get(m)
        predicted = candidate.predicted.get("mean", {})
        row += [
            _number(answer.value) if answer else "",
            _number(answer.spread) if answer else "",
            _number(predicted[m]) if predicted and predicted[m] is not None else "",
            _status(answer),
        ]
    if summary.tradeoffs:
        row += _stability(summary.tradeoffs.get(crystal.hash))
    if _relaxed(summary):
        row += _existence(candidate)
    row += _moved(candidate) if moved else []
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


def _status(answer: Answer | None) -> str:
    if answer is None:
        return "not asked"
    status, beyond = str(answer.detail.get("status", answer.kind)), beyond_range(answer)
    return f"{status}; {beyond} counts as {answer.value:g}" if beyond else status


def _stability(found: Tradeoff | None) -> list[Any]:
    if found is None:
        return [""] * len(_STABILITY)
    feasible = {True: "yes", False: "no", None: "unknown"}[found.feasible]
    numbers = (found.reduction, found.oxidation, found.width, found.hull_distance)
    rank = str(found.rank) if found.rank >= 0 else ""
    return [*("" if math.isnan(x) else _number(x) for x in numbers), feasible, rank]


def _relaxed(summary: Summary) -> bool:
    return any(candidate.relaxation or candidate.unrelaxed for candidate in summary.candidates)


def _existence(candidate: Candidate) -> list[Any]:
    """What `_EXISTENCE` names."""
    found = candidate.relaxation
    if not found:
        why = f"not relaxed: {candidate.unrelaxed}" if candidate.unrelaxed else ""
        return [candidate.standing, candidate.known_as, why, *[""] * (len(_EXISTENCE) - 3)]
    status = found["statuses"][found["lowest"]]
    products = found.get("decomposition") or {}
    return [
        candidate.standing,
        candidate.known_as,
        found["potential"] + ("" if status == "converged" else f" ({status})"),
        _number(found["energy_ev_per_atom"]),
        _number(found.get("hull_distance_ev_per_atom")),
        " + ".join(f"{share:.3g} {formula}" for formula, share in products.items()),
        _number(found["energy_spread_ev_per_atom"]),
        f"{100 * found['volume_change']:.2f}",
        f"{found['shift_angstrom']:.3f}",
        found["space_group_after"],
        "yes" if found["survived"] else "no",
        *_vibrations(candidate),
        *(f"{x:.4f}" for x in found["cell_after"]),
    ]


def _moved(candidate: Candidate) -> list[str]:
    """What `_MOTION` names, at the highest temperature."""
    record = candidate.motion
    if record is None:
        return [""] * len(_MOTION)
    run = record["simulated"][-1]
    measured, value = run["state"] == "diffusing", run["diffusion_cm2_per_s"]
    return [
        _number(run["temperature"]),
        run["state"],
        _number(value) if measured else "",
        _number(value * run["relative_error"]) if measured else "",
        "" if measured else _number(run["bound_cm2_per_s"]),
        _number(run["duration_ps"]),
    ]


def _cif(candidate: Candidate, summary: Summary) -> str:
    """The CIF under a comment that says what it is."""
    target = summary.target
    std = f" ± {candidate.std:.2g}" if candidate.std is not None else ""
    lines = [
        f"# candidate {candidate.crystal.hash} of a campaign of mfal, rank {candidate.rank}",
        f"# {target.name}, {candidate.basis}: {candidate.shown}{std} {target.unit}",
        f"# {_origin(candidate)}",
    ]
    for m, value in sorted(candidate.values_of_atoms.items()):
        oracle = summary.oracles[m]
        lines.append(f"# {oracle.name} {oracle.version} of these atoms: {value:.4g} {oracle.unit}")
    if candidate.group_of_atoms not in (0, candidate.crystal.space_group):
        group = candidate.crystal.space_group
        lines.append(
            f"# proposed in space group {group}, its atoms have {candidate.group_of_atoms}"
        )
    return "\n".join(lines) + "\n" + (candidate.cif or "")


def _vibrations(candidate: Candidate) -> list[str]:
    answer = candidate.vibrations
    if answer is None:
        return ["not asked", ""]
    if answer.value is None:
        return [str(answer.detail.get("status", answer.kind)), ""]
    return [f"{answer.value:g}", f"{answer.detail['provenance']['lowest_thz']:.3f}"]


def _origin(candidate: Candidate) -> str:
    """Where the atoms come from."""
    found = candidate.relaxation
    if candidate.crystal.structure is not None:
        relaxed = f"; relaxed by {found['potential']}" if found else ""
        known = f"; known as {candidate.known_as}" if candidate.known_as else ""
        return " ".join(candidate.crystal.source.split()) + relaxed + known
    if not found:
        return "one of several arrangements of atoms that fit composition, space group and lattice"
    number, potential = len(found["statuses"]), found["potential"]
    known = f"; known as {candidate.known_as}" if candidate.known_as else ""
    return f"the lowest of {number} arrangements, relaxed by {potential}{known}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
