"""What a record of the dynamics oracle says, in words and drawn.

Here a record is the provenance of an answer, as the ledger keeps it. Drawing takes matplotlib axes
and no more.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mfal.oracles.dynamics.displacements import HOP

__all__ = [
    "COLOURS",
    "draw_arrhenius",
    "draw_displacements",
    "is_dynamics",
    "run_words",
    "temperatures_of",
]

COLOURS = ("#0b5394", "#b45f06", "#1b7837", "#762a83", "#555555")
"""Of temperatures, the lowest first; told apart by the colour-blind, too."""
_PER_PS = 1e4
"""Å²/ps of one cm²/s."""
_DASHES = ("--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))


def is_dynamics(record: Mapping[str, Any]) -> bool:
    """Whether a provenance is that of dynamics."""
    return "msd_framework" in next(iter(record.get("simulated", ())), ())


def temperatures_of(record: Mapping[str, Any]) -> list[float]:
    """K, in the order of the record, which is rising."""
    return [float(run["temperature"]) for run in record["simulated"]]


def run_words(run: Mapping[str, Any]) -> str:
    """What was seen at one temperature: a coefficient with its error, or what bounds it."""
    kelvin, duration = run["temperature"], run["duration_ps"]
    limit = f"D below {run['bound_cm2_per_s']:.1e} cm²/s"
    if run["state"] == "melted":
        return f"melted at {kelvin:g} K: {limit} in the crystal"
    if run["state"] == "few hops":
        number = run["hops_of_displacement"]
        hops = "no hop" if run["hops_counted"] == 0 else f"worth {number:.1f} hops"
        return f"{hops} in {duration:g} ps at {kelvin:g} K: {limit}"
    value = _with_error(run["diffusion_cm2_per_s"], run["relative_error"] or 0.0)
    hops = f"{run['hops_of_displacement']:.0f} hops in {duration:g} ps"
    said = f"D = {value} cm²/s at {kelvin:g} K, {hops}"
    if all(squares[-1] > (HOP / 2) ** 2 for squares in run["msd_framework"].values()):
        said += f", but all of the framework got farther than {HOP / 2:g} Å too"
    return said


def draw_displacements(
    axes: Any, record: Mapping[str, Any], colours: Sequence[str] = COLOURS
) -> None:
    """Mean square displacements against the time between, and what was read from them.

    Of the mobile ions a line at each temperature; thin ones for the elements of the framework. A
    coefficient is the slope of the straight line over the lags that it was fitted to, which are
    shaded; a bound is the steepest slope that the run leaves possible, dotted.
    """
    mobile = record["protocol"]["mobile"]
    for k, run in enumerate(record["simulated"]):
        colour, lag, squares = colours[k % len(colours)], *_curve(run)
        axes.plot(lag, squares, color=colour, lw=1.8, label=f"{mobile}, {run['temperature']:g} K")
        fitted = lag >= lag[-1] / 5  # as `diffusion` takes them
        if k == 0:
            axes.axvspan(lag[-1] / 5, lag[-1], color="#888888", alpha=0.12, lw=0)
        if run["state"] == "diffusing":
            slope = 6 * run["diffusion_cm2_per_s"] * _PER_PS
            middle = lag[fitted].mean()
            line = squares[fitted].mean() + slope * (lag[fitted] - middle)
            error = _with_error(run["diffusion_cm2_per_s"], run["relative_error"] or 0.0)
            said = f"D = {error} cm²/s"
            axes.plot(lag[fitted], line, "--", color="black", lw=1.4, label=said)
        else:
            slope = 6 * run["bound_cm2_per_s"] * _PER_PS
            said = f"{run['state']}: D < {run['bound_cm2_per_s']:.1e} cm²/s"
            axes.plot(lag, slope * lag, ":", color=colour, lw=1.6, label=said)
        for n, (symbol, squares) in enumerate(run["msd_framework"].items()):
            dashes = _DASHES[n % len(_DASHES)]
            label = None if k else f"{symbol}, thin"
            axes.plot(lag, squares, linestyle=dashes, color=colour, lw=0.8, label=label)
    axes.set(xlabel="time between (ps)", ylabel="mean square displacement (Å²)", xlim=(0, None))
    axes.set_ylim(0, None)
    axes.legend(fontsize=8, frameon=False, loc="upper left")


def draw_arrhenius(axes: Any, record: Mapping[str, Any], colours: Sequence[str] = COLOURS) -> None:
    """Diffusion coefficients against inverse temperature, and the line to where they are asked.

    Bounds are drawn as bars with an arrow downwards. The line is there from three coefficients on,
    dashed where it is extrapolated.
    """
    from mfal.oracles.hopping.kmc import arrhenius_fit

    labelled: set[str] = set()

    def label(text: str) -> str | None:
        new = text not in labelled
        labelled.add(text)
        return text if new else None

    measured = []
    for k, run in enumerate(record["simulated"]):
        kelvin, colour = run["temperature"], colours[k % len(colours)]
        if run["state"] == "diffusing":
            value, relative = run["diffusion_cm2_per_s"], run["relative_error"] or 0.0
            measured.append((kelvin, value, max(relative, 1e-6)))
            low = value * (1 - 1 / (1 + relative))  # as far down as up, where the axis is one
            axes.errorbar(
                1000 / kelvin, value, yerr=[[low], [value * relative]], fmt="o", color=colour,
                capsize=3,
            )  # fmt: skip
        else:
            bound = run["bound_cm2_per_s"]
            axes.errorbar(
                1000 / kelvin, bound, yerr=0.5 * bound, uplims=True, fmt="_", color=colour,
                markersize=12, label=label(f"{run['state']}: below"),
            )  # fmt: skip
        at = run["diffusion_cm2_per_s"] if run["state"] == "diffusing" else run["bound_cm2_per_s"]
        axes.annotate(
            f"{kelvin:g} K", (1000 / kelvin, at), xytext=(6, 5), textcoords="offset points",
            fontsize=8,
        )  # fmt: skip
    if len(measured) >= 3:
        kelvins, values, relative = (np.array(x) for x in zip(*measured, strict=True))
        fit = arrhenius_fit(kelvins, values, relative * values)
        target = record["protocol"]["target"]
        energy, error = record.get("activation_energy", fit.activation_energy)
        ends = [(max(kelvins), min(kelvins), "-"), (min(kelvins), target, "--")]
        for hot, cold, style in ends:
            line = [10 ** fit.log10_at(kelvin)[0] for kelvin in (hot, cold)]
            said = label(f"E = {energy:.2f} ± {error:.2f} eV")
            axes.plot([1000 / hot, 1000 / cold], line, style, color="#444444", lw=1, label=said)
        axes.annotate(
            f"{target:g} K", (1000 / target, line[-1]), xytext=(-8, 8),
            textcoords="offset points", fontsize=8, ha="right",
        )  # fmt: skip
    axes.set(xlabel="1000 K / T", ylabel="diffusion coefficient (cm²/s)", yscale="log")
    # In plain text: a report draws no mathematics, as names may hold any sign.
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0e}")
    axes.yaxis.set_minor_formatter(lambda value, _: "")
    if labelled:
        axes.legend(fontsize=8, frameon=False)


def _curve(run: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(run["lag_ps"], float), np.array(run["msd"], float)


def _with_error(value: float, relative: float) -> str:
    """A number and its error with one exponent: "(1.2 ± 0.5)e-05"."""
    exponent = math.floor(math.log10(abs(value))) if value else 0
    scale = 10.0**-exponent
    return f"({value * scale:.1f} ± {abs(value) * relative * scale:.1f})e{exponent:+03d}"
