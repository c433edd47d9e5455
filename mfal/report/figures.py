"""All figures of a report, in the order in which the page shows them."""

from collections.abc import Mapping

from mfal.report.forecast_figures import calibration, parity
from mfal.report.motion import motion_figures, motions
from mfal.report.path_figures import ion_paths
from mfal.report.paths import EnergyMap
from mfal.report.plot import Figure
from mfal.report.progress_figures import best_against_cost, fidelity_mix, fidelity_worth, top_mean
from mfal.report.space_figures import elements, window_front
from mfal.report.summary import Summary
from mfal.report.windows import Window

__all__ = ["all_figures"]


def all_figures(
    summary: Summary,
    windows: Mapping[str, Window],
    maps: Mapping[str, EnergyMap | str],
) -> dict[str, Figure]:
    """Figures by name, from the campaign, its windows and its maps by crystal hash."""
    target = len(summary.oracles) - 1
    figures = [
        ion_paths(summary, maps),
        *motion_figures(motions(summary)),
        best_against_cost(summary),
        top_mean(summary),
        fidelity_mix(summary),
        fidelity_worth(summary),
        parity(summary, target),
        *(parity(summary, m) for m in range(target)),
        calibration(summary),
        elements(summary),
        window_front(summary, windows),
    ]
    return {figure.name: figure for figure in figures}
