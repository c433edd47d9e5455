"""What is known beforehand of which crystals exist, and what has been learned since.

The table `tables/relaxed_candidates.csv` says what relaxing some hundred candidates of the default
space gave, random ones and exchanges in known crystals (`experiments/tables/
relaxed_candidates.py`). A campaign learns from those that are made of its own elements, and from
its own.
"""

import csv
import io
import math
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

import jax
import numpy as np

from mfal.acquisition.chances import ChanceParams, fit_chance
from mfal.acquisition.feasibility import FeasibilityParams, fit_feasibility
from mfal.acquisition.precedents import NO_PRECEDENTS, Precedents, make_precedents
from mfal.campaign.config import CampaignConfig
from mfal.campaign.ledger.crystals import crystal_arrays
from mfal.campaign.ledger.records import CrystalRecord
from mfal.campaign.problem import Problem, make_spec
from mfal.campaign.strategy.belief import pad
from mfal.campaign.strategy.exchanges import crystal_of, exchanged_crystals
from mfal.campaign.strategy.observations import attempts_of
from mfal.campaign.strategy.stability import Stability
from mfal.campaign.strategy.types import Round
from mfal.crystals.formulas import formula_amounts
from mfal.crystals.hidden import touches_hidden
from mfal.crystals.types import Crystal
from mfal.data.embedded import load_embedded
from mfal.data.novelty import known_crystals
from mfal.errors import MfalError

__all__ = ["Experience", "fit_answers", "fit_stability", "known_precedents", "past_experience"]


class Experience(NamedTuple):
    """What became of N candidates when they were relaxed, and what has a precedent."""

    crystal: Crystal
    """[N]"""
    answered: np.ndarray
    """[N] bool, whether sound atoms were found."""
    hull_distance: np.ndarray
    """[N] float32, eV per atom; a lower bound where it isn't `bounded`, NaN where not answered."""
    bounded: np.ndarray
    """[N] bool, whether all phases that the hull needs were at hand."""
    known: np.ndarray
    """[N] bool, whether the relaxed crystal was a known one."""
    precedents: Precedents
    """Known crystals of the space's elements, and exchanges in them."""

    def labels(self, most: float) -> tuple[np.ndarray, np.ndarray]:
        """Whether each is new and within a hull distance, [N] 0 or 1, and whether that is told."""
        met = (self.hull_distance <= most) & ~self.known
        told = self.answered & (self.bounded | self.known | (self.hull_distance > most))
        return met.astype(np.float32), told


@lru_cache(maxsize=2)
def past_experience(problem: Problem, config: CampaignConfig) -> Experience:
    """The rows of the table that are made of a space's elements, with the space's precedents.

    Both are empty where no crystals are generated.
    """
    rows = []
    if problem.environment is not None:
        within = {symbol for symbol, _ in make_spec(config.space).states}
        rows = [
            row for row in _relaxed_rows(config.hide) if set(formula_amounts(row["cell"])) <= within
        ]
    crystals = [
        crystal_of(
            formula_amounts(row["cell"]),
            int(row["space_group"]),
            np.array([float(x) for x in row["cell_parameters"].split()]),
        )
        for row in rows
    ]
    return Experience(
        _stacked(crystals),
        np.array([row["answered"] == "yes" for row in rows], bool),
        np.array([row["hull_distance_ev_per_atom"] or math.nan for row in rows], np.float32),
        np.array([row["bounded"] == "yes" for row in rows], bool),
        np.array([bool(row["known_as"]) for row in rows], bool),
        known_precedents(problem, config),
    )


@lru_cache(maxsize=1)
def _table() -> list[dict[str, str]]:
    table = files("mfal.campaign.strategy") / "tables" / "relaxed_candidates.csv"
    return list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"))))


