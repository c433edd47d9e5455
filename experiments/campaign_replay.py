"""What choosing is worth, apart from sampling: campaigns replayed on recorded answers.

Whole campaigns take minutes each, and their differences are of the size of their spread over
seeds. So a pool of crystals drawn at random from the campaign's space is asked once, at every
fidelity; then the campaign's own strategy runs on it many times, with random draws from the pool in
place of the sampler's. Fit, guard, choice of the target's queries and of those for information,
costs and failures are those of `mfal discover` with its defaults. The truth is the conductivity
oracle, the mean over three arrangements of atoms as in a campaign.

- multi-fidelity: Sendek's probability, the barrier, the conductivity; with and without the guard;
- contrary: the barrier's answers are turned round (5 eV minus the barrier), on all crystals;
- elsewhere: they are right on the known crystals and shuffled among the proposed ones, so that the
  oracle earns trust before it misleads;
- single-fidelity: the conductivity alone;
- random: the same budget, each query at the target fidelity, after the same initial data.

    python experiments/campaign_replay.py [--size small | --size whole]

Everything is resumable (`--minutes`).
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
from ranking import auc
from shared import do_pieces, interval, make_parser, parse, save_figure, subplots, write_record

from mfal.acquisition.success import chance_of_answer, fit_success
from mfal.campaign.config import CampaignConfig
from mfal.campaign.ledger.book import Answer
from mfal.campaign.ledger.crystals import crystal_arrays, known_record, record_of
from mfal.campaign.ledger.records import CrystalRecord, Proposal, Query, realisation_seed
from mfal.campaign.problem import Problem, make_problem
from mfal.campaign.strategy.learned import Learned
from mfal.campaign.strategy.learner import Draws
from mfal.campaign.strategy.types import Round
from mfal.campaign.workers.atoms import realise_record
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
    "multi-fidelity": ("honest", True),
    "multi-fidelity, no guard": ("honest", False),
    "contrary": ("contrary", True),
    "contrary, no guard": ("contrary", False),
    "elsewhere": ("elsewhere", True),
    "elsewhere, no guard": ("elsewhere", False),
    "single-fidelity": ("target alone", True),
    "random": ("honest", True),
}
PAIRS = (
    ("multi-fidelity", "random"),
    ("single-fidelity", "random"),
    ("multi-fidelity", "single-fidelity"),
    ("multi-fidelity", "multi-fidelity, no guard"),
    ("contrary", "contrary, no guard"),
    ("contrary", "single-fidelity"),
    ("elsewhere", "elsewhere, no guard"),
    ("elsewhere", "single-fidelity"),
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
    """Recorded answers of one variant, and the oracles that they stand for."""

    def __init__(self, kind: str, proposed: list[Any], initial: list[Any]) -> None:
        oracles = problem().oracles
        self.records = drawn()[: len(proposed)]
        self.crystals = crystal_arrays(self.records)
        values, old = np.array(proposed, float), np.array(initial, float)
        if kind == "contrary":
            values[:, 1], old[:, 1] = (oracles[1].bounds[1] - v[:, 1] for v in (values, old))
        if kind == "elsewhere":
            there = np.flatnonzero(~np.isnan(values[:, 1]))
            moved = np.random.default_rng(0).permutation(there)
            values[there, 1] = values[moved, 1]
        if kind == "target alone":
            values, old = values[:, -1:], old[:, -1:]
            oracles = (oracles[-1]._replace(fidelity=0),)
        self.problem = problem()._replace(oracles=oracles)
        names = [record.hash for record in self.records] + [r.hash for r, _ in known()]
        self.answers = dict(zip(names, np.concatenate([values, old]), strict=True))


# --- campaigns ------------------------------------------------------------------------------------


class Replayed(Learned):
    """The campaign's strategy, whose sampler draws from the pool at random."""

    def __init__(self, world: World, config: CampaignConfig) -> None:
        super().__init__(world.problem, config)
        self.world = world

    def train(self, round_: Round, belief: Any, key: jax.Array) -> Draws:
        """Random crystals of the pool at random fidelities."""
        rng = np.random.default_rng(int(jax.random.randint(key, (), 0, 2**31 - 1)))
        number = min(self.config.sampler.samples, len(self.world.records))
        self.drawn = rng.permutation(len(self.world.records))[:number]
        crystal = jax.tree.map(lambda leaf: leaf[self.drawn], self.world.crystals)
        nothing = SimpleNamespace(loss=np.zeros(20), log_z=np.zeros(1))
        levels = rng.integers(0, self.target + 1, number).astype(np.int32)
        return Draws(None, crystal, levels, nothing)  # type: ignore[arg-type]

    def records(self, states: Any, crystals: Any, source: str) -> list[CrystalRecord]:
        """Those of the pool."""
        return [self.world.records[i] for i in self.drawn]


