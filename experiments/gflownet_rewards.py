"""What does a GFlowNet sample under each reward, and does it beat other searches?

Crystals are drawn at random, atoms found for them, and three oracles asked: Sendek's probability,
log10 of the conductivity at 300 K of the bond-valence hop network (the limit of kinetic Monte Carlo
without interactions, solved exactly), and the width of the electrochemical window by measured
energies, as if the compound lay on the hull (by composition alone, where the tables bound it). An
ensemble is fitted to each. The rewards are

    R = exp(SHARPNESS * z),  z = (proxy's mean - mean of the labels) / spread of the labels,

clipped at three spreads, one for each property, and their product. Every search sees the proxy as
often: the GFlowNet (target: R times the random search's density), random search, Metropolis chains
with that same target, and a genetic search. Each then proposes its best distinct crystals, atoms
are found for these and the oracles asked again: as many calls for each.

Printed: what the GFlowNet's samples are made of (and the random search's), how many are neutral,
novel and plausible (atoms can be found for them that pass every check), how proxy and oracle agree
on them, and what they are worth by both; and each search's top: proxy's and oracle's values,
diversity. A GFlowNet's top comes from its last samples, the other searches' from all that they
evaluated. Intervals are 90 %, by bootstrap over crystals.

    python experiments/gflownet_rewards.py [--size small]
"""

import time
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pymatgen.core import Composition
from rewards import (
    ENV,
    PROPERTIES,
    UNITS,
    WORTH,
    Proxies,
    ask_all,
    crystals_of,
    distance,
    fit,
    log_weight,
    records_of,
    scores_of,
    truths,
)
from scipy.stats import spearmanr
from searches import genetic, metropolis, random_search
from shared import (
    do_pieces,
    interval,
    make_parser,
    parse,
    save_figure,
    subplots,
    write_record,
)

from mfal.campaign.ledger.crystals import crystal_arrays
from mfal.campaign.ledger.records import CrystalRecord
from mfal.data import load_embedded
from mfal.envs.random import log_density
from mfal.envs.types import State
from mfal.gflownet.policy import PolicyConfig
from mfal.gflownet.train import TrainConfig, make_trainer

SIZES = {
    "small": {"labels": 60, "steps": 200, "samples": 12, "top": 5},
    "default": {"labels": 200, "steps": 500, "samples": 30, "top": 10},
}
REWARDS = (*PROPERTIES, "product")
SEARCHES = ("GFlowNet", "random", "Metropolis", "genetic")
BATCH = 64
DRAWN = 1024  # samples of a trained GFlowNet
BLOCK = 10  # crystals a piece

# --- searches -------------------------------------------------------------------------------------


