"""Do campaigns find known conductors again that they know nothing of?

Each conductor is hidden (`mfal discover --hide FORMULA`): with its polymorphs it is taken out of
the initial data, of the crystals that lend positions or whose ions are exchanged, of what counts as
known, of the candidates relaxed beforehand and of the hull's phases. A campaign then searches the
crystals of its elements in the default space, nothing said of formula or group, with the budget of
`mfal discover`, in one round in place of five and with a smaller sampler and proxy (`--settings
default --rounds 5` are its own). It has found the conductor where a crystal that it relaxed is the
hidden one, relaxed by the same potential too (`mfal.crystals.matching.same_crystal`: pymatgen's
`StructureMatcher` at its usual tolerances).

Which conductors was settled before any campaign ran (`hidden_conductors.py`), and so were the
seeds.

In a single round, or where a strategy doesn't learn, what is asked depends on no answer about
candidates; and a crystal of another formula can't be the hidden one. So those are charged as ever
and not computed: which questions are asked, what they cost by the ledger and what is found are
those of the whole campaign (`--whole` computes it).

What the weights of CHGNet, softBV's parameters, the statistics of exchanges and the default space's
list of groups owe to these crystals can't be taken back.

    python experiments/rediscovery.py [--conductors Li3YCl6 ...] [--whole]

Each campaign is a line of results/rediscovery.jsonl as soon as it is done, and a folder under
results/rediscovery: a stopped run goes on where it was.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from hidden_conductors import DRAWS, Conductor, by_the_target, conductors, facts
from shared import do_pieces, interval, make_parser, write_record

from mfal.campaign.config import NONE, CampaignConfig, ProxyConfig, SamplerConfig
from mfal.campaign.folder import CAMPAIGN, read_campaign
from mfal.campaign.ledger.crystals import structure_of
from mfal.campaign.ledger.prices import price
from mfal.campaign.ledger.records import Outcome
from mfal.campaign.ledger.rows import Answer
from mfal.campaign.loop import run_campaign
from mfal.campaign.workers.executors import WorkerPool
from mfal.campaign.workers.isolation import ONE_THREAD
from mfal.crystals.hidden import is_hidden
from mfal.crystals.matching import same_crystal
from mfal.oracles import default_oracles

SEEDS = (0, 1, 2)
BUDGET, ROUNDS = CampaignConfig().budget, 1  # CPU seconds
UNLEARNED = ("random", "substitution")  # strategies that learn nothing from answers
SMALL = CampaignConfig(  # for the sake of time
    initial=12, proxy=ProxyConfig(steps=300), sampler=SamplerConfig(steps=150)
)


# --- campaigns ------------------------------------------------------------------------------------


class Sparing(WorkerPool):
    """Workers that are not asked about candidates of other formulas than the hidden ones."""

    def submit_with_timeout(
        self, timeout: float, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> "Future[Any]":
        """At once for such a candidate; its question has failed."""
        (task,) = args
        if not task.crystal.proposed or is_hidden(task.crystal.composition, task.hide):
            return super().submit_with_timeout(timeout, fn, *args, **kwargs)
        future: Future[Any] = Future()
        why = "failed: of another formula, not computed"
        future.set_result(Outcome(None, None, why, 0.0, {}))
        return future


def campaign(
    one: Conductor,
    known: Sequence[dict[str, Any]],
    config: CampaignConfig,
    folder: Path,
    executor: WorkerPool,
) -> dict[str, Any]:
    """Whether a campaign found the conductor, after how many CPU seconds, and what else it did."""
    start, thought = time.time(), time.process_time()
    config = replace(config, hide=(one.formula,), space=one.space, finalists=0)
    run_campaign(folder, config, executor=executor)
    with read_campaign(folder) as ledger:
        answers = ledger.answers(CAMPAIGN)
        thoughts = dict(ledger.thoughts(CAMPAIGN))
        really = sum(ledger.measured(CAMPAIGN).values())
    found = look_through(one, known, answers, thoughts)
    found |= {
        "measured": really,
        "thought": time.process_time() - thought,
        "seconds": time.time() - start,
    }
    print(f"{folder.name}: {found['found']}, {found['seconds']:.0f} s", flush=True)
    return found


def look_through(
    one: Conductor,
    known: Sequence[dict[str, Any]],
    answers: Sequence[Answer],
    thoughts: dict[int, float],
) -> dict[str, Any]:
    """The first answer about the conductor, and what became of all questions of its formula."""
    targets = [(each["id"], structure_of(each["arrangement"])) for each in known]
    groups = {each["space_group"] for each in known}
    paid, asked, first = 0.0, dict[str, dict[str, Any]](), None
    crystals = set()
    for answer in answers:
        paid += answer.query.cost + thoughts.pop(answer.query.round, 0.0)
        record = answer.query.crystal
        if not record.proposed:
            continue
        crystals.add(record.hash)
        atoms = answer.detail.get("arrangement")
        if not is_hidden(record.composition, [one.formula]):
            continue
        own = structure_of(atoms) if atoms else None
        is_it = next((name for name, other in targets if own and same_crystal(own, other)), None)
        relaxation = answer.detail.get("relaxation") or {}
        asked.setdefault(
            record.hash,
            {
                "group": record.space_group,
                "of_its_group": record.space_group in groups,
                "source": record.source,
                "atoms": own is not None,
                "routes": answer.detail.get("routes", []),
                "reason": answer.detail.get("reason") or answer.detail.get("rejected"),
                "energy": relaxation.get("energy_ev_per_atom"),
                "space_group_after": relaxation.get("space_group_after"),
                "hull_distance": relaxation.get("hull_distance_ev_per_atom"),
                "round": answer.query.round,
                "is": is_it,
            },
        )
        if is_it is not None and first is None:
            first = {"paid": paid, "round": answer.query.round, "is": is_it, "after": len(crystals)}
    return {
        "found": first,
        "why": "" if first else why_not(list(asked.values())),
        "paid": paid,
        "crystals": len(crystals),
        "asked": list(asked.values()),
    }


def why_not(asked: Sequence[dict[str, Any]]) -> str:
    """What the search lacked, by the question of the formula that came furthest."""
    there = [each for each in asked if each["of_its_group"]]
    if not asked:
        return "formula never asked"
    if not there:
        return "formula asked in other groups only"
    if not any(each["atoms"] for each in there):
        return "no sound atoms"
    return "relaxed to another structure"


# --- figures --------------------------------------------------------------------------------------


def show(
    chosen: Sequence[Conductor],
    known: dict[str, dict[str, Any]],
    pieces: dict[str, dict[str, Any]],
    strategies: Sequence[str],
    questions: int,
) -> dict[str, Any]:
    """Prints the tables and returns their figures; a random search asks so many questions."""
    head = [
        *("conductor", "group", "atoms", "S/cm", "prototypes", "exchange"),
        *("at random", "asked", "hull", "target"),
    ]
    print("\n" + "".join(f"{name:>13s}" for name in head))
    for one in chosen:
        each = known[one.formula]
        lowest = min((c for c in each["crystals"] if c["id"] == one.row), key=lambda c: c["energy"])
        bound = "" if lowest["bounded"] else ">"
        drawn = each["random"]["formula_and_group"]
        cells = [
            one.formula,
            each["space_group"],
            each["atoms"],
            "" if one.conductivity is None else f"{one.conductivity:.1e}",
            len(each["prototypes"]),
            each["exchange"] or "no",
            f"{each['random']['formula']}, {drawn}",
            f"{1 - (1 - drawn / DRAWS) ** questions:.2f}",
            f"{bound}{1000 * lowest['hull_distance']:.0f} meV",
            "none" if each["target"] is None else f"{each['target']:.1f}",
        ]
        print("".join(f"{cell!s:>13s}" for cell in cells))
    print(
        "prototypes: other ordered crystals of its group with its counts in the embedded table;\n"
        "exchange: its place among the exchanges of ions in what is left, the likeliest first;\n"
        f"at random: of {DRAWS} random draws those with its formula, with formula and group;\n"
        f"asked: share of random searches of {questions} questions that ask about both, by these;\n"
        "hull: distance from the hull of all other phases, per atom (> where these have gaps);\n"
        "target: what the target oracle answers about it, log10 S/cm"
    )
    figures: dict[str, Any] = {}
    for strategy in strategies:
        print(f"\n{strategy}")
        shares = []
        for one in chosen:
            name = f"{strategy} {one.formula} "
            own = [each for key, each in pieces.items() if key.startswith(name)]
            if not own:
                continue
            costs = [each["found"]["paid"] for each in own if each["found"]]
            reasons = [each["why"] for each in own if not each["found"]]
            crystals = np.mean([each["crystals"] for each in own])
            shares.append(len(costs) / len(own))
            after = ", ".join(f"{cost:.0f}" for cost in costs)
            print(
                f"{one.formula:>13s}  found {len(costs)} of {len(own)}"
                + (f", after {after} CPU s" if costs else "")
                + (f" ({'; '.join(f'{n} {why}' for why, n in Counter(reasons).items())})")
                * bool(reasons)
                + f"; {crystals:.0f} crystals a campaign"
            )
            figures.setdefault(strategy, {})[one.formula] = {
                "campaigns": len(own),
                "found": len(costs),
                "after": costs,
                "why_not": reasons,
            }
        if shares:
            whole = interval(shares)
            print(f"share found, mean over {len(shares)} conductors: {whole}")
            figures[strategy]["share"] = whole._asdict()
    return figures


def main() -> None:
    """Relax what is hidden, run the campaigns, print and write."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--strategies", nargs="+", default=["learned", "random", "substitution"])
    parser.add_argument("--conductors", nargs="+", help="formulas; all of the rule if left out")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--budget", type=float, default=BUDGET, help="CPU seconds of a campaign")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--settings", choices=("small", "default"), default="small", help="of proxy and sampler"
    )
    parser.add_argument("--whole", action="store_true", help="compute every question")
    options = parser.parse_args()
    start = time.time()
    every = conductors()
    wanted = options.conductors or [one.formula for one in every]
    chosen = [one for one in every if one.formula in wanted]
    print("conductors: " + ", ".join(one.formula for one in every), flush=True)
    config = replace(
        SMALL if options.settings == "small" else CampaignConfig(),
        budget=options.budget,
        rounds=options.rounds,
        baseline=NONE,
        finalists=0,
    )
    path = options.out / "rediscovery.jsonl"
    known = do_pieces(path, {f"facts {one.formula}": partial(facts, one) for one in chosen})
    known = {name.removeprefix("facts "): each for name, each in known.items()}
    asked = {
        f"target {one.formula}": partial(by_the_target, known[one.formula]["crystals"], one.row)
        for one in chosen
    }
    for name, value in do_pieces(path, asked).items():
        known[name.removeprefix("target ")]["target"] = value
    tasks: dict[str, Callable[[], Any]] = {}
    whole = WorkerPool(1, environment=ONE_THREAD)
    sparing = Sparing(1, environment=ONE_THREAD)
    try:
        for strategy in options.strategies:
            spare = not options.whole and (options.rounds == 1 or strategy in UNLEARNED)
            for seed in options.seeds:
                for one in chosen:
                    settled = replace(config, strategy=strategy, seed=seed)
                    kind = f"{options.settings}, {options.budget:g} s, {options.rounds} rounds"
                    name = f"{strategy} {one.formula} {seed}, {kind}"
                    folder = options.out / "rediscovery" / name.replace(" ", "_").replace(",", "")
                    crystals = known[one.formula]["crystals"]
                    pool = sparing if spare else whole
                    tasks[name] = partial(campaign, one, crystals, settled, folder, pool)
        pieces = do_pieces(path, tasks, options.minutes)
    finally:
        for pool in (whole, sparing):
            pool.shutdown(cancel_futures=True)
    target = default_oracles()[-1]
    questions = int(options.budget / price(target, config.realisations, relax=True))
    figures = show(chosen, known, pieces, options.strategies, questions)
    write_record(
        options.out / "rediscovery.json",
        {"figures": figures, "conductors": known, "campaigns": pieces},
        options,
        time.time() - start,
    )


if __name__ == "__main__":
    main()
