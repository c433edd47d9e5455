"""What a record says and draws, on displacements of which all is known."""

from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from mfal.oracles.dynamics.displacements import Displacements
from mfal.oracles.dynamics.estimates import PREFACTOR, simulated_conductivity
from mfal.oracles.dynamics.options import DynamicsOptions
from mfal.oracles.dynamics.price import RunPrice
from mfal.oracles.dynamics.shown import (
    draw_arrhenius,
    draw_displacements,
    is_dynamics,
    run_words,
    temperatures_of,
)

BARRIER = 0.3
KELVINS = (700.0, 850.0, 1000.0, 1150.0)


def _record(still: tuple[float, ...] = (), melted: tuple[float, ...] = ()) -> dict[str, Any]:
    """A walk of a barrier of 0.3 eV, with rattling on top; without it at some temperatures."""
    options = DynamicsOptions(temperatures=KELVINS)
    shown = {}
    for kelvin in KELVINS:
        coefficient = PREFACTOR * np.exp(-BARRIER / (8.617333262e-5 * kelvin))
        lag = np.linspace(0, 5.0, 251)
        moves = kelvin not in still
        mobile = np.repeat(0.1 * (lag[:, None] > 0) + 2 * moves * coefficient * lag[:, None], 3, 1)
        flow = 0.3 + (8.0 * lag if kelvin in melted else 0.0 * lag)
        shown[kelvin] = [Displacements(lag, mobile, {17: flow}, 500 if moves else 0, 40, 10.0)]
    found = simulated_conductivity(shown, 1000.0, options)
    return {**found.record, "protocol": {**vars(options), "temperatures": list(KELVINS)}}


def _axes() -> Any:
    return Figure().add_subplot()


def test_words_say_coefficient_bound_or_melting() -> None:
    record = _record(still=(700.0,), melted=(1150.0,))
    assert is_dynamics(record)
    assert not is_dynamics({"simulated": [{"temperature": 300.0}]})
    assert temperatures_of(record) == list(KELVINS)
    cold, warm, _, hot = record["simulated"]
    bound = 2.996 * 9 / (6 * 40 * 10) * 1e-4
    assert run_words(cold) == f"no hop in 10 ps at 700 K: D below {bound:.1e} cm²/s"
    assert run_words(hot).startswith("melted at 1150 K: D below")
    exact = PREFACTOR * np.exp(-BARRIER / (8.617333262e-5 * 850)) * 1e-4
    value, rest = run_words(warm).removeprefix("D = (").split(" ± ", 1)
    assert float(value) * 1e-5 == pytest.approx(exact, rel=0.05)
    # The error is that of as many hops as the displacement is worth.
    hops = warm["hops_of_displacement"]
    assert float(rest.split(")")[0]) * 1e-5 == pytest.approx(
        exact * (3.43 / np.sqrt(hops) + 0.04), abs=6e-7
    )
    assert rest.endswith(f"cm²/s at 850 K, {hops:.0f} hops in 10 ps")
    assert all(run_words(run) in record["warnings"] for run in (cold, hot))
    # A framework that is no liquid yet, but doesn't stay either.
    loose = {**warm, "msd_framework": {"Br": [0.0, 3.1], "Ge": [0.0, 2.6]}}
    assert run_words(loose).endswith("but all of the framework got farther than 1.5 Å too")
    firm = {**warm, "msd_framework": {"Br": [0.0, 3.1], "Ge": [0.0, 0.4]}}
    assert run_words(firm) == run_words(warm)


def test_the_slope_that_is_drawn_is_the_coefficient_and_the_bound_is_steeper() -> None:
    record = _record(still=(700.0,))
    axes = _axes()
    draw_displacements(axes, record)
    lines = {line.get_label(): line for line in axes.get_lines()}
    for run in record["simulated"]:
        measured = run["state"] == "diffusing"
        start = "D = " if measured else "few hops: D < "
        drawn = [
            line
            for label, line in lines.items()
            if label.startswith(start)
            and np.polyfit(*line.get_data(), 1)[0] * 1e-4 / 6
            == pytest.approx(run["diffusion_cm2_per_s" if measured else "bound_cm2_per_s"])
        ]
        assert len(drawn) == 1
        x, y = drawn[0].get_data()
        curve = np.interp(x, run["lag_ps"], run["msd"])
        if measured:  # it lies on the curve, over what was fitted
            assert (x[0], x[-1]) == (pytest.approx(1.0, abs=0.05), 5.0)
            assert np.abs(y - curve).max() < 0.02
        else:
            assert (x[0], y[0]) == (0.0, 0.0)
    assert axes.get_ylim()[0] == 0.0
    assert "Cl, thin" in lines


def test_arrhenius_has_arrows_for_bounds_and_a_line_of_the_barrier() -> None:
    record = _record(still=(700.0,))
    axes = _axes()
    draw_arrhenius(axes, record)
    assert axes.get_yscale() == "log"
    labels = axes.get_legend_handles_labels()[1]
    assert [one for one in labels if one.startswith("E = 0.30 ± ")]
    assert "few hops: below" in labels
    arrows = [bars for bars in axes.containers if bars.has_yerr and bars.lines[1]]
    assert len([bars for bars in arrows if bars.get_label() == "few hops: below"]) == 1
    solid, dashed = (line for line in axes.get_lines() if line.get_color() == "#444444")
    assert (solid.get_linestyle(), dashed.get_linestyle()) == ("-", "--")
    x, y = dashed.get_data()
    assert x[-1] == pytest.approx(1000 / 300)
    exact = PREFACTOR * np.exp(-BARRIER / (8.617333262e-5 * 300)) * 1e-4
    assert np.log10(y[-1]) == pytest.approx(np.log10(exact), abs=0.01)


def test_without_three_coefficients_no_line_is_drawn() -> None:
    axes = _axes()
    draw_arrhenius(axes, _record(still=KELVINS[:2], melted=KELVINS[3:]))
    assert not [line for line in axes.get_lines() if line.get_color() == "#444444"]
    assert axes.get_legend_handles_labels()[1] == ["few hops: below", "melted: below"]


def test_an_allowance_buys_what_is_left_after_compiling_and_equilibration() -> None:
    price = RunPrice(step=0.02, timestep=2.0, equilibration=500, total=3000)
    assert price.seconds() == pytest.approx(14 + 60)
    assert price.length == pytest.approx(5.0)
    assert price.bought(14 + 10) == 0.0
    assert price.bought(1.0) == 0.0
    assert price.bought(14 + 10 + 20) == pytest.approx(2.0)
    assert price.bought(1e6) == pytest.approx(5.0)
    # What is done needn't be bought again, but for the program.
    assert price.bought(14 + 20, done=2.0) == pytest.approx(4.0)
    assert price.seconds(4.0) == pytest.approx(14 + 10)
    assert price.bought(0.0, done=2.0) == pytest.approx(2.0)
