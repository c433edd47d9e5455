"""Where a round's candidates come from: crystals, each with the fidelity at which it may be asked.

A sampler is made once for a problem from what a question is worth, and then draws in every round by
that round's beliefs. Nothing of one round is carried into the next, so that a round that is lost in
a kill is computed again and comes out the same.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.acquisition import RewardParams, bounded_log_reward, default_reward
from mfal.campaign.config import SamplerConfig, SpaceConfig
from mfal.campaign.ledger.prices import TRAINING_COST
from mfal.campaign.ledger.records import CrystalRecord
from mfal.campaign.pool import Pool, shortlist
from mfal.campaign.problem import Problem
from mfal.campaign.strategy.belief import BUCKET
from mfal.campaign.strategy.exchanges import exchanged_crystals
from mfal.campaign.strategy.questions import records_of, uniform_records, uniform_states
from mfal.campaign.strategy.types import Round
from mfal.crystals.types import Crystal
from mfal.envs.fidelity import FidelityState, with_fidelity
from mfal.envs.random import log_density
from mfal.gflownet.policy import PolicyConfig
from mfal.gflownet.train import Metrics, TrainConfig, make_trainer

__all__ = [
    "ANY",
    "Draws",
    "MakeSampler",
    "Sampler",
    "all_sources",
    "gflownet_sampler",
    "train_config",
    "uniform_sampler",
]

_QUANTILE = 0.95
"""Of the worth of uniformly drawn crystals, each at its best fidelity: what earns a reward of one.
The sampler is to find what a random search rarely does."""


ANY = -1
"""Stands for whichever fidelity a crystal is worth most at."""
_EXCHANGES = 256
"""Most exchanges in known crystals that a round looks at; the default space has half of them."""
_FORBIDDEN = -10.0
"""Added to the log reward of what the user's restrictions rule out: it is not asked about."""


class Draws(NamedTuple):
    """Candidates of one round."""

    records: list[CrystalRecord]
    """[N]"""
    fidelity: np.ndarray
    """[N] int, at which each may be asked; `ANY` for all."""
    detail: dict[str, Any]
    """What the ledger keeps of how they were drawn, values for JSON."""


class Sampler(NamedTuple):
    """Draws candidates by what is believed."""

    draw: Callable[[Any, jax.Array, Round], Draws]
    """(what the worth depends on, key, the round) to candidates."""
    cost: float
    """Nominal CPU seconds of a draw."""


WorthOf = Callable[[Any, Crystal], jax.Array]
"""(what it depends on, a crystal) to what asking it is worth at each fidelity, [M]; traceable."""
MakeSampler = Callable[[Problem, SamplerConfig, WorthOf], Sampler]


def gflownet_sampler(problem: Problem, config: SamplerConfig, worth: WorthOf) -> Sampler:
    """A GFlowNet over crystals and fidelities whose log reward is the log of the worth.

    So what is sampled is what is asked. The reward is taken relative to the random search's
    distribution: a bare one would favour whatever there is most of, groups with many free lattice
    parameters (a power of ten for each) and compositions of many elements.
    """
    levels, environment = len(problem.oracles), problem.environment
    assert environment is not None
    worths = jax.jit(jax.vmap(worth, in_axes=(None, 0)))
    to_crystals = jax.jit(jax.vmap(problem.to_crystal))

    def log_reward(params: tuple[RewardParams, Any], state: FidelityState) -> jax.Array:
        reward, aim = params
        crystal = problem.to_crystal(state.inner)
        value = worth(aim, crystal)
        chosen = jnp.sum(jnp.where(jnp.arange(levels) == state.fidelity, value, 0.0))
        found = bounded_log_reward(reward, chosen) + log_density(environment, state.inner)
        return found + jnp.where(problem.allowed(crystal), 0.0, _FORBIDDEN)

    trainer = make_trainer(with_fidelity(environment, levels), log_reward, train_config(config))

    def draw(aim: Any, key: jax.Array, round_: Round) -> Draws:
        key_space, key_init, key_sample = jax.random.split(key, 3)
        space = to_crystals(uniform_states(problem)(key_space, BUCKET))
        highest = np.max(np.asarray(worths(aim, space)), axis=1)
        # Where nothing is worth asking any more the scale must stay positive.
        scale = max(float(np.quantile(highest, _QUANTILE)), 1e-30)
        params = (default_reward(scale, config.sharpness), aim)
        round_.report_progress("train", "training the sampler", 0, config.steps)

        def trained(done: int, metrics: Metrics) -> None:
            loss = float(np.mean(np.asarray(metrics.loss)))
            text = f"training the sampler, loss {loss:.3g}"
            round_.report_progress("train", text, done, config.steps)

        state = trainer.init(key_init)
        state, metrics = trainer.run(state, params, config.steps, trained, bar=False)
        states = trainer.sample(state, params, key_sample, config.samples).states
        detail = {
            "sampler_loss": float(np.mean(np.asarray(metrics.loss)[-20:])),
            "log_z": float(np.asarray(metrics.log_z)[-1]),
            "reward_scale": scale,
        }
        allowed, records = records_of(problem, states.inner, "sampled")
        return Draws(records, np.asarray(states.fidelity, int)[allowed], detail)

    default = SamplerConfig()
    size = config.steps * config.batch / (default.steps * default.batch)
    return Sampler(draw, TRAINING_COST * size)


