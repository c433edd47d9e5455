"""What a campaign asks of its candidates' stability: the requirement inside the loop.

A candidate's hull distance comes with its atoms, once these have been relaxed for any question. Its
window comes from the campaign's own oracles where one has answered with it (the oracles of
`mfal.oracles.stability.window`), else from tables of energies by its formula.
"""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mfal.acquisition.objectives import KnownStability, Requirement, known_stability, meets
from mfal.campaign.config import StabilityConfig
from mfal.campaign.ledger.book import Answer
from mfal.campaign.ledger.records import CrystalRecord
from mfal.campaign.standing import hull_distance_of
from mfal.errors import MfalError
from mfal.oracles.types import Oracle

if TYPE_CHECKING:
    from mfal.oracles.stability.energies import Energies

__all__ = [
    "Judged",
    "Stability",
    "make_stability",
    "stability_from_plain",
    "stability_to_plain",
    "window_oracle",
]

_CODES = {"yes": 1, "unknown": 0, "no": -1}
_EXHAUSTIVE = "exhaustive:"
_OPEN = 0.1
"""Least weight of candidates whose hull distance nobody has asked for."""
_WIDEST = 7.0
"""V, the width of window that counts as one in the second objective."""


class Judged(NamedTuple):
    """What is known of N candidates."""

    limits: tuple[KnownStability, ...]
    feasible: np.ndarray
    """[N] int8: 1 meets the requirement, 0 unknown, -1 does not."""
    label: np.ndarray
    """[N] float32, 0 to 1: what a candidate is worth by its stability alone."""
    known: np.ndarray
    """[N] bool, whether its relaxed atoms were recognised as a known compound's."""

    @property
    def counts(self) -> dict[str, int]:
        """How many meet the requirement, may meet it, and do not."""
        return {name: int(np.sum(self.feasible == code)) for name, code in _CODES.items()}

    def plain(self, i: int) -> dict[str, Any]:
        """One candidate's limits and verdict as values for JSON."""
        verdict = {1: True, 0: None, -1: False}[int(self.feasible[i])]
        return stability_to_plain(self.limits[i], verdict)


class Stability:
    """Judges candidates by one configuration; keeps only what is costly to find again.

    Args:
      config: the requirement, and the sources of energies.
      hide: formulas of compounds of which no source is to tell.

    Raises:
      MfalError: when a source of energies can't be read.
    """

    def __init__(self, config: StabilityConfig, hide: tuple[str, ...] = ()) -> None:
        self.config = config
        self.requirement = Requirement(config.low, config.high, config.max_hull_distance)
        self.of_window = config.high > config.low or config.mode == "objective"
        """Whether windows count, which tables tell by formula; else hull distances alone do, which
        depend on the atoms."""
        from mfal.oracles.stability.energies import without_hidden

        self._sources = tuple(without_hidden(_source(name), hide) for name in config.energies)
        self._by_formula: dict[str, KnownStability] = {}

    def judge(self, records: Sequence[CrystalRecord], answers: Iterable[Answer]) -> Judged:
        """What is known of candidates, given the campaign's answers."""
        answers = list(answers)
        told, distances = _told(answers), self._hull_distances(answers)
        known = {a.query.crystal.hash for a in answers if a.detail.get("known_as")}
        limits = tuple(
            told.get(r.hash) or self._by_tables(r.formula, distances.get(r.hash)) for r in records
        )
        verdicts = [meets(each, self.requirement) for each in limits]
        labels = [self._label(e, v) for e, v in zip(limits, verdicts, strict=True)]
        return Judged(
            limits,
            np.array([{True: 1, None: 0, False: -1}[v] for v in verdicts], np.int8),
            np.array(labels, np.float32),
            np.array([r.hash in known for r in records], bool),
        )

    def _hull_distances(self, answers: Iterable[Answer]) -> dict[str, float]:
        """Hull distances of relaxed atoms, eV per atom, by crystal.

        A lower bound tells where it is too much already.
        """
        found = {}
        for answer in answers:
            distance = hull_distance_of(answer.detail)
            bounded = (answer.detail.get("relaxation") or {}).get("hull_bounded", True)
            if bounded or distance > self.requirement.max_hull_distance:
                found[answer.query.crystal.hash] = distance
        return {name: distance for name, distance in found.items() if not math.isnan(distance)}

    def _by_tables(self, formula: str, distance: float | None) -> KnownStability:
        """The formula's window, with the crystal's own hull distance where that is known."""
        if not self.of_window:
            hull = math.nan if distance is None else distance
            return KnownStability(
                math.nan, math.nan, hull, "the relaxed atoms" if distance is not None else ""
            )
        found = self._of_formula(formula)
        return found if distance is None else found._replace(hull_distance=distance)

    def _of_formula(self, formula: str) -> KnownStability:
        if formula not in self._by_formula:
            self._by_formula[formula] = known_stability(formula, self._sources)
        return self._by_formula[formula]

    def _label(self, limits: KnownStability, verdict: bool | None) -> float:
        # What isn't known by the formula is found out by asking: it must not be ruled out.
        unknown = self.config.unknown if self.of_window else max(self.config.unknown, _OPEN)
        share = unknown if verdict is None else float(verdict)
        if self.config.mode == "objective":
            width = 0.5 if math.isnan(limits.width) else limits.width / _WIDEST
            share *= float(np.clip(width, 0.0, 1.0))
        return share


