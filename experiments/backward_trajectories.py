"""Does the sampler learn more where some of its trajectories lead to crystals that exist?

The GFlowNet of a finished campaign's next round is trained with and without a share of each batch
that is drawn backward, from exchanges in known crystals and from relaxed candidates that are new
and near the hull: a terminal state in proportion to its reward, a trajectory that leads there by
the backward policy. The loss is trajectory balance either way, so
that what is learnt in the end is the same; the question is what is learnt in a few hundred steps.

Two more arms train for twice as long, and for a sharper reward (whose bound compares with nothing).

Judged on what each sampler then draws, without relaxing anything: mean worth of asking (against the
reward's scale), of all and of the twenty best, mean chance of being new and near the hull, shares
with a precedent, distinct formulas in groups, the same among what is worth twice the scale, and the
evidence lower bound, which is log Z less the divergence from the aimed-at distribution. Differences
are paired by campaign and seed; intervals are 90 %, by bootstrap over the pairs.

    python experiments/backward_trajectories.py --campaign DIR [DIR ...]

Each trained sampler is a line of results/backward_trajectories.jsonl as soon as it is done.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from generation_quality import round_after
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
from mfal.campaign.strategy.sampler import Draws, Sampler, train_config
from mfal.envs.crystal import from_crystal
from mfal.envs.fidelity import FidelityState, with_fidelity
from mfal.envs.random import log_density
from mfal.errors import MfalError
from mfal.gflownet import DataSet, make_trainer
from mfal.gflownet.train import Trainer


class Arm(NamedTuple):
    """How a sampler is trained."""

    share: float = 0.0
    """Of each batch drawn backward."""
    steps: int = 300
    sharpness: float = 2.0


ARMS = {
    "now": Arm(),
    "quarter": Arm(share=0.25),
    "half": Arm(share=0.5),
    "longer": Arm(steps=600),
    "sharper": Arm(sharpness=4.0),
}
SAMPLES = 512  # as in a campaign
BEST = 20  # of different formulas or groups, about as many as a round may ask
WORTHY = 2.0  # times the reward's scale
QUANTILE = 0.95  # of the worth of uniformly drawn crystals: the reward's scale, as in campaigns


class Campaigns(NamedTuple):
    """What the samplers of finished campaigns' next rounds are made of."""

    problem: Problem
    config: CampaignConfig
    worth: Any
    aims: list[Any]
    """What the worth depends on, of each campaign."""


def rebuilt(folders: Sequence[Path]) -> Campaigns:
    """From the ledgers of campaigns with one configuration, but for the seed."""
    seen: list[Any] = []

    def watching(problem: Problem, _: Any, worth: Any) -> Sampler:
        def draw(aim: Any, *_: Any) -> Draws:
            seen.append((worth, aim))
            return Draws([], np.zeros(0, int), {})

        return Sampler(draw, 0.0)

    strategy = None
    for folder in folders:
        with read_campaign(folder) as ledger:
            config = stored_config(ledger)
            answers = ledger.answers(CAMPAIGN, limit=config.proxy.capacity)
        problem = make_problem(config.space, config.oracles)
        strategy = strategy or make_strategy(
            problem, config, sampler=watching, choose=lambda *_, **__: []
        )
        strategy.propose(round_after(problem, config.rounds + 1, answers))
    return Campaigns(problem, config, seen[0][0], [aim for _, aim in seen])


def existing(made: Campaigns) -> Any:
    """Terminal states of crystals that may well exist, [N]: exchanged ones and relaxed ones."""
    spec = make_spec(made.config.space)
    past = past_experience(made.problem, made.config)
    met, told = past.labels(made.config.stability.max_hull_distance)
    relaxed = jax.tree.map(lambda leaf: leaf[(met > 0) & told], past.crystal)
    exchanged = crystal_arrays(list(exchanged_crystals(made.problem, made.config.space)))
    both = jax.tree.map(lambda *leaves: np.concatenate(leaves), relaxed, exchanged)
    states = []
    for number in range(len(both.space_group_number)):
        try:
            states.append(from_crystal(spec, jax.tree.map(lambda leaf, at=number: leaf[at], both)))
        except MfalError:  # a cell that the space doesn't hold
            continue
    return jax.tree.map(lambda *leaves: np.stack(leaves), *states)


