"""The mobile ion's paths in the best candidates, for paper; the page shows them in 3-D."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mfal.report.paths import EnergyMap
from mfal.report.plot import INK, Figure
from mfal.report.summary import Summary

__all__ = ["ion_paths"]

_CELLS = 2
"""Cells drawn along each axis, so that paths can be followed across the boundary."""
_HIGHEST = 1.0
"""eV above the lowest site where colours end."""


def ion_paths(summary: Summary, maps: Mapping[str, EnergyMap | str]) -> Figure:
    """The best candidate's site energies seen along c; thresholds of all that have a map."""
    shown = [(c, maps[c.crystal.hash]) for c in summary.candidates if c.crystal.hash in maps]
    rows = [
        [c.rank, c.crystal.formula, c.crystal.space_group, *_thresholds(found)]
        for c, found in shown
    ]
    best = next(((c, found) for c, found in shown if isinstance(found, EnergyMap)), None)
    title = f"{summary.ion_name.capitalize()} paths of the best candidate"
    text = "No candidate has a map yet."
    if best is not None:
        crystal = best[0].crystal
        text = (
            f"{crystal.formula}, space group {crystal.space_group}, rank {best[0].rank}: the lowest"
            f" bond-valence site energy of {summary.ion_name} met along c, eV above the lowest"
            f" site, over two cells along a and b. White lines every 0.25 eV; crosses are"
            f" {summary.ion_name}."
        )

    def draw(axes: Any) -> None:
        assert best is not None
        _draw_map(axes, best[1])

    return Figure(
        "ion_paths",
        title,
        text,
        [
            "rank",
            "formula",
            "space_group",
            "paths_1d [eV]",
            "paths_2d [eV]",
            "paths_3d [eV]",
            "note",
        ],
        rows,
        draw if best is not None else None,
    )


def _thresholds(found: EnergyMap | str) -> list[Any]:
    if isinstance(found, str):
        return [None, None, None, found]
    finite = [x if np.isfinite(x) else None for x in found.threshold]
    return [*finite, "" if None not in finite else "no path where empty"]


def _draw_map(axes: Any, found: EnergyMap) -> None:
    lowest = np.tile(found.energy.min(axis=2), (_CELLS, _CELLS))
    closed = np.pad(lowest, ((0, 1), (0, 1)), mode="wrap")
    # a along x, b in the plane.
    a, b, _ = found.structure.lattice.abc
    gamma = np.radians(found.structure.lattice.gamma)
    vectors = np.array([[a, 0.0], [b * np.cos(gamma), b * np.sin(gamma)]])
    fractions = np.stack(
        np.meshgrid(*(np.linspace(0, _CELLS, n) for n in closed.shape), indexing="ij"), axis=-1
    )
    x, y = np.moveaxis(fractions @ vectors, -1, 0)
    levels = np.linspace(0, _HIGHEST, 17)
    filled = axes.contourf(x, y, closed, levels=levels, cmap="cividis", extend="max")
    axes.contour(x, y, closed, levels=levels[4::4], colors="white", linewidths=0.7)
    for along, across in (vectors, vectors[::-1]):
        for k in range(_CELLS + 1):
            ends = np.stack([k * across, k * across + _CELLS * along])
            axes.plot(*ends.T, color=INK, linewidth=0.8)
    mobile = [
        site.frac_coords[:2] % 1
        for site in found.structure
        if any(species.symbol == found.ion for species in site.species)
    ]
    ions = np.array(mobile).reshape(-1, 2)
    shifts = [(i, j) for i in range(_CELLS) for j in range(_CELLS)]
    places = np.concatenate([ions + shift for shift in shifts]) @ vectors
    axes.plot(*places.T, "x", color="black", markersize=6, markeredgewidth=1.6)
    axes.plot(*places.T, "x", color="white", markersize=5, markeredgewidth=0.7)
    axes.set_aspect("equal")
    axes.set_xlabel("along a (Å)")
    axes.set_ylabel("in the ab plane (Å)")
    axes.figure.colorbar(filled, ax=axes, label="eV above the lowest site", shrink=0.8)
