"""Searches that change known or found crystals: a genetic one, and substitution into prototypes."""

import jax
import numpy as np

from mfal.campaign.config import CampaignConfig
from mfal.campaign.ledger.crystals import record_of
from mfal.campaign.ledger.records import CrystalRecord
from mfal.campaign.problem import Problem, make_spec
from mfal.campaign.strategy.baselines import affordable_at, found_values
from mfal.campaign.strategy.exchanges import crystal_of, exchanged_crystals
from mfal.campaign.strategy.observations import score
from mfal.campaign.strategy.questions import Asker, initial_data, uniform_records
from mfal.campaign.strategy.types import Decision, Round, Strategy
from mfal.envs.crystal.spec import CrystalSpec, species_list
from mfal.envs.crystal.validity import violations

__all__ = ["genetic", "substitution"]

_STREAM = 1 << 20
"""Added to a round's number, so that these searches draw from another stream than ours."""
_PARENTS = 20
"""Best crystals so far that have offspring; some twice the ten that a campaign is about."""
_FRESH = 0.2
"""Share of each generation that is drawn at random, against a population of one kind."""
_STRAIN = 0.03
"""Standard deviation of the logarithm of a mutated cell's edges."""
_TRIES = 40
"""Offspring tried per one wanted: most crossings have no neutral or no placeable composition."""


def genetic(problem: Problem, config: CampaignConfig) -> Strategy:
    """The best crystals so far cross and mutate, and each child is asked at the target fidelity.

    A child has the elements and counts of one parent and the group and cell of another, the cell
    scaled to its atoms; then an element may be exchanged for one of the same charge, and the cell
    is strained. Parents are known crystals too, until enough proposals have answered.
    """
    asker, spec = Asker(problem, config), make_spec(config.space)

    def propose(round_: Round) -> Decision:
        target = asker.target
        number = affordable_at(asker, round_, target)
        rng = np.random.default_rng([config.seed, _STREAM, round_.number])
        scored = [
            (score(problem.oracles[target], a.value), a.query.crystal)
            for a in round_.answers
            if a.query.fidelity == target and a.value is not None
        ]
        scored.sort(key=lambda pair: (-pair[0], pair[1].hash))
        parents = [crystal for _, crystal in scored[:_PARENTS]]
        asked = {a.query.crystal.hash for a in round_.answers}
        children: dict[str, CrystalRecord] = {}
        wanted = number - round(_FRESH * number)
        for _ in range(_TRIES * wanted if len(parents) > 1 else 0):
            if len(children) == wanted:
                break
            child = _child(parents, spec, rng)
            if child is not None and child.hash not in asked:
                children[child.hash] = child
        key = jax.random.fold_in(jax.random.key(config.seed), _STREAM + 2)
        fresh = uniform_records(
            problem, jax.random.fold_in(key, round_.number), number - len(children)
        )
        questions = [(record, target) for record in (*children.values(), *fresh)]
        return Decision(asker.within(questions, round_), {"children": len(children)})

    return Strategy(lambda round_: initial_data(asker, round_), propose, found_values(asker))


def _child(
    parents: list[CrystalRecord], spec: CrystalSpec, rng: np.random.Generator
) -> CrystalRecord | None:
    """A child of two parents; None where the space has no such crystal."""
    one, other = (parents[i] for i in rng.integers(0, len(parents), 2))
    counts, charges = dict(one.composition), dict(one.oxidation_states)
    old = str(rng.choice(sorted(counts)))
    if old != "Li" and rng.random() < 0.5:
        alike = [
            s.symbol
            for s in species_list(spec)
            if abs(float(s.state) - charges[old]) < 1e-6 and s.symbol not in counts
        ]
        if alike:
            new = str(rng.choice(sorted(alike)))
            counts[new], charges[new] = counts.pop(old), charges.pop(old)
    lattice = np.array(other.lattice)
    growth = sum(counts.values()) / sum(other.composition.values())
    lattice[:3] *= growth ** (1 / 3) * np.exp(_STRAIN * rng.normal())
    crystal = crystal_of(counts, other.space_group, lattice)
    if violations(spec, crystal, charges):
        return None
    return record_of(crystal, charges, "bred")


def substitution(problem: Problem, config: CampaignConfig) -> Strategy:
    """Known crystals with ions exchanged for likely others, asked at the target.

    The likeliest exchanges (`exchanged_crystals`) are asked first, whatever has been answered.
    """
    asker = Asker(problem, config)

    def propose(round_: Round) -> Decision:
        number = affordable_at(asker, round_, asker.target)
        exchanged = exchanged_crystals(problem, config.space)
        asked = round_.asked({record.hash for record in exchanged})
        open_ = [record for record in exchanged if (record.hash, asker.target) not in asked]
        key = jax.random.fold_in(jax.random.key(config.seed), _STREAM + 3)
        fresh = uniform_records(
            problem, jax.random.fold_in(key, round_.number), max(number - len(open_), 0)
        )
        questions = [(record, asker.target) for record in (*open_[:number], *fresh)]
        return Decision(asker.within(questions, round_), {"exchanges_left": len(open_)})

    return Strategy(lambda round_: initial_data(asker, round_), propose, found_values(asker))
