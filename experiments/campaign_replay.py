"""What choosing is worth, apart from sampling: campaigns replayed on recorded answers.

Whole campaigns take minutes each, and their differences are of the size of their spread over
seeds. So a pool of crystals drawn at random from the campaign's space is asked once, at every
fidelity; then strategies run on it many times, through an environment whose only crystals are the
pool's. Belief, worth, distrust, choice, prices and failures are those of `mfal discover` with its
defaults; the learning strategy takes random draws from the pool in place of the sampler's. The
truth is the conductivity oracle, the mean over three arrangements of atoms as in a campaign.

- learned: Sendek's probability, the barrier, the conductivity;
- contrary: the barrier's answers are turned round (5 eV minus the barrier), on all crystals;
- elsewhere: they are right on the known crystals and shuffled among the proposed ones, so that the
  oracle earns trust before it misleads;
- single: the conductivity alone; funnel and random: as `--strategy` has them.

The conductivity costs next to nothing beside finding the atoms, so that nothing cheaper pays. With
`--target-cost` it is priced as dearer oracles are (100 CPU s: molecular dynamics), which tells how
strategies would fare on a ladder of that shape.

    python experiments/campaign_replay.py [--size small | --size whole] [--target-cost 100]

Everything is resumable (`--minutes`).
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ranking import auc
from shared import do_pieces, interval, make_parser, parse, save_figure, subplots, write_record

from mfal.acquisition.chances import chance_of, fit_chance
from mfal.campaign.config import CampaignConfig
from mfal.campaign.ledger.book import Answer
from mfal.campaign.ledger.crystals import crystal_arrays, known_record, record_of
from mfal.campaign.ledger.records import CrystalRecord, Proposal, Query, realisation_seed
from mfal.campaign.problem import Problem, make_problem
from mfal.campaign.strategy.baselines import only_target
from mfal.campaign.strategy.informed import make_strategy
from mfal.campaign.strategy.named import named_strategy
from mfal.campaign.strategy.sampler import uniform_sampler
from mfal.campaign.strategy.types import Round, Strategy
from mfal.campaign.workers.atoms import realise_record
from mfal.envs import discrete_environment
from mfal.envs.random import sample_uniformly
from mfal.oracles.loading import ask_oracle
from mfal.oracles.types import Oracle

SIZES = {
    "small": {"pool": 96, "seeds": 2},
    "default": {"pool": 192, "seeds": 6},
    "whole": {"pool": 512, "seeds": 10},
}
DRAWS, DRAW_SEED = 1024, 987654
"""The pool is the beginning of one draw of so many crystals."""
DEFAULTS = CampaignConfig()
KNOWN = 2 * DEFAULTS.initial
VARIANTS = {
    "learned": ("honest", "uniform"),
    "contrary": ("contrary", "uniform"),
    "elsewhere": ("elsewhere", "uniform"),
    "single": ("honest", "single"),
    "funnel": ("honest", "funnel"),
    "random": ("honest", "random"),
}
"""What the barrier says, and who decides."""
PAIRS = (
    ("learned", "random"),
    ("learned", "funnel"),
    ("learned", "single"),
    ("single", "random"),
    ("contrary", "single"),
    ("elsewhere", "single"),
)
FIGURES = ("best", "mean of the 5 best", "mean of the 10 best")


# --- the pool -------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def problem() -> Problem:
    """The campaign's, by default."""
    return make_problem(DEFAULTS.space, DEFAULTS.oracles)


@lru_cache(maxsize=1)
def drawn() -> list[CrystalRecord]:
    """Random crystals of the space."""
    found = problem()
    key = jax.random.key(DRAW_SEED)
    states = jax.jit(lambda key: sample_uniformly(found.environment, key, DRAWS))(key)
    crystals = jax.tree.map(np.asarray, jax.jit(jax.vmap(found.to_crystal))(states))
    states = jax.tree.map(np.asarray, states)

    def one(i: int) -> CrystalRecord:
        state, crystal = jax.tree.map(lambda leaf: leaf[i], (states, crystals))
        return record_of(crystal, found.oxidation_states(state), "random")

    return [one(i) for i in range(DRAWS)]


@lru_cache(maxsize=1)
def known() -> list[tuple[CrystalRecord, Any]]:
    """Known crystals that campaigns begin with, with their atoms."""
    return [(known_record(s, name), s) for name, s in problem().known()[:KNOWN]]