def search(
    reward: str, method: str, proxies: Proxies, seed: int, steps: int, top: int, samples: int
) -> dict[str, Any]:
    """A search's best crystals and, of a GFlowNet or random search, a sample of what it draws."""
    weigh = partial(log_weight, reward)
    key = jax.random.fold_in(jax.random.key(seed), 100)
    start = time.process_time()
    if method == "GFlowNet":
        trainer = make_trainer(
            ENV,
            lambda params, state: weigh(params, state) + log_density(ENV, state),
            TrainConfig(batch_size=BATCH, policy=PolicyConfig(hidden=(128, 128))),
        )
        state = trainer.init(key)
        state, _ = trainer.run(state, proxies, steps - DRAWN // BATCH)
        states = trainer.sample(state, proxies, jax.random.fold_in(key, 1), DRAWN).states
        weight = jax.jit(jax.vmap(weigh, (None, 0)))(proxies, states)
    else:
        run = {"random": random_search, "Metropolis": metropolis, "genetic": genetic}[method]
        visited = jax.jit(lambda p, k: run(ENV, weigh, p, k, BATCH, steps))(proxies, key)
        states, weight = flat(visited)
    seconds = time.process_time() - start
    best = distinct(states, np.asarray(weight), top)
    chosen = records_of(jax.tree.map(lambda leaf: leaf[best], states), len(best))
    result: dict[str, Any] = {"top": chosen, "seconds": seconds}
    if method in ("GFlowNet", "random"):
        drawn = records_of(states, min(DRAWN, len(weight)))
        result["drawn"] = composition_of(drawn)
        result["mean log weight"] = float(np.mean(np.asarray(weight)[:DRAWN]))
        result["sample"] = drawn[:samples]
    return result


def distinct(states: State, weight: np.ndarray, number: int) -> np.ndarray:
    """Positions of the heaviest states that differ in composition or group, at most `number`."""
    crystal = jax.tree.map(np.asarray, crystals_of(states))
    counts = np.asarray(crystal.composition, np.int32)
    # Cells with twice the atoms hold the same compound.
    counts = counts // np.gcd.reduce(counts, axis=1, keepdims=True)
    key = np.column_stack([counts, crystal.space_group_number])
    order = np.argsort(-weight, kind="stable")
    first = np.unique(key[order], axis=0, return_index=True)[1]
    return order[np.sort(first)[:number]]


def flat(tree: Any) -> Any:
    """The two leading axes made one."""
    # Not -1: some leaves are empty.
    return jax.tree.map(
        lambda leaf: leaf.reshape(leaf.shape[0] * leaf.shape[1], *leaf.shape[2:]), tree
    )


def composition_of(drawn: list[CrystalRecord]) -> dict[str, Any]:
    """What samples are made of."""
    known = {Composition(f).reduced_formula for f in load_embedded().formulas}
    charge = [
        abs(sum(n * r.oxidation_states[s] for s, n in r.composition.items())) < 1e-3 for r in drawn
    ]
    elements = Counter(s for r in drawn for s in r.composition)
    groups = Counter(r.space_group for r in drawn)
    return {
        "n": len(drawn),
        "neutral": float(np.mean(charge)),
        "novel": interval([float(r.formula not in known) for r in drawn]),
        "formulas": len({r.formula for r in drawn}),
        "groups": len(groups),
        "elements a crystal": float(np.mean([len(r.composition) for r in drawn])),
        "atoms a cell": float(np.mean([sum(r.composition.values()) for r in drawn])),
        "common groups": groups.most_common(3),
        "elements": {s: round(n / len(drawn), 3) for s, n in elements.most_common(8)},
    }


def judge(found: dict[str, Any], proxies: Proxies, seed: int) -> dict[str, Any]:
    """The oracles' answers beside the proxies', for a search's top and its sample."""
    result = {"seconds": found["seconds"], "drawn": found.get("drawn")}
    for part in ("top", "sample"):
        records = found.get(part) or []
        if not records:
            continue
        expected = scores_of(proxies, crystal_arrays(records))
        z = {name: np.asarray(x).tolist() for name, x in expected.items()}
        pairs = [distance(a, b) for i, a in enumerate(records) for b in records[:i]]
        result[part] = {
            "names": [f"{r.formula} ({r.space_group})" for r in records],
            "proxy": z,
            "oracle": ask_all(records, seed),
            "distance": float(np.mean(pairs)) if pairs else 0.0,
            "groups": len({r.space_group for r in records}),
        }
    return result


def search_and_judge(*arguments: Any) -> dict[str, Any]:
    """One search, from the proxies to the oracles' word on what it found."""
    proxies, seed = arguments[2], arguments[3]
    return judge(search(*arguments), proxies, seed)


# --- figures --------------------------------------------------------------------------------------


def show(pieces: dict[str, dict[str, Any]], proxies: Proxies) -> dict[str, Any]:
    """Prints both tables and returns them."""
    table: dict[str, Any] = {"drawn": {}, "top": {}}
    print(
        f"\nwhat is drawn, {DRAWN} samples\n{'reward, search':26s}{'neutral':>8s}{'novel':>19s}"
        f"{'plausible':>19s}{'formulas':>9s}{'groups':>7s}{'elem.':>6s}{'atoms':>6s}  made of"
    )
    for name, piece in pieces.items():
        if not piece.get("drawn"):
            continue
        drawn = piece["drawn"]
        sound = interval([a["sound"] for a in piece["sample"]["oracle"]])
        table["drawn"][name] = {**drawn, "plausible": sound}
        cells = [
            f"{drawn['novel'][0]:.2f} [{drawn['novel'][1]:.2f}, {drawn['novel'][2]:.2f}]",
            sound,
        ]
        print(
            f"{name:26s}{drawn['neutral']:8.2f}"
            + "".join(f"{cell!s:>19s}" for cell in cells)
            + f"{drawn['formulas']:9d}{drawn['groups']:7d}{drawn['elements a crystal']:6.1f}"
            f"{drawn['atoms a cell']:6.1f}  "
            + " ".join(f"{s} {x:.2f}" for s, x in list(drawn["elements"].items())[:6])
            + "; groups "
            + ", ".join(str(g) for g, _ in drawn["common groups"])
        )
    print(
        f"\nthe best that each search proposes, z of the labels\n{'reward, search':26s}"
        f"{'proxy':>20s}{'oracle':>22s}{'answered':>9s}{'distance':>9s}{'groups':>7s}{'CPU s':>7s}"
    )
    for name, piece in pieces.items():
        reward = name.split(", ")[0]
        part = piece["top"]
        names = PROPERTIES if reward == "product" else (reward,)
        proxy = interval(np.sum([part["proxy"][n] for n in names], axis=0))
        known = truths(reward, part, proxies)
        oracle = interval(known)
        table["top"][name] = {
            "proxy": proxy, "oracle": oracle, "answered": len(known), "of": len(part["oracle"]),
            "distance": part["distance"], "groups": part["groups"], "names": part["names"],
        }  # fmt: skip
        print(
            f"{name:26s}{proxy!s:>20s}{oracle!s:>22s}{len(known):6d}/{len(part['oracle']):<2d}"
            f"{part['distance']:9.2f}{part['groups']:7d}{piece['seconds']:7.1f}"
        )
    return table


def sampled_worth(pieces: dict[str, dict[str, Any]], proxies: Proxies) -> dict[str, Any]:
    """Prints what samples are worth on average, by the proxy and by the oracle, z of the labels."""
    found: dict[str, Any] = {}
    print(f"\n{'worth of the samples, z':26s}{'proxy':>22s}{'oracle':>22s}{'answered':>9s}")
    for name, piece in pieces.items():
        if "sample" not in piece:
            continue
        reward, part = name.split(", ")[0], piece["sample"]
        names = PROPERTIES if reward == "product" else (reward,)
        proxy = interval(np.sum([part["proxy"][n] for n in names], axis=0))
        known = truths(reward, part, proxies)
        found[name] = {"proxy": proxy, "oracle": interval(known), "answered": len(known)}
        oracle = found[name]["oracle"]
        print(f"{name:26s}{proxy!s:>22s}{oracle!s:>22s}{len(known):6d}/{len(part['oracle'])}")
    return found


def agreement(pieces: dict[str, dict[str, Any]], proxies: Proxies) -> dict[str, Any]:
    """Prints how proxies and oracles agree on what was sampled: rank correlation and bias."""
    found: dict[str, Any] = {}
    print(f"\n{'proxy against oracle':26s}{'n':>4s}{'Spearman rho':>22s}{'proxy - oracle, z':>22s}")
    for search_ in ("GFlowNet", "random"):
        for name in PROPERTIES:
            pairs = []
            for title, piece in pieces.items():
                if title != f"{name}, {search_}":
                    continue
                for part in ("sample", "top"):
                    z = piece[part]["proxy"][name]
                    for x, answer in zip(z, piece[part]["oracle"], strict=True):
                        if answer[name] is not None:
                            y = (answer[name] - proxies.middle[name]) / proxies.spread[name]
                            pairs.append((x, float(np.clip(y, -WORTH, WORTH))))
            if len(pairs) < 5:
                continue
            rho = interval(pairs, lambda some: float(spearmanr(*zip(*some, strict=True))[0]))
            bias = interval([x - y for x, y in pairs])
            found[f"{name}, {search_}"] = {"n": len(pairs), "rho": rho, "bias": bias}
            print(f"{name + ', ' + search_:26s}{len(pairs):4d}{rho!s:>22s}{bias!s:>22s}")
    return found


def conclude(table: dict[str, Any], agreed: dict[str, Any]) -> list[str]:
    """In words."""
    lines = []
    for reward in REWARDS:
        ours, theirs = (table["sampled"].get(f"{reward}, {s}") for s in ("GFlowNet", "random"))
        if ours and theirs and ours["answered"] and theirs["answered"]:
            a, b = ours["oracle"], theirs["oracle"]
            verb = "above" if a[1] > b[2] else "below" if a[2] < b[1] else "not told apart from"
            lines.append(
                f"{reward}: by the oracle what the GFlowNet samples is {verb} what random search "
                f"draws ({a} and {b})"
            )
        own = table["top"].get(f"{reward}, GFlowNet")
        for other in SEARCHES[1:]:
            rival = table["top"].get(f"{reward}, {other}")
            if own is None or rival is None or not (own["answered"] and rival["answered"]):
                continue
            a, b = own["oracle"], rival["oracle"]
            verb = "above" if a[1] > b[2] else "below" if a[2] < b[1] else "not told apart from"
            lines.append(
                f"{reward}: by the oracle the GFlowNet's best are {verb} the {other} search's "
                f"({a} and {b}); distance {own['distance']:.2f} and {rival['distance']:.2f}"
            )
    for name, found in agreed.items():
        rank = "ranks" if found["rho"][1] > 0 else "does not rank"
        lines.append(f"the proxy {rank} what was sampled for {name}: rho {found['rho']}")
    return lines


def figure(table: dict[str, Any], path: Path) -> None:
    """Proxy's and oracle's z of each search's best."""
    whole, axes = subplots(len(REWARDS), (11, 3))
    for axis, reward in zip(axes, REWARDS, strict=True):
        for place, method in enumerate(SEARCHES):
            found = table["top"].get(f"{reward}, {method}")
            if found is None:
                continue
            for shift, key, color in ((-0.15, "proxy", "0.6"), (0.15, "oracle", "tab:blue")):
                middle, low, high = found[key]
                bars = [[max(middle - low, 0)], [max(high - middle, 0)]]
                axis.errorbar([place + shift], [middle], yerr=bars, fmt="o", color=color)
        axis.set_xticks(range(len(SEARCHES)), SEARCHES, rotation=30, fontsize=8)
        axis.set_title(reward, fontsize=10)
        axis.margins(x=0.12)
    axes[0].set_ylabel("z of the best (grey: proxy, blue: oracle)")
    save_figure(whole, path)


def main() -> None:
    """Label, fit, search, ask again, print, write and plot."""
    parser = make_parser(__doc__, SIZES)
    parser.add_argument("--labels", type=int, help="random crystals that the oracles label")
    parser.add_argument("--steps", type=int, help=f"batches of {BATCH} that each search evaluates")
    parser.add_argument("--samples", type=int, help="drawn crystals shown to the oracles")
    parser.add_argument("--top", type=int, help="crystals that each search proposes")
    parser.add_argument("--seed", type=int, default=0)
    options = parse(parser, SIZES)
    warnings.simplefilter("ignore")
    start = time.time()
    kind = f"{options.labels}_{options.steps}_{options.samples}_{options.top}_{options.seed}"
    path = options.out / f"gflownet_rewards_{kind}.jsonl"

    blocks = -(-options.labels // BATCH)
    visited = random_search(
        ENV, lambda _, __: jnp.zeros(()), None, jax.random.key(options.seed), BATCH, blocks
    )
    states = flat(visited.states)
    records = records_of(states, options.labels)
    tasks: dict[str, Callable[[], Any]] = {
        f"labels {k}": partial(ask_all, records[k : k + BLOCK], options.seed)
        for k in range(0, len(records), BLOCK)
    }
    answered = do_pieces(path, tasks, options.minutes)
    if len(answered) < len(tasks):
        return
    answers = [answer for block in answered.values() for answer in block]
    for name in PROPERTIES:
        values = [a[name] for a in answers if a[name] is not None]
        print(
            f"{name}: {len(values)} of {len(answers)} labelled, mean {np.mean(values):.3g}, spread "
            f"{np.std(values):.3g}, best {np.max(values):.3g} {UNITS[name]}"
        )
    proxies = fit(records, answers, options.seed)
    minutes = options.minutes and options.minutes - (time.time() - start) / 60
    pieces = do_pieces(
        path,
        {
            f"{reward}, {method}": partial(
                search_and_judge,
                reward,
                method,
                proxies,
                options.seed,
                options.steps,
                options.top,
                options.samples,
            )
            for reward in REWARDS
            for method in SEARCHES
        },
        minutes,
    )
    table = show(pieces, proxies) | {"sampled": sampled_worth(pieces, proxies)}
    agreed = agreement(pieces, proxies)
    lines = conclude(table, agreed)
    print("\n" + "\n".join(lines))
    print(
        "What would overturn this: more labels, longer training, other seeds (this is one), a\n"
        "proxy that is asked again after its best have been answered, as a campaign does."
    )
    write_record(
        options.out / "gflownet_rewards.json",
        {"table": table, "agreement": agreed, "conclusions": lines, "pieces": pieces},
        options,
        time.time() - start,
    )
    figure(table, options.out / "gflownet_rewards.png")


if __name__ == "__main__":
    main()