def train_config(config: SamplerConfig) -> TrainConfig:
    """How the GFlowNet is trained."""
    return TrainConfig(
        batch_size=config.batch,
        policy=PolicyConfig(hidden=(config.width, config.width)),
        learning_rate=config.learning_rate,
    )


def uniform_sampler(problem: Problem, config: SamplerConfig, worth: WorthOf) -> Sampler:
    """Crystals as the random search draws them, to be ranked by what asking them is worth."""

    def draw(aim: Any, key: jax.Array, round_: Round) -> Draws:
        generated = problem._replace(pool=None)
        records = uniform_records(generated, key, config.samples, "sampled")
        return Draws(records, np.full(len(records), ANY), {})

    return Sampler(draw, 0.0)


def all_sources(make: MakeSampler, space: SpaceConfig) -> MakeSampler:
    """Where crystals are generated the sampler's and exchanges in known ones; a pool's best."""

    def made(problem: Problem, config: SamplerConfig, worth: WorthOf) -> Sampler:
        parts = []
        if problem.environment is not None:
            parts.append(make(problem, config, worth))
            parts.append(_exchange_sampler(problem, space))
        if problem.pool is not None:
            parts.append(_pool_sampler(problem.pool, config, worth, len(problem.oracles) - 1))

        def draw(aim: Any, key: jax.Array, round_: Round) -> Draws:
            drawn = [part.draw(aim, key, round_) for part in parts]
            return Draws(
                [record for each in drawn for record in each.records],
                np.concatenate([each.fidelity for each in drawn]),
                {name: value for each in drawn for name, value in each.detail.items()},
            )

        return Sampler(draw, sum(part.cost for part in parts))

    return made


def _exchange_sampler(problem: Problem, space: SpaceConfig) -> Sampler:
    """Known crystals with ions exchanged, the likeliest first, as many as a round can look at."""

    def draw(aim: Any, key: jax.Array, round_: Round) -> Draws:
        exchanged = exchanged_crystals(problem, space)
        asked = {name for name, _ in round_.asked({record.hash for record in exchanged})}
        records = [record for record in exchanged if record.hash not in asked][:_EXCHANGES]
        return Draws(records, np.full(len(records), ANY), {"exchanges": len(records)})

    return Sampler(draw, 0.0)


def _pool_sampler(pool: Pool, config: SamplerConfig, worth: WorthOf, target: int) -> Sampler:
    """Of a pool's candidates those that are worth most at each fidelity, in equal shares."""
    worths = jax.jit(jax.vmap(worth, in_axes=(None, 0)))

    def draw(aim: Any, key: jax.Array, round_: Round) -> Draws:
        text = f"looking through {len(pool)} candidates of the pool"
        round_.report_progress("choose", text, 0, 0)
        found = shortlist(
            pool, lambda crystals: worths(aim, crystals), config.samples, round_.asked, target
        )
        records = [record for record, _ in found]
        return Draws(records, np.array([fidelity for _, fidelity in found], int), {})

    return Sampler(draw, 0.0)