def answers_about(structures: list[Any]) -> list[float | None]:
    """What each oracle says, as a campaign's worker sums it up; None where it fails."""
    found: list[float | None] = []
    for oracle in problem().oracles:
        said = [each for each in (ask_oracle(oracle, structures) if structures else []) if each.ok]
        values = [float(np.clip(each.value, *oracle.bounds)) for each in said]
        found.append(float(np.mean(values)) if values else None)
    return found


def asked_proposed(i: int) -> list[float | None]:
    """Of a drawn crystal."""
    record = drawn()[i]
    seed = realisation_seed(record.hash)
    return answers_about(realise_record(record, seed=seed, count=DEFAULTS.realisations)[0])


def asked_known(i: int) -> list[float | None]:
    """Of a known crystal."""
    return answers_about([known()[i][1]])


class World:
    """Recorded answers of one variant, and the problem whose only crystals have them."""

    def __init__(self, kind: str, proposed: list[Any], initial: list[Any], cost: float) -> None:
        oracles = problem().oracles
        records = drawn()[: len(proposed)]
        values, old = np.array(proposed, float), np.array(initial, float)
        if kind == "contrary":
            values[:, 1], old[:, 1] = (oracles[1].bounds[1] - v[:, 1] for v in (values, old))
        if kind == "elsewhere":
            there = np.flatnonzero(~np.isnan(values[:, 1]))
            moved = np.random.default_rng(0).permutation(there)
            values[there, 1] = values[moved, 1]
        if cost:
            dear = oracles[-1]._replace(cost=cost / DEFAULTS.realisations)
            oracles = (*oracles[:-1], dear)
        crystals = crystal_arrays(records)
        self.problem = problem()._replace(
            oracles=oracles,
            environment=pool_environment(len(records)),
            to_crystal=lambda state: jax.tree.map(lambda leaf: leaf[state], crystals),
            oxidation_states=lambda state: records[int(state)].oxidation_states,
        )
        names = [record.hash for record in records] + [r.hash for r, _ in known()]
        self.answers = dict(zip(names, np.concatenate([values, old]), strict=True))


def pool_environment(number: int) -> Any:
    """One action, which of the pool's crystals it is; the state is its place, -1 at the start."""
    import jax.numpy as jnp

    return discrete_environment(
        jnp.full((), -1, jnp.int32),
        action_mask=lambda state: jnp.full(number, state < 0),
        step=lambda state, k: k.astype(jnp.int32),
        parent_mask=lambda state: jnp.arange(number) == state,
        undo=lambda state, k: jnp.full((), -1, jnp.int32),
        max_steps=1,
    )


# --- campaigns ------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def world_of(kind: str, path: Path, cost: float) -> World:
    """Of the recorded answers."""
    return World(kind, *_RECORDED[path], cost)


_RECORDED: dict[Path, tuple[list[Any], list[Any]]] = {}


def strategy_of(name: str, world: World, config: CampaignConfig) -> Strategy:
    """The strategy of a name; a sampler has nothing to learn on a pool, so none is trained."""
    if name == "single":
        alone = world.problem._replace(oracles=world.problem.oracles[-1:])
        return only_target(world.problem, make_strategy(alone, config, sampler=uniform_sampler))
    return named_strategy(name, world.problem, config)


