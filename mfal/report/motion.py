"""Whether the ion moves: what molecular dynamics showed of the best candidates."""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mfal.oracles.dynamics.shown import (
    draw_arrhenius,
    draw_displacements,
    run_words,
    temperatures_of,
)
from mfal.report.candidate import Candidate
from mfal.report.plot import SERIES, Figure
from mfal.report.summary import Summary

__all__ = [
    "MotionShown",
    "dynamics_command",
    "motion_figures",
    "motion_sentences",
    "motion_table",
    "motions",
    "write_motion_files",
]

_SHOWN = 5
"""Best candidates with dynamics that are drawn."""
_COLOURS = tuple(style.colour for style in SERIES)


class MotionShown(NamedTuple):
    """A candidate and the record of its dynamics."""

    candidate: Candidate
    record: dict[str, Any]

    @property
    def stem(self) -> str:
        """Of its files' names."""
        return self.candidate.file_name.removesuffix(".cif")

    @property
    def name(self) -> str:
        """Formula and space group."""
        crystal = self.candidate.crystal
        return f"{crystal.formula}, space group {crystal.space_group}"


def motions(summary: Summary, number: int = _SHOWN) -> list[MotionShown]:
    """The best candidates about which dynamics have answered."""
    found = ((candidate, candidate.motion) for candidate in summary.candidates)
    return [MotionShown(candidate, record) for candidate, record in found if record][:number]


def motion_figures(shown: Sequence[MotionShown]) -> list[Figure]:
    """Of each candidate its displacements and, with several temperatures, Arrhenius' plot."""
    figures = []
    for motion in shown:
        figures.append(_displacements(motion))
        if len(temperatures_of(motion.record)) > 1:
            figures.append(_arrhenius(motion))
    return figures


def motion_sentences(motion: MotionShown) -> list[str]:
    """What was seen at each temperature."""
    return [run_words(run) for run in motion.record["simulated"]]


def motion_table(shown: Sequence[MotionShown]) -> tuple[list[str], list[list[Any]]]:
    """Head and rows, one for each candidate and temperature."""
    head = ["rank", "formula", "temperature, K", "what was seen", "state", "ions", "atoms"]
    head += ["measured, ps", "potential"]
    rows: list[list[Any]] = []
    for motion in shown:
        for run, said in zip(motion.record["simulated"], motion_sentences(motion), strict=True):
            rows.append(
                [
                    motion.candidate.rank,
                    motion.candidate.crystal.formula,
                    f"{run['temperature']:g}",
                    said,
                    run["state"],
                    run["mobile_ions"],
                    motion.record.get("atoms", ""),
                    f"{run['duration_ps']:.3g}",
                    motion.record.get("potential", ""),
                ]
            )
    return head, rows


def dynamics_command(summary: Summary, folder: Path | str) -> tuple[str, str]:
    """What whole runs of the finalists take, in words, and the command that makes them.

    Both are empty where nothing is left to be simulated.
    """
    left = summary.unsimulated
    if not left:
        return "", ""
    formulas = {c.crystal.hash: c.crystal.formula for c in summary.candidates}
    each = [f"{formulas.get(h, h[:8])} {_minutes(left[h])}" for h in left]
    place = shlex.quote(str(folder))
    config = shlex.quote(str(Path(folder) / "config.toml"))
    workers = summary.config.get("execution", {}).get("workers", 1)
    busy = [0.0] * workers
    for seconds in left.values():  # as the campaign shares them out
        busy[busy.index(min(busy))] += seconds
    most = _minutes(max(busy)).replace(" min", "m")
    return ", ".join(each), f"mfal discover --out {place} --config {config} --dynamics {most}"


def _minutes(seconds: float) -> str:
    return f"{max(1, math.ceil(seconds / 60))} min"


def write_motion_files(shown: Sequence[MotionShown], folder: Path) -> list[Path]:
    """Densities of the mobile ions as cube files, of the runs that this machine keeps."""
    from mfal.oracles.dynamics.files import write_densities

    written = []
    for motion in shown:
        written += write_densities(motion.record, folder, f"{motion.stem}_density")
    return written


def _displacements(motion: MotionShown) -> Figure:
    record = motion.record
    mobile = record["protocol"]["mobile"]
    rows = [
        [run["temperature"], symbol, lag, square]
        for run in record["simulated"]
        for symbol, squares in {mobile: run["msd"], **run["msd_framework"]}.items()
        for lag, square in zip(run["lag_ps"], squares, strict=True)
    ]
    said = "; ".join(motion_sentences(motion))
    return Figure(
        f"{motion.stem}_msd",
        f"How far {mobile} gets in {motion.candidate.crystal.formula}",
        f"{motion.name}: {said}. Mean square displacement of {mobile} (thick) and of the elements"
        " of the framework (thin) against the time between. A coefficient is a sixth of the slope"
        " over the shaded part; a dotted line has the steepest slope that the run leaves possible.",
        ["temperature [K]", "species", "lag [ps]", "msd [Å²]"],
        rows,
        lambda axes: draw_displacements(axes, record, _COLOURS),
    )


def _arrhenius(motion: MotionShown) -> Figure:
    record = motion.record
    rows = [
        [
            run["temperature"],
            run["state"],
            run["diffusion_cm2_per_s"] if run["state"] == "diffusing" else None,
            run["relative_error"] if run["state"] == "diffusing" else None,
            None if run["state"] == "diffusing" else run["bound_cm2_per_s"],
        ]
        for run in record["simulated"]
    ]
    energy = record.get("activation_energy")
    said = f" Activation energy {energy[0]:.2f} ± {energy[1]:.2f} eV." if energy else ""
    return Figure(
        f"{motion.stem}_arrhenius",
        f"Diffusion in {motion.candidate.crystal.formula} against temperature",
        f"{motion.name}: diffusion coefficients with their errors; an arrow downwards is an upper"
        f" limit. The line is fitted to the coefficients, dashed where it is extrapolated.{said}",
        ["temperature [K]", "state", "D [cm2/s]", "relative error", "below [cm2/s]"],
        rows,
        lambda axes: draw_arrhenius(axes, record, _COLOURS),
    )
