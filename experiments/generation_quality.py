"""How good are generated crystals, by the measures by which generators are judged?

Crystals from six sources, each given its atoms and relaxed as a campaign does it (CHGNet, the
lowest of two arrangements):

- random: legal actions of the environment at random, as the random search draws;
- exchanged: ions exchanged in known crystals, the likeliest first, as campaigns look at beside what
  is sampled; there may be fewer than asked for;
- sampler: the GFlowNet, trained as in the last round of a finished campaign;
- metropolis, genetic: searches for the same reward, which they evaluate as often as its training
  does; of the chains their last places, of all generations the best;
- campaign: what finished campaigns proposed, with the relaxations in their ledgers.

A crystal is *valid* where atoms were found and their relaxation came to rest; *unique* where it
matches none before it from its source; *novel* where it matches no known crystal
(`mfal.data.known_crystals`); *stable* at a hull distance of 0 eV per atom or less, *metastable* up
to .1. S.U.N. and M.S.U.N. are the shares that are stable or metastable, unique and novel at once,
*near* that within .025. *Conducting* is what of M.S.U.N. has more than 1e-4 S/cm by the
conductivity oracle, the target of a campaign; *formulas* how many different ones M.S.U.N. has for
each crystal drawn. All shares are of all crystals drawn. Intervals are 90 %, by bootstrap over
crystals.

The hull is that of the embedded competing phases, by CHGNet: smaller than the hulls by which the
published figures were found, so that ours flatter. Theirs are printed beside, for orientation.

    python experiments/generation_quality.py --campaign mfal-campaign [--count 1000]

Each crystal is a line of results/generation_quality.jsonl as soon as it is done: a stopped run goes
on where it was.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import searches
from shared import do_pieces, interval, make_parser, write_record

from mfal.acquisition import RewardParams, bounded_log_reward, default_reward
from mfal.campaign.config import CampaignConfig, SamplerConfig
from mfal.campaign.folder import CAMPAIGN, read_campaign, stored_config
from mfal.campaign.ledger.book import Answer
from mfal.campaign.ledger.crystals import structure_of
from mfal.campaign.ledger.records import CrystalRecord, realisation_seed
from mfal.campaign.problem import Problem, make_problem
from mfal.campaign.strategy.belief import BUCKET
from mfal.campaign.strategy.exchanges import exchanged_crystals
from mfal.campaign.strategy.informed import make_strategy
from mfal.campaign.strategy.questions import records_of, uniform_records, uniform_states
from mfal.campaign.strategy.sampler import (
    ANY,
    Draws,
    MakeSampler,
    Sampler,
    WorthOf,
    gflownet_sampler,
)
from mfal.campaign.strategy.types import Round
from mfal.campaign.workers.atoms import candidate_atoms
from mfal.crystals.matching import same_crystal
from mfal.errors import MfalError
from mfal.oracles import conductivity_oracle
from mfal.oracles.stability import hull_distance

COUNT = 1000
METASTABLE = 0.1  # eV per atom
SEARCHES = {"metropolis": searches.metropolis, "genetic": searches.genetic}
SOURCES = ("random", "exchanged", "sampler", *SEARCHES, "campaign")
LEARNT = ("sampler", *SEARCHES, "campaign")  # of a finished campaign
DRAWS = 256  # crystals of a source drawn in one dispatch
PUBLISHED = {  # M.S.U.N. of generators trained on MP-20, LeMat-GenBench, arXiv 2512.04562
    "Crystalite": 0.226,
    "Chemeleon2": 0.212,
    "OMatG": 0.180,
    "MatterGen": 0.150,
    "DiffCSP": 0.085,
}
PUBLISHED_STABLE = (0.001, 0.015)  # range of their S.U.N.
NEAR = 0.025  # eV per atom
FAST = -4.0  # log10 S/cm
MEASURES = ("valid", "unique", "novel", "stable", "metastable", "sun", "near", "msun", "conducting")


# --- sources --------------------------------------------------------------------------------------


def random_crystals(config: CampaignConfig, count: int) -> list[CrystalRecord]:
    """Draws by random legal actions."""
    problem = make_problem(config.space, config.oracles)
    records: list[CrystalRecord] = []
    for number in range(-(-count // DRAWS)):
        records += uniform_records(problem, jax.random.key(number), DRAWS)
    return records[:count]


def sampled_crystals(
    folder: Path, count: int, make: MakeSampler = gflownet_sampler
) -> list[CrystalRecord]:
    """Draws by what a finished campaign had learnt when it ended, of the GFlowNet by default."""
    with read_campaign(folder) as ledger:
        config = stored_config(ledger)
        answers = ledger.answers(CAMPAIGN, limit=config.proxy.capacity)
    records: list[CrystalRecord] = []

    def watched(*parts: Any) -> Sampler:
        sampler = make(*parts)

        def draw(*given: Any) -> Draws:
            draws = sampler.draw(*given)
            records.extend(draws.records)
            return draws

        return Sampler(draw, sampler.cost)

    problem = make_problem(config.space, config.oracles)
    strategy = make_strategy(problem, config, sampler=watched, choose=lambda *_, **__: [])
    number = config.rounds + 1
    while len(records) < count:
        # Each sampler is trained afresh, as in a campaign.
        strategy.propose(round_after(problem, number, answers))
        number += 1
    return records[:count]


def searcher(
    search: Callable[..., searches.Visited], problem: Problem, config: SamplerConfig, worth: WorthOf
) -> Sampler:
    """A search for the crystals that a question at their best fidelity is worth most about.

    The weight is that of `gflownet_sampler`, which is likewise relative to random draws.
    """
    environment = problem.environment
    worths = jax.jit(jax.vmap(worth, in_axes=(None, 0)))
    to_crystals = jax.jit(jax.vmap(problem.to_crystal))

    def log_weight(params: tuple[RewardParams, Any], state: Any) -> jax.Array:
        crystal = problem.to_crystal(state)
        found = bounded_log_reward(params[0], jnp.max(worth(params[1], crystal)))
        return found + jnp.where(problem.allowed(crystal), 0.0, -10.0)

    @jax.jit
    def run(params: Any, key: jax.Array) -> searches.Visited:
        return search(environment, log_weight, params, key, config.batch, config.steps)

    def draw(aim: Any, key: jax.Array, round_: Round) -> Draws:
        key_space, key_run = jax.random.split(key)
        space = to_crystals(uniform_states(problem)(key_space, BUCKET))
        highest = np.max(np.asarray(worths(aim, space)), axis=1)
        params = default_reward(float(np.quantile(highest, 0.95)), config.sharpness), aim
        visited = run(params, key_run)
        if search is searches.metropolis:
            states = jax.tree.map(lambda leaf: leaf[-1], visited.states)
        else:
            _, first = np.unique(np.asarray(visited.log_weight).ravel(), return_index=True)
            best = first[::-1][: config.batch]
            states = jax.tree.map(
                lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[best], visited.states
            )
        _, records = records_of(problem, states, "sampled")
        return Draws(records, np.full(len(records), ANY), {})

    return Sampler(draw, 0.0)


def round_after(problem: Problem, number: int, answers: list[Answer]) -> Round:
    """A round that a finished campaign might have gone on with; it isn't the last."""
    return Round(
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


def proposed_crystals(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """What became of every crystal that campaigns proposed, from their ledgers."""
    found: dict[str, dict[str, Any]] = {}
    for folder in folders:
        with read_campaign(folder) as ledger:
            for answer in ledger.answers(CAMPAIGN):
                if answer.query.crystal.structure is None:
                    name = f"{folder} {answer.query.crystal.hash}"
                    found.setdefault(name, kept(answer.query.crystal, answer.detail))
    return list(found.values())


# --- one crystal ----------------------------------------------------------------------------------


def judge(record: CrystalRecord, known: tuple[str, ...]) -> dict[str, Any]:
    """What becomes of a crystal."""
    seed = realisation_seed(record.hash)
    try:
        _, detail = candidate_atoms(
            record, seed=seed, count=CampaignConfig().realisations, known=known
        )
    except MfalError as error:
        detail = {"reason": str(error)}
    return kept(record, detail)


def kept(record: CrystalRecord, detail: Mapping[str, Any]) -> dict[str, Any]:
    """What the figures need of an answer's detail."""
    relaxation = detail.get("relaxation") or {}
    statuses = relaxation.get("statuses", [])
    return {
        "formula": record.formula,
        "crystal": [record.composition, record.space_group, record.lattice],
        "valid": statuses[relaxation["lowest"]] == "converged" if statuses else False,
        "known_as": detail.get("known_as", ""),
        "energy": relaxation.get("energy_ev_per_atom"),
        "shift": relaxation.get("shift_angstrom"),
        "volume_change": relaxation.get("volume_change"),
        "survived": relaxation.get("survived"),
        "arrangement": detail.get("arrangement"),
    }


# --- figures --------------------------------------------------------------------------------------


def unique(rows: Iterable[Mapping[str, Any]]) -> list[bool]:
    """Of each row whether its crystal is valid and matches none before it."""
    seen: dict[str, list[Any]] = defaultdict(list)
    found = []
    for row in rows:
        if not row["valid"]:
            found.append(False)
            continue
        structure = structure_of(row["arrangement"])
        fresh = not any(same_crystal(structure, other) for other in seen[row["formula"]])
        if fresh:
            seen[row["formula"]].append(structure)
        found.append(fresh)
    return found


def place(row: Mapping[str, Any]) -> tuple[float, bool]:
    """Hull distance, eV per atom, and whether all phases that the hull needs are at hand.

    On the hull that is embedded today, whenever the crystal was relaxed.
    """
    if row["energy"] is None:
        return math.nan, False
    found = hull_distance(row["energy"], row["crystal"][0])
    return found.distance, found.bounded


def target_values(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """[N], log10 S/cm by the conductivity oracle; NaN where it has no answer or nothing to ask."""
    found, oracle = np.full(len(rows), np.nan), conductivity_oracle()
    for place, row in enumerate(rows):
        if row["valid"]:
            found[place] = oracle.evaluate([structure_of(row["arrangement"])])[0].value
    return found


def verdicts(rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Of each measure whether each row meets it, [N] bool."""
    valid = np.array([row["valid"] for row in rows], bool)
    distance = np.array([place(row)[0] for row in rows])
    alone = np.array(unique(rows), bool)
    novel = valid & np.array([not row["known_as"] for row in rows], bool)
    stable, metastable = valid & (distance <= 0), valid & (distance <= METASTABLE)
    fresh = alone & novel
    return {
        "valid": valid,
        "unique": alone,
        "novel": novel,
        "stable": stable,
        "metastable": metastable,
        "sun": stable & fresh,
        "near": fresh & (distance <= NEAR),
        "msun": metastable & fresh,
        "conducting": metastable & fresh & (target_values(rows) > FAST),
    }


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All shares of one source with their intervals, and what relaxing did."""
    met = verdicts(rows)
    shifts = [row["shift"] for row in rows if row["valid"]]
    changes = [abs(row["volume_change"]) for row in rows if row["valid"]]
    return {
        "crystals": len(rows),
        **{name: interval(met[name].astype(float).tolist())._asdict() for name in MEASURES},
        "formulas": len({row["formula"] for row, new in zip(rows, met["msun"], strict=True) if new})
        / len(rows),
        "shift": interval(shifts)._asdict(),
        "volume_change": interval(changes)._asdict(),
        "survived": interval([float(r["survived"]) for r in rows if r["valid"]])._asdict(),
        "unbounded": interval([float(not place(r)[1]) for r in rows if r["valid"]])._asdict(),
    }


def print_table(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Sources side by side, the published figures below."""
    names = (*MEASURES, "shift", "volume_change", "survived", "unbounded")
    print(f"{'':14}" + "".join(f"{name:>24}" for name in found))
    for name in ("crystals", "formulas"):
        print(f"{name:14}" + "".join(f"{row[name]:>24.4g}" for row in found.values()))
    for name in names:
        cells = []
        for row in found.values():
            middle, low, high = row[name].values()
            cells.append(f"{middle:.3f} [{low:.3f}, {high:.3f}]")
        print(f"{name:14}" + "".join(f"{cell:>24}" for cell in cells))
    print("\nM.S.U.N. of generators on MP-20, by another hull (arXiv 2512.04562):")
    print("  " + ", ".join(f"{name} {share:.3f}" for name, share in PUBLISHED.items()))
    print("  their S.U.N.: {} to {}".format(*PUBLISHED_STABLE))


def main() -> None:
    """Draw, judge, print."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--campaign", type=Path, nargs="*", default=[], metavar="DIR")
    parser.add_argument("--count", type=int, default=COUNT, help="crystals of each source")
    parser.add_argument("--sources", nargs="+", default=SOURCES, choices=SOURCES)
    parser.add_argument("--known", nargs="*", default=[], help="more tables of known crystals")
    options = parser.parse_args()
    start, known = time.perf_counter(), tuple(options.known)
    config = CampaignConfig()
    problem = make_problem(config.space, config.oracles)
    draw: dict[str, Callable[[], list[CrystalRecord]]] = {
        "random": lambda: random_crystals(config, options.count),
        "exchanged": lambda: list(exchanged_crystals(problem, config.space))[: options.count],
    }
    makers = {"sampler": gflownet_sampler} | {
        name: partial(searcher, search) for name, search in SEARCHES.items()
    }
    for name, make in makers.items() if options.campaign else ():
        draw[name] = partial(sampled_crystals, options.campaign[0], options.count, make)
    names = [name for name in options.sources if options.campaign or name not in LEARNT]
    drawn = {name: draw[name]() for name in names if name in draw}
    # The sources by turns, so that a stopped run compares equal numbers.
    tasks: dict[str, Callable[[], Any]] = {
        f"{source} {number} {records[number].hash}": partial(judge, records[number], known)
        for number in range(options.count)
        for source, records in drawn.items()
        if number < len(records)
    }
    done = do_pieces(options.out / "generation_quality.jsonl", tasks, options.minutes)
    rows: dict[str, list[Any]] = {
        source: [row for name, row in done.items() if name.startswith(f"{source} ")]
        for source in drawn
    }
    if "campaign" in names:
        rows["campaign"] = proposed_crystals(options.campaign)
    found = {source: figures(each) for source, each in rows.items() if each}
    print_table(found)
    record = {"figures": found, "published_msun": PUBLISHED}
    write_record(
        options.out / "generation_quality.json", record, options, time.perf_counter() - start
    )


if __name__ == "__main__":
    main()
