"""From displacements at one temperature or several to a conductivity, or to what bounds it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mfal.crystals.elements import SYMBOLS
from mfal.numbers import finite_or_none
from mfal.oracles.dynamics.displacements import (
    HOP,
    Diffusion,
    Displacements,
    combined,
    diffusion,
)
from mfal.oracles.dynamics.options import DynamicsOptions
from mfal.oracles.dynamics.shown import run_words
from mfal.oracles.hopping.conductivity import nernst_einstein
from mfal.oracles.hopping.kmc import ArrheniusFit, arrhenius_fit
from mfal.oracles.hopping.network import ATTEMPT_FREQUENCY

__all__ = [
    "SimulatedConductivity",
    "carried_bound",
    "conductivity_of",
    "simulated_conductivity",
]

CM2_PER_S = 1e-4
"""Of one Å²/ps."""
PREFACTOR = HOP**2 * ATTEMPT_FREQUENCY * 1e-12 / 6
"""Å²/ps, the diffusion coefficient of ions that hop 3 Å with every attempt, 10 THz: what a bound is
carried to another temperature with."""
SHOWN = 60
"""Points of a displacement that the record keeps."""


class SimulatedConductivity(NamedTuple):
    """What dynamics say of a crystal."""

    log10: float
    """S/cm; the upper limit where there is one."""
    error: float | None
    """One standard deviation; None of a limit."""
    censored: bool
    """Whether the value is an upper limit."""
    record: dict[str, Any]
    """For the provenance; serialisable as JSON."""


def conductivity_of(
    coefficient: float, ions: float, volume: float, temperature: float, charge: int = 1
) -> float:
    """S/cm, by Nernst and Einstein with Haven's ratio one.

    Args:
      coefficient: Å²/ps, of diffusion.
      ions: in the volume.
      volume: Å³.
      temperature: K.
      charge: e, of an ion.
    """
    mobility = np.array(coefficient * 1e12 * ions * charge**2)
    return float(nernst_einstein(mobility, volume, temperature))


def simulated_conductivity(
    shown: Mapping[float, Sequence[Displacements]], volume: float, options: DynamicsOptions
) -> SimulatedConductivity:
    """The conductivity at the one temperature, or at `options.target` by Arrhenius' law.

    Args:
      shown: displacements in each cell, by temperature in K.
      volume: Å³, mean of the cells.
      options: of the simulations.
    """
    kelvins = sorted(shown)
    wholes = {kelvin: combined(shown[kelvin]) for kelvin in kelvins}
    found = {kelvin: diffusion(wholes[kelvin]) for kelvin in kelvins}
    spread = {kelvin: _relative_error(found[kelvin], shown[kelvin]) for kelvin in kelvins}
    ions = float(np.mean([one.ions for one in shown[kelvins[0]]]))
    runs = [_record_of(kelvin, found[kelvin], wholes[kelvin], spread[kelvin]) for kelvin in kelvins]
    record: dict[str, Any] = {
        "simulated": runs,
        "warnings": [run_words(run) for run in runs if run["state"] != "diffusing"],
    }

    def log_sigma(coefficient: float, kelvin: float) -> float:
        sigma = conductivity_of(coefficient, ions, volume, kelvin, options.charge)
        return math.log10(sigma) if sigma > 0 else -math.inf

    if len(kelvins) == 1:
        (kelvin,) = kelvins
        one = found[kelvin]
        if one.state == "diffusing":
            error = math.log10(1 + spread[kelvin])
            return _answer(log_sigma(one.value, kelvin), error, one.state, record)
        return _answer(log_sigma(one.bound, kelvin), None, one.state, record)
    measured = [kelvin for kelvin in kelvins if found[kelvin].state == "diffusing"]
    if len(measured) >= 3:
        fit, log10, error = _extrapolated(
            np.array(measured),
            np.array([found[kelvin].value for kelvin in measured]),
            np.array([spread[kelvin] for kelvin in measured]),
            options.target,
        )
        record["activation_energy"] = list(fit.activation_energy)
        record["warnings"].append(
            "extrapolated from " + ", ".join(f"{kelvin:g}" for kelvin in measured) + " K"
        )
        return _answer(log_sigma(10**log10, options.target), error, "diffusing", record)
    solid = [kelvin for kelvin in kelvins if found[kelvin].state != "melted"]
    bounds = [carried_bound(found[kelvin].bound, kelvin, options.target) for kelvin in solid]
    state = "few hops" if solid else "melted"
    bound = min(bounds) if solid else found[kelvins[0]].bound
    if solid:
        record["warnings"].append(
            f"limit at {options.target:g} K with a prefactor of {PREFACTOR * CM2_PER_S:.1e} cm²/s"
        )
    return _answer(log_sigma(bound, options.target), None, state, record)


def carried_bound(bound: float, temperature: float, target: float) -> float:
    """A bound on the diffusion coefficient, Å²/ps, at a lower temperature.

    If D = D0 exp(-E / kT) is below the bound at one temperature, then E is above what makes it the
    bound, and D at the other below D0 (bound / D0)^(T / target). D0 is `PREFACTOR`.

    >>> carried_bound(PREFACTOR, 1000.0, 300.0) == PREFACTOR
    True
    """
    return float(PREFACTOR * min(bound / PREFACTOR, 1.0) ** (temperature / target))


def _answer(
    log10: float, error: float | None, state: str, record: dict[str, Any]
) -> SimulatedConductivity:
    censored = state != "diffusing"
    record |= {"state": state, "censoring": "below" if censored else "exact"}
    return SimulatedConductivity(log10, error, censored, record)


def _relative_error(whole: Diffusion, cells: Sequence[Displacements]) -> float:
    """By the number of hops, and by the scatter over cells in quadrature."""
    if whole.value <= 0:
        return math.inf
    own = whole.error / whole.value
    if len(cells) == 1:
        return own
    values = [diffusion(one).value for one in cells]
    return float(np.hypot(own, np.std(values) / whole.value))


def _extrapolated(
    kelvins: np.ndarray, values: np.ndarray, relative: np.ndarray, target: float
) -> tuple[ArrheniusFit, float, float]:
    """The line through the coefficients, log10 of it at the target, and the error of that.

    The error is widened where the points scatter about the line by more than their own errors.
    """
    fit = arrhenius_fit(kelvins, values, relative * values)
    log10, error = fit.log10_at(target)
    line = np.array([fit.log10_at(kelvin)[0] for kelvin in kelvins]) * np.log(10.0)
    misfit = float((((np.log(values) - line) / relative) ** 2).sum()) / (len(kelvins) - 2)
    return fit, log10, error * max(1.0, math.sqrt(misfit))


def _record_of(
    kelvin: float, found: Diffusion, whole: Displacements, relative: float
) -> dict[str, Any]:
    kept = np.unique(np.linspace(0, len(whole.lag) - 1, SHOWN).astype(int))
    return {
        "temperature": kelvin,
        "state": found.state,
        "diffusion_cm2_per_s": found.value * CM2_PER_S,
        "relative_error": finite_or_none(relative),
        "bound_cm2_per_s": found.bound * CM2_PER_S,
        "hops_counted": whole.hops,
        "hops_of_displacement": round(found.hops, 3),
        "mobile_ions": whole.ions,
        "duration_ps": whole.duration,
        "lag_ps": [round(float(x), 4) for x in whole.lag[kept]],
        "msd": [round(float(x), 4) for x in whole.mobile[kept].sum(1)],
        "msd_framework": {
            SYMBOLS[kind - 1]: [round(float(x), 4) for x in msd[kept]]
            for kind, msd in whole.framework.items()
        },
    }
