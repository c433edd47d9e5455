"""Does the sampler learn more where some of its trajectories lead to crystals that exist?

The GFlowNet of a finished campaign's next round is trained with and without a share of each batch
that is drawn backward, from exchanges in known crystals, from relaxed candidates that are new and
near the hull, and from the campaign's own: a terminal state in proportion to its reward, a
trajectory that leads there by the backward policy. The loss is trajectory balance either way, so
that what is learnt in the end is the same; the question is what is learnt in a few hundred steps.

Judged on what each sampler then draws, without relaxing anything: mean worth of asking (against the
reward's scale), mean chance of being new and near the hull, shares with a precedent, distinct
formulas, distinct crystals among the worthiest, and the evidence lower bound, which is log Z less
the divergence from the aimed-at distribution. Differences are paired by campaign and seed;
intervals are 90 %, by bootstrap over the pairs.

    python experiments/backward_trajectories.py --campaign DIR [DIR ...]

Each trained sampler is a line of results/backward_trajectories.jsonl as soon as it is done.
"""

import time
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from shared import do_pieces, interval, make_parser, write_record

from mfal.acquisition import bounded_log_reward, default_reward
from mfal.acquisition.chances import chance_of
from mfal.acquisition.precedents import precedent_of
from mfal.campaign.config import CampaignConfig
from mfal.campaign.folder import CAMPAIGN, read_campaign, stored_config
from mfal.campaign.ledger.crystals import crystal_arrays
from mfal.campaign.problem import Problem, make_problem, make_spec
from mfal.campaign.strategy.belief import BUCKET
from mfal.campaign.strategy.exchanges import exchanged_crystals
from mfal.campaign.strategy.experience import past_experience
from mfal.campaign.strategy.informed import make_strategy
from mfal.campaign.strategy.questions import uniform_states
from mfal.campaign.strategy.sampler import Draws, Sampler
from mfal.campaign.strategy.types import Round
from mfal.crystals.types import Crystal
from mfal.envs.crystal import from_crystal
from mfal.envs.fidelity import FidelityState, with_fidelity
from mfal.envs.random import log_density
from mfal.errors import MfalError
from mfal.gflownet import DataSet, PolicyConfig, TrainConfig, make_trainer

ARMS = {"without": (0.0, 300), "quarter": (0.25, 300), "half": (0.5, 300)}
"""Share of each batch drawn backward, and training steps."""
SAMPLES = 1024
QUANTILE = 0.95  # of the worth of uniformly drawn crystals: the reward's scale, as in campaigns


class Rebuilt(NamedTuple):
    """What the sampler of a finished campaign's next round is made of."""

    problem: Problem
    config: CampaignConfig
    worth: Any
    aim: Any


@lru_cache
def rebuilt(folder: Path) -> Rebuilt:
    """From a finished campaign's ledger."""
    with read_campaign(folder) as ledger:
        config = stored_config(ledger)
        answers = ledger.answers(CAMPAIGN, limit=config.proxy.capacity)
    problem = make_problem(config.space, config.oracles)
    seen: list[Any] = []

    def watching(problem: Problem, _: Any, worth: Any) -> Sampler:
        def draw(aim: Any, *_: Any) -> Draws:
            seen.append((worth, aim))
            return Draws([], np.zeros(0, int), {})

        return Sampler(draw, 0.0)

    number = config.rounds + 1
    make_strategy(problem, config, sampler=watching, choose=lambda *_, **__: []).propose(
        Round(
            number=number,
            rounds=number + 1,
            answers=answers,
            pending=[],
            told=[],
            allowance=np.inf,
            allowances=(np.inf,) * len(problem.oracles),
            asked=lambda _: set(),
            report_progress=lambda *_: None,
        )
    )
    return Rebuilt(problem, config, *seen[0])


def existing(made: Rebuilt) -> list[Any]:
    """Terminal states of crystals that exist or may well: exchanged ones, relaxed ones, its own."""
    spec = make_spec(made.config.space)
    past = past_experience(made.problem, made.config)
    met, told = past.labels(made.config.stability.max_hull_distance)
    rows = np.flatnonzero((met > 0) & told)
    exchanged = crystal_arrays(list(exchanged_crystals(made.problem, made.config.space)))
    crystals = [jax.tree.map(lambda leaf, at=i: leaf[at], past.crystal) for i in rows]
    number = len(exchanged.space_group_number)
    crystals += [jax.tree.map(lambda leaf, at=i: leaf[at], exchanged) for i in range(number)]
    states = []
    for crystal in crystals:
        try:
            states.append(from_crystal(spec, crystal))
        except MfalError:  # a cell that the space doesn't hold
            continue
    return states


@lru_cache
def trainer_of(problem: Problem, config: CampaignConfig, worth: Any, share: float) -> Any:
    """A trainer as the campaign's, with a share of each batch drawn backward."""
    levels, environment = len(problem.oracles), problem.environment
    assert environment is not None

    def log_reward(params: Any, state: FidelityState) -> jax.Array:
        reward, aim = params
        value = worth(aim, problem.to_crystal(state.inner))
        chosen = jnp.sum(jnp.where(jnp.arange(levels) == state.fidelity, value, 0.0))
        return bounded_log_reward(reward, chosen) + log_density(environment, state.inner)

    sizes = config.sampler
    settings = TrainConfig(
        batch_size=sizes.batch,
        policy=PolicyConfig(hidden=(sizes.width, sizes.width)),
        learning_rate=sizes.learning_rate,
        data_share=share,
    )
    return make_trainer(with_fidelity(environment, levels), log_reward, settings)


