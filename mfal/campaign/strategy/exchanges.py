"""Crystals that may well exist: known ones with ions exchanged for likely others.

What is likely is what the statistics of known structures make so (`mfal.data.pool.substitutes`,
after Hautier et al., Inorg. Chem. 50, 656 (2011)).
"""

import itertools
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from mfal.campaign.config import SpaceConfig
from mfal.campaign.ledger.crystals import crystal_arrays, known_record, record_of
from mfal.campaign.ledger.records import CrystalRecord
from mfal.campaign.problem import Problem, make_spec
from mfal.crystals.elements import SYMBOLS
from mfal.crystals.types import Crystal
from mfal.data.pool import substitutes
from mfal.envs.crystal.spec import CrystalSpec, species_list
from mfal.envs.crystal.validity import violations

__all__ = ["crystal_of", "exchanged_crystals"]

_LEAST = 3e-4
"""Least product of the exchanges' probabilities, that of `mfal.data.pool.PoolConfig`."""

Ion = tuple[str, float]


@lru_cache(maxsize=2)
def exchanged_crystals(problem: Problem, space: SpaceConfig) -> tuple[CrystalRecord, ...]:
    """Crystals of the space by exchanges of ions in known ones, the likeliest first.

    None has the formula and group of a known crystal, and none occurs twice. Where restrictions
    rule a crystal out it is left out.
    """
    spec = make_spec(space)
    parents = [known_record(structure, name) for name, structure in problem.known()]
    known = {(r.formula, r.space_group) for r in parents}
    found: dict[tuple[str, int], tuple[float, CrystalRecord]] = {}
    for parent in parents:
        for likelihood, child in _children(parent, spec):
            name = (child.formula, child.space_group)
            if name not in known and (name not in found or likelihood > found[name][0]):
                found[name] = likelihood, child
    ranked = sorted(found.values(), key=lambda pair: (-pair[0], pair[1].hash))
    children = [child for _, child in ranked]
    allowed = np.asarray(jax.vmap(problem.allowed)(crystal_arrays(children)))
    return tuple(child for child, met in zip(children, allowed, strict=True) if met)


def _children(parent: CrystalRecord, spec: CrystalSpec) -> Iterator[tuple[float, CrystalRecord]]:
    """(likelihood, child) for each exchange of one or more ions that stays in the space."""
    volumes = {(s.symbol, float(s.state)): s.volume for s in species_list(spec)}
    ions = list(parent.oxidation_states.items())
    choices: list[list[tuple[Ion, float]]] = [
        [(ion, 1.0), *(each for each in substitutes(ion) if each[0] in volumes)] for ion in ions
    ]
    for chosen in itertools.product(*choices):
        new = [ion for ion, _ in chosen]
        likelihood = float(np.prod([p for _, p in chosen]))
        symbols = {symbol for symbol, _ in new}
        if new == ions or likelihood < _LEAST or len(symbols) < len(ions):
            continue
        if not set(new) <= set(volumes) or "Li" not in symbols:
            continue
        counts = {s: parent.composition[old] for (s, _), (old, _) in zip(new, ions, strict=True)}
        lattice = np.array(parent.lattice)
        lattice[:3] *= _growth(list(parent.composition.values()), ions, new, volumes)
        crystal = crystal_of(counts, parent.space_group, lattice)
        if not violations(spec, crystal, dict(new)):
            yield likelihood, record_of(crystal, dict(new), f"exchanged:{parent.source}")


def _growth(
    counts: list[float], old: list[Ion], new: list[Ion], volumes: Mapping[Ion, float]
) -> float:
    """By how much the cell's edges grow, so that the volume grows with that of the ions.

    Of ions that are not of the space no radius is at hand: their exchange changes nothing here,
    and the relaxation has to.
    """
    after = [volumes[ion] for ion in new]
    before = [volumes.get(ion, v) for ion, v in zip(old, after, strict=True)]
    return float((np.dot(counts, after) / np.dot(counts, before)) ** (1 / 3))


def crystal_of(counts: Mapping[str, float], group: int, lattice: np.ndarray) -> Crystal:
    """One crystal as NumPy arrays, no batch axes."""
    composition = np.zeros(len(SYMBOLS), np.float32)
    for symbol, n in counts.items():
        composition[SYMBOLS.index(symbol)] = n
    leaves: tuple[Any, ...] = (composition, np.int32(group), lattice.astype(np.float32))
    return Crystal(*leaves)