def campaign(variant: str, seed: int, path: Path, budget: float, cost: float) -> dict[str, Any]:
    """What one replayed campaign asked and found."""
    kind, name = VARIANTS[variant]
    world = world_of(kind, path, cost)
    config = replace(DEFAULTS, seed=seed, budget=budget, relax=False)
    strategy, target = strategy_of(name, world, config), len(world.problem.oracles) - 1
    answers: list[Answer] = []
    spent = 0.0
    for number in range(config.rounds + 1):
        left = config.budget - spent
        allowance = left / (config.rounds - number + 1) if number else left
        pairs = {(a.query.crystal.hash, a.query.fidelity) for a in answers}
        round_ = Round(
            number=number,
            rounds=config.rounds,
            answers=answers,
            pending=[],
            told=[],
            allowance=allowance,
            allowances=(np.inf,) * (target + 1),
            asked=lambda names, pairs=pairs: {p for p in pairs if p[0] in set(names)},  # type: ignore[misc]
            report_progress=lambda *_: None,
        )
        decision = strategy.propose(round_) if number else strategy.initial(round_)
        asked = {(p.crystal.hash, p.fidelity): p for p in decision.proposals}
        new = [p for pair, p in asked.items() if pair not in pairs]
        answers = answers + [answer(world, p, number) for p in new]
        spent += sum(p.cost for p in new) + decision.cost
    assert spent <= config.budget * (1 + 1e-6)
    later = [a for a in answers if a.query.round]
    at_target = [a for a in later if a.query.fidelity == target]
    found = sorted((a.value for a in at_target if a.value is not None), reverse=True)
    padded = np.array(found + [world.problem.oracles[-1].bounds[0]] * 10)
    return {
        FIGURES[0]: padded[0],
        FIGURES[1]: float(padded[:5].mean()),
        FIGURES[2]: float(padded[:10].mean()),
        "asked": np.bincount([a.query.fidelity for a in later], minlength=3).tolist(),
        "answered": len(found),
        "target": len(at_target),
        "spent": spent,
    }


def answer(world: World, asked: Proposal, number: int) -> Answer:
    """The recorded one."""
    value = float(world.answers[asked.crystal.hash][asked.fidelity])
    failed = bool(np.isnan(value))
    query = Query(
        0, "campaign", number, asked.crystal, asked.fidelity, asked.oracle, asked.oracle_version,
        asked.cost, asked.structures, 0, asked.predicted, asked.parents,
    )  # fmt: skip
    detail = {"status": "failed: as recorded" if failed else "ok"}
    kind, said = ("failed", None) if failed else ("observed", value)
    return Answer(query, kind, said, None, 0.0, detail)


# --- figures --------------------------------------------------------------------------------------


def pool_worth(proposed: list[Any], oracles: tuple[Oracle, ...]) -> list[str]:
    """What the pool itself says of the oracles, in words."""
    from scipy.stats import spearmanr

    values = np.array(proposed, float)
    target = values[:, -1]
    lines = [
        f"pool: {len(values)} random crystals, {np.mean(~np.isnan(target)):.0%} answered;"
        f" quantiles .5, .9, 1: {np.nanquantile(target, [0.5, 0.9, 1.0]).round(2).tolist()}"
    ]
    for m, oracle in enumerate(oracles[:-1]):
        both = np.flatnonzero(~np.isnan(values[:, [m, -1]]).any(axis=1))
        sign = 1.0 if oracle.higher_is_better else -1.0
        rho = interval(
            both.tolist(),
            lambda rows, m=m, sign=sign: float(spearmanr(sign * values[rows, m], target[rows])[0]),  # type: ignore[misc]
        )
        lines.append(f"{oracle.name} against {oracles[-1].name}: rho {rho} ({len(both)} crystals)")
    for labels in (40, 200):
        if labels < len(values) / 2:
            found = interval(chance_worth(~np.isnan(target), labels))
            lines.append(f"chance of an answer from {labels} labels, on the others: AUC {found}")
    return lines


def chance_worth(answered: np.ndarray, labels: int) -> list[float]:
    """AUC of the learnt chance of an answer on the rest of the pool, for ten draws of labels."""
    space, crystals = (
        crystal_arrays(records) for records in (drawn()[-256:], drawn()[: len(answered)])
    )
    chance = jax.jit(jax.vmap(chance_of, in_axes=(None, 0)))
    found = []
    for seed in range(10):
        taught = np.zeros(len(answered), bool)
        taught[np.random.default_rng(seed).permutation(len(answered))[:labels]] = True
        params = fit_chance(space, crystals, answered.astype(np.float32), taught)
        found.append(auc(np.asarray(chance(params, crystals))[~taught], answered[~taught]))
    return found


def show(found: dict[str, dict[int, Any]]) -> dict[str, Any]:
    """Prints the table and returns it."""
    print(f"\n{'log10 S/cm':26s}{'seeds':>6s}" + "".join(f"{name:>24s}" for name in FIGURES))
    table: dict[str, Any] = {}
    for name, by_seed in found.items():
        cells = [interval([piece[f] for piece in by_seed.values()]) for f in FIGURES]
        table[name] = dict(zip(FIGURES, cells, strict=True))
        asked = np.mean([piece["asked"] for piece in by_seed.values()], axis=0).round(1)
        share = sum(p["answered"] for p in by_seed.values()) / sum(
            p["target"] for p in by_seed.values()
        )
        cells_text = "".join(f"{cell!s:>24s}" for cell in cells)
        spent = f"asked {asked.tolist()}, {share:.0%} of the target's answered"
        print(f"{name:26s}{len(by_seed):6d}{cells_text}  {spent}")
    return table