def make_stability(
    config: StabilityConfig,
    oracles: Sequence[Oracle] = (),
    *,
    relax: bool = True,
    hide: tuple[str, ...] = (),
) -> Stability | None:
    """The judge of a campaign's candidates; None where stability doesn't count or nothing tells it.

    Args:
      config: the requirement.
      oracles: of the campaign.
      relax: whether candidates are relaxed, which tells their hull distances.
      hide: formulas of compounds of which no source of energies is to tell.
    """
    if config.mode == "off":
        return None
    stability = Stability(config, hide)
    told = relax or window_oracle(oracles) is not None
    return stability if told or stability.of_window else None


def window_oracle(oracles: Sequence[Oracle]) -> int | None:
    """Fidelity of the oracle below the target that tells a crystal's whole window, if any."""
    found = [o.fidelity for o in oracles[:-1] if o.name in ("hull_distance", "window_width")]
    return found[0] if found else None


def stability_to_plain(limits: KnownStability, verdict: bool | None) -> dict[str, Any]:
    """A stability and a verdict as values for JSON, where NaN is null."""
    numbers = {
        name: None if math.isnan(value) else str(value) if math.isinf(value) else value
        for name, value in zip(KnownStability._fields[:3], limits[:3], strict=True)
    }
    return {**numbers, "source": limits.source, "feasible": verdict}


def stability_from_plain(plain: dict[str, Any]) -> KnownStability:
    """The stability that `stability_to_plain` was given."""
    reduction, oxidation, distance = (
        math.nan if plain[name] is None else float(plain[name])
        for name in KnownStability._fields[:3]
    )
    return KnownStability(reduction, oxidation, distance, str(plain["source"]))


def _told(answers: Iterable[Answer]) -> dict[str, KnownStability]:
    """Limits that oracles have answered with, by crystal."""
    found = {}
    for answer in answers:
        told = answer.detail.get("provenance") or {}
        if answer.kind == "observed" and all(
            told.get(k) is not None for k in KnownStability._fields
        ):
            found[answer.query.crystal.hash] = stability_from_plain(told)
    return found


@lru_cache(maxsize=16)
def _source(name: str) -> "Energies":
    from mfal.oracles.stability import thermochemistry
    from mfal.oracles.stability.energies import energies_from_json

    embedded = {
        "measured": thermochemistry.measured_energies,
        "computed": thermochemistry.computed_energies,
        "potential": thermochemistry.potential_energies,
    }
    if name in embedded:
        return embedded[name]()
    path = name.removeprefix(_EXHAUSTIVE)
    if Path(path).suffix == ".csv":
        from mfal.oracles.stability.phases import read_phases

        energies = thermochemistry.energies_of_phases(read_phases(path), Path(path).name)
        return energies._replace(exhaustive=name != path)
    if Path(path).suffix != ".json":
        raise MfalError(
            f"stability.energies {name!r}",
            f"give {', '.join(embedded)}, FILE.csv, FILE.json, or {_EXHAUSTIVE}FILE",
        )
    return energies_from_json(path, exhaustive=name != path)