def make_trainers(made: Campaigns) -> dict[str, Trainer]:
    """A campaign's trainer, and those with a share of each batch drawn backward."""
    problem, sizes = made.problem, made.config.sampler
    levels, environment = len(problem.oracles), problem.environment
    assert environment is not None

    def log_reward(params: Any, state: FidelityState) -> jax.Array:
        reward, aim = params
        value = made.worth(aim, problem.to_crystal(state.inner))
        chosen = jnp.sum(jnp.where(jnp.arange(levels) == state.fidelity, value, 0.0))
        return bounded_log_reward(reward, chosen) + log_density(environment, state.inner)

    return {
        arm: make_trainer(
            with_fidelity(environment, levels),
            log_reward,
            replace(train_config(sizes), data_share=share),
        )
        for arm, (share, _, _) in ARMS.items()
    }


def judged(made: Campaigns, trainers: dict[str, Trainer], exist: Any) -> Any:
    """(aim, arm, seed) to what a sampler that is trained so draws."""
    problem, levels = made.problem, len(made.problem.oracles)
    worths = jax.jit(jax.vmap(made.worth, in_axes=(None, 0)))
    to_crystals = jax.jit(jax.vmap(problem.to_crystal))
    chances = jax.jit(jax.vmap(chance_of, in_axes=(None, 0)))
    precedents = jax.jit(jax.vmap(precedent_of, in_axes=(None, 0)))
    number = len(jax.tree.leaves(exist)[0])

    def one(aim: Any, arm: str, seed: int) -> dict[str, Any]:
        key_space, key_init, key_sample = jax.random.split(jax.random.key(seed), 3)
        space = to_crystals(uniform_states(problem)(key_space, BUCKET))
        scale = float(np.quantile(np.max(np.asarray(worths(aim, space)), axis=1), QUANTILE))
        share, steps, sharpness = ARMS[arm]
        reward = default_reward(scale, sharpness)
        fidelity = np.repeat(np.arange(levels, dtype=np.int32), number)
        inner = jax.tree.map(lambda leaf: np.concatenate([leaf] * levels), exist)
        value = np.asarray(worths(aim, to_crystals(exist))).T.ravel()
        weight = np.exp(jax.vmap(bounded_log_reward, in_axes=(None, 0))(reward, value))
        trainer = trainers[arm]

        def train(steps: int) -> Any:
            data = DataSet(FidelityState(inner, fidelity), weight)
            state = trainer.init(key_init, data if share else None)
            return jax.block_until_ready(trainer.run(state, (reward, aim), steps, bar=False))

        train(1)  # compiles
        start = time.process_time()
        state, metrics = train(steps)
        seconds = time.process_time() - start
        drawn = trainer.sample(state, (reward, aim), key_sample, SAMPLES)
        crystals = to_crystals(drawn.states.inner)
        value = np.asarray(worths(aim, crystals))
        value = value[np.arange(SAMPLES), np.asarray(drawn.states.fidelity)]
        precedent = np.asarray(precedents(aim.stability.precedents, crystals))
        kinds = np.column_stack(
            [np.asarray(crystals.composition), np.asarray(crystals.space_group_number)]
        )
        _, first = np.unique(kinds, axis=0, return_index=True)
        best = value > WORTHY * scale
        bound = drawn.log_reward + drawn.log_pb - drawn.log_pf
        return {
            "CPU s": seconds,
            "worth": float(np.mean(value) / scale),
            "worth of the best": float(np.mean(np.sort(value[first])[-BEST:]) / scale),
            "chance": float(jnp.mean(chances(aim.stability, crystals))),
            "known": float(precedent[:, 0].mean()),
            "exchanged": float(precedent[:, 1].mean()),
            "formula of either": float(precedent[:, 2].mean()),
            "formulas and groups": len(first),
            "worthy": float(best.mean()),
            "of these formulas, groups": len(np.unique(kinds[best], axis=0)),
            "bound": float(jnp.mean(bound)),
            "log Z": float(metrics.log_z[-1]),
            "loss": float(jnp.mean((metrics.log_z[-1] - bound) ** 2)),
        }

    return one


def main() -> None:
    """Train, compare, print."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--campaign", type=Path, nargs="+", required=True, metavar="DIR")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    options = parser.parse_args()
    start = time.perf_counter()
    made = rebuilt(options.campaign)
    one = judged(made, make_trainers(made), existing(made))
    tasks = {
        f"{folder.name} {seed} {arm}": partial(one, aim, arm, seed)
        for seed in range(options.seeds)
        for folder, aim in zip(options.campaign, made.aims, strict=True)
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