def conclude(found: dict[str, dict[int, Any]]) -> list[str]:
    """Paired differences in words."""
    lines = []
    for one, other in PAIRS:
        seeds = sorted(found.get(one, {}).keys() & found.get(other, {}).keys())
        if len(seeds) < 2:
            continue
        for figure in FIGURES:
            change = interval([found[one][s][figure] - found[other][s][figure] for s in seeds])
            verb = "is not told apart from"
            if change.low > 0 or change.high < 0:
                verb = "beats" if change.low > 0 else "loses to"
            lines.append(f"{one} {verb} {other} by the {figure}: {change} ({len(seeds)} seeds)")
    return lines


def draw_figure(found: dict[str, dict[int, Any]], path: Path) -> None:
    """Every campaign a dot."""
    whole, axes = subplots(2, (9, 3.2))
    axes[1].sharey(axes[0])
    axes[1].tick_params(labelleft=False)
    for axis, figure in zip(axes, FIGURES[:2], strict=True):
        for row, by_seed in enumerate(found.values()):
            values = [piece[figure] for piece in by_seed.values()]
            axis.plot(values, [row] * len(values), "o", color="C0", alpha=0.4)
            axis.plot(np.mean(values), row, "|", color="k", markersize=14)
        axis.set(yticks=range(len(found)), yticklabels=list(found), xlabel=f"{figure}, log10 S/cm")
    axes[0].invert_yaxis()
    save_figure(whole, path)


def main() -> None:
    """Ask the pool, replay all campaigns, then print, write and plot."""
    parser = make_parser(__doc__, SIZES)
    parser.add_argument("--pool", type=int, help="random crystals to ask about")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--budget", type=float, default=DEFAULTS.budget, help="CPU seconds")
    parser.add_argument(
        "--target-cost", type=float, default=0.0, help="CPU seconds of the target's answer, made up"
    )
    options = parse(parser, SIZES)
    start = time.time()
    ask_all: dict[str, Callable[[], Any]] = {
        f"known {i}": partial(asked_known, i) for i in range(len(known()))
    }
    ask_all |= {f"drawn {i}": partial(asked_proposed, i) for i in range(options.pool)}
    path = options.out / "campaign_replay_pool.jsonl"
    pool = do_pieces(path, ask_all, options.minutes)
    if len(pool) < len(ask_all):
        return
    proposed = [pool[f"drawn {i}"] for i in range(options.pool)]
    _RECORDED[path] = (proposed, [pool[f"known {i}"] for i in range(len(known()))])
    tasks = {
        f"{seed} {variant}": partial(
            campaign, variant, seed, path, options.budget, options.target_cost
        )
        for seed in range(options.seeds)
        for variant in VARIANTS
    }
    name = f"{options.pool}_{options.budget:g}_{options.target_cost:g}"
    left = None if options.minutes is None else options.minutes - (time.time() - start) / 60
    pieces = do_pieces(options.out / f"campaign_replay_{name}.jsonl", tasks, left)
    found: dict[str, dict[int, Any]] = {name: {} for name in VARIANTS}
    for each, piece in pieces.items():
        seed, variant = each.split(" ", 1)
        found[variant][int(seed)] = piece
    found = {name: by_seed for name, by_seed in found.items() if by_seed}
    said = pool_worth(proposed, problem().oracles)
    print("\n".join(said))
    table = show(found)
    lines = conclude(found)
    print("\n" + "\n".join(lines))
    print(
        "What would overturn this: a larger pool (the best of this one are soon found), a sampler\n"
        "in place of the random draws, another target oracle, cheap oracles of other costs."
    )
    write_record(
        options.out / "campaign_replay.json",
        {"pool": said, "table": table, "conclusions": lines, "campaigns": pieces},
        options,
        time.time() - start,
    )
    draw_figure(found, options.out / "campaign_replay.png")


if __name__ == "__main__":
    main()