@lru_cache(maxsize=4)
def world_of(kind: str, path: Path) -> World:
    """Of the recorded answers."""
    return World(kind, *_RECORDED[path])


_RECORDED: dict[Path, tuple[list[Any], list[Any]]] = {}


def campaign(variant: str, seed: int, path: Path) -> dict[str, Any]:
    """What one replayed campaign asked and found."""
    kind, guarded = VARIANTS[variant]
    world = world_of(kind, path)
    config = replace(DEFAULTS, seed=seed, guard=guarded)
    strategy = Replayed(world, config)
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
            allowances=(np.inf,) * (strategy.target + 1),
            asked=lambda names, pairs=pairs: {p for p in pairs if p[0] in set(names)},  # type: ignore[misc]
            report_progress=lambda *_: None,
        )
        if number == 0:
            proposals = strategy.initial(round_).proposals
        elif variant == "random":
            proposals = at_random(strategy, allowance, number, pairs)
        else:
            proposals = strategy.propose(round_).proposals
        answers = answers + [answer(world, p, number) for p in proposals]
        spent += sum(p.cost for p in proposals)
    assert spent <= config.budget * (1 + 1e-9)
    later = [a for a in answers if a.query.round]
    target = [a for a in later if a.query.fidelity == strategy.target]
    found = sorted((a.value for a in target if a.value is not None), reverse=True)
    padded = np.array(found + [world.problem.oracles[-1].bounds[0]] * 10)
    return {
        FIGURES[0]: padded[0],
        FIGURES[1]: float(padded[:5].mean()),
        FIGURES[2]: float(padded[:10].mean()),
        "asked": np.bincount([a.query.fidelity for a in later], minlength=3).tolist(),
        "answered": len(found),
        "target": len(target),
    }


def at_random(
    strategy: Replayed, allowance: float, number: int, pairs: set[tuple[str, int]]
) -> list[Proposal]:
    """The random search's queries in one round: crystals not asked before, all of the target."""
    key = jax.random.fold_in(strategy.key, number)
    strategy.train(None, None, key)  # type: ignore[arg-type]
    fresh = [r for r in strategy.records(None, None, "") if (r.hash, strategy.target) not in pairs]
    count = int(allowance / strategy.costs[-1] + 1e-6)
    copies = strategy.config.realisations
    return [strategy.proposal(each, strategy.target, copies, {}) for each in fresh[:count]]


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
    chance = jax.jit(jax.vmap(chance_of_answer, in_axes=(None, 0)))
    found = []
    for seed in range(10):
        taught = np.zeros(len(answered), bool)
        taught[np.random.default_rng(seed).permutation(len(answered))[:labels]] = True
        params = fit_success(space, crystals, answered.astype(np.float32), taught)
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
        f"{seed} {variant}": partial(campaign, variant, seed, path)
        for seed in range(options.seeds)
        for variant in VARIANTS
    }
    left = None if options.minutes is None else options.minutes - (time.time() - start) / 60
    pieces = do_pieces(options.out / f"campaign_replay_{options.pool}.jsonl", tasks, left)
    found: dict[str, dict[int, Any]] = {name: {} for name in VARIANTS}
    for name, piece in pieces.items():
        seed, variant = name.split(" ", 1)
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