def _relaxed_rows(hide: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of the table that tell nothing of hidden compounds.

    Left out is what holds all elements of one, since its hull distance was measured from it too,
    and exchanges in crystals of the group and the counts of one, which may come from it.
    """
    if not hide:
        return _table()
    embedded = load_embedded()
    left = set(embedded.without(hide).ids)
    parents = {
        _counts(row.space_group_number, row.composition) for row in embedded if row.id not in left
    }
    kept = []
    for row in _table():
        amounts = formula_amounts(row["cell"])
        exchanged = row["origin"] == "exchanged"
        if touches_hidden(amounts, hide):
            continue
        if exchanged and _counts(int(row["space_group"]), amounts) in parents:
            continue
        kept.append(row)
    return kept


def _counts(space_group: int, amounts: Mapping[str, float]) -> tuple[float, ...]:
    """What an exchange of ions leaves: the group, and the counts of atoms in the cell."""
    return space_group, *sorted(amounts.values())


def _stacked(crystals: list[Crystal]) -> Crystal:
    """Crystals with a leading axis; of none, one of no rows."""
    one = crystal_of({}, 1, np.ones(6))
    return jax.tree.map(lambda *leaves: np.stack(leaves)[1:], one, *crystals)


def known_precedents(problem: Problem, config: CampaignConfig) -> Precedents:
    """Known crystals of a space's elements, and exchanges in them.

    None where there is a pool: its candidates count whether they are known or not.
    """
    if problem.environment is None or problem.pool is not None:
        return NO_PRECEDENTS
    within = {symbol for symbol, _ in make_spec(config.space).states}
    tables = known_crystals(config.known, hide=config.hide)
    known: dict[tuple[str, int], np.ndarray] = {}
    for formula, rows in sorted(tables.rows.items()):
        try:
            amounts = formula_amounts(formula)
        except MfalError:  # a row of a user's table without one
            continue
        if "Li" in amounts and set(amounts) <= within:
            cell = np.asarray(crystal_of(amounts, 1, np.ones(6)).composition)
            for table, row in rows:
                known[formula, int(tables.tables[table].space_group_number[row])] = cell
    children = list(exchanged_crystals(problem, config.space))
    exchanged = np.asarray(crystal_arrays(children).composition)
    cells = np.array(list(known.values()), np.float32).reshape(-1, exchanged.shape[1])
    groups = [group for _, group in known] + [child.space_group for child in children]
    return make_precedents(
        np.concatenate([cells, exchanged]),
        np.array(groups, np.int32),
        np.arange(len(groups)) < len(known),
    )


def fit_answers(past: Experience, round_: Round, space: list[CrystalRecord]) -> ChanceParams:
    """The learned chance that a query about a crystal is answered.

    Args:
      past: what is known beforehand.
      round_: with its answers.
      space: crystals that stand for the space; at least one.
    """
    attempts = attempts_of(round_)
    label = np.concatenate([past.answered, attempts.answered])
    crystal = _joined(past.crystal, attempts.crystal if len(attempts.answered) else None)
    return _fit(space, crystal, label.astype(np.float32), np.ones(len(label), bool), past)


def fit_stability(
    past: Experience, stability: Stability, round_: Round, space: list[CrystalRecord]
) -> FeasibilityParams | ChanceParams:
    """The learned chance that a crystal meets the requirement and, of a hull distance, is new.

    Args:
      past: what is known beforehand.
      stability: judges by its requirement.
      round_: with its answers.
      space: crystals that stand for the space; at least one.
    """
    records = list({a.query.crystal.hash: a.query.crystal for a in round_.answers}.values())
    if stability.of_window:
        # Tables tell a window by the formula, of the whole space.
        records = space + records
        label = stability.judge(records, round_.answers).label
        return fit_feasibility(
            jax.tree.map(pad, crystal_arrays(records)).composition,
            pad(label),
            pad(np.ones(len(label), bool), edge=False),
        )
    # Formulas tell nothing of hull distances: relaxed crystals do. Known ones don't, as all that
    # are known were chosen for being there.
    records = [record for record in records if record.proposed]
    judged = stability.judge(records, round_.answers)
    before, told = past.labels(stability.requirement.max_hull_distance)
    own = np.where(judged.known, np.float32(0.0), judged.label)
    return _fit(
        space,
        _joined(past.crystal, crystal_arrays(records) if records else None),
        np.concatenate([before, own]),
        np.concatenate([told, judged.known | (judged.feasible != 0)]),
        past,
    )


def _joined(first: Crystal, second: Crystal | None) -> Crystal:
    if second is None:
        return first
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), first, second)


def _fit(
    space: list[CrystalRecord],
    crystal: Crystal,
    label: np.ndarray,
    taught: np.ndarray,
    past: Experience,
) -> ChanceParams:
    everywhere = crystal_arrays(space)
    if not len(label):
        crystal = jax.tree.map(lambda leaf: leaf[:1], everywhere)
        label, taught = np.zeros(1, np.float32), np.zeros(1, bool)
    return fit_chance(
        everywhere,
        jax.tree.map(pad, crystal),
        pad(label.astype(np.float32)),
        pad(taught, edge=False),
        past.precedents,
    )