def trained(folder: Path, share: float, steps: int, seed: int) -> dict[str, Any]:
    """Train one sampler, draw, and judge what was drawn."""
    made = rebuilt(folder)
    problem, config, worth, aim = made
    levels = len(problem.oracles)
    worths = jax.jit(jax.vmap(worth, in_axes=(None, 0)))
    to_crystals = jax.jit(jax.vmap(problem.to_crystal))
    key_space, key_init, key_sample = jax.random.split(jax.random.key(seed), 3)
    space = to_crystals(uniform_states(problem)(key_space, BUCKET))
    scale = float(np.quantile(np.max(np.asarray(worths(aim, space)), axis=1), QUANTILE))
    reward = default_reward(scale, config.sampler.sharpness)
    states = existing(made)
    inner = jax.tree.map(lambda *leaves: jnp.stack(leaves * levels), *states)
    fidelity = jnp.repeat(jnp.arange(levels, dtype=jnp.int32), len(states))
    value = worths(aim, to_crystals(inner))[jnp.arange(len(fidelity)), fidelity]
    weight = jnp.exp(jax.vmap(bounded_log_reward, in_axes=(None, 0))(reward, value))
    data = DataSet(FidelityState(inner, fidelity), weight) if share else None

    trainer = trainer_of(problem, config, worth, share)
    trainer.run(trainer.init(key_init, data), (reward, aim), 1, bar=False)  # compiles
    start = time.process_time()
    state, metrics = trainer.run(trainer.init(key_init, data), (reward, aim), steps, bar=False)
    np.asarray(metrics.loss)
    seconds = time.process_time() - start
    drawn = trainer.sample(state, (reward, aim), key_sample, SAMPLES)
    crystals: Crystal = to_crystals(drawn.states.inner)
    value = np.asarray(worths(aim, crystals))[np.arange(SAMPLES), np.asarray(drawn.states.fidelity)]
    chance = jax.vmap(chance_of, in_axes=(None, 0))(aim.stability, crystals)
    precedent = np.asarray(
        jax.vmap(precedent_of, in_axes=(None, 0))(aim.stability.precedents, crystals)
    )
    kinds = np.column_stack(
        [np.asarray(crystals.composition), np.asarray(crystals.space_group_number)]
    )
    best = value > 3 * scale
    bound = drawn.log_reward + drawn.log_pb - drawn.log_pf
    return {
        "seconds": seconds,
        "data": len(states),
        "worth": float(np.mean(value) / scale),
        "chance": float(jnp.mean(chance)),
        "known": float(precedent[:, 0].mean()),
        "exchanged": float(precedent[:, 1].mean()),
        "formula known": float(precedent[:, 2].mean()),
        "kinds": len(np.unique(kinds, axis=0)),
        "worthiest": float(best.mean()),
        "kinds among the worthiest": len(np.unique(kinds[best], axis=0)),
        "bound": float(jnp.mean(bound)),
        "log Z": float(metrics.log_z[-1]),
        "loss": float(jnp.mean((metrics.log_z[-1] - bound) ** 2)),
    }


def main() -> None:
    """Train, compare, print."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--campaign", type=Path, nargs="+", required=True, metavar="DIR")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    options = parser.parse_args()
    start = time.perf_counter()
    tasks = {
        f"{folder.name} {seed} {arm}": partial(trained, folder, *ARMS[arm], seed)
        for folder in options.campaign
        for seed in range(options.seeds)
        for arm in options.arms
    }
    done = do_pieces(options.out / "backward_trajectories.jsonl", tasks, options.minutes)
    pairs = {name.rsplit(maxsplit=1)[0] for name in done}
    found: dict[str, Any] = {}
    for measure in next(iter(done.values()), {}):
        rows = {
            arm: [
                done[f"{pair} {arm}"][measure] for pair in sorted(pairs) if f"{pair} {arm}" in done
            ]
            for arm in options.arms
        }
        found[measure] = {arm: interval(each)._asdict() for arm, each in rows.items()}
        text = [f"{interval(each).middle:10.3f}" for each in rows.values()]
        first = options.arms[0]
        for arm in options.arms[1:]:
            both = [
                done[f"{pair} {arm}"][measure] - done[f"{pair} {first}"][measure]
                for pair in sorted(pairs)
                if f"{pair} {arm}" in done and f"{pair} {first}" in done
            ]
            found[measure][f"{arm} - {first}"] = interval(both)._asdict()
            text.append(f"   {arm} - {first}: {interval(both)}")
        print(f"{measure:26}" + "".join(text))
    record = {"figures": found, "arms": ARMS}
    write_record(
        options.out / "backward_trajectories.json", record, options, time.perf_counter() - start
    )


if __name__ == "__main__":
    main()
