"""What a call of each oracle takes in CPU seconds, from which nominal prices are set.

    python experiments/oracle_prices.py [--number 60] [--oracles MODULE:FUNCTION ...] [--out FILE]

Crystals are drawn uniformly from the default space, as a campaign without a model would. For each
the atoms are looked for once, as a worker does, and every oracle is asked about each arrangement
that was found. The median of all calls is the price, failures included: a triple without a sound
arrangement costs its search too. Compilation is left out (the first crystals of every size don't
count), as a worker compiles once. One thread, as in a worker; under load CPU seconds still hold to
some 20 %.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mfal.campaign.workers.isolation import ONE_THREAD

os.environ.update(ONE_THREAD)

import jax
import numpy as np
from pymatgen.core import Structure

from mfal.campaign.config import CampaignConfig
from mfal.campaign.ledger.crystals import record_of
from mfal.campaign.problem import make_problem
from mfal.campaign.workers.atoms import realise_record
from mfal.crystals.structures import standard_setting
from mfal.envs.random import sample_uniformly
from mfal.oracles.loading import ask_oracle, load_oracles

_WARM = 4
"""Crystals at the start that compile and load, and don't count."""


def spent(function: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a call and its result, children included."""
    start = sum(os.times()[:4])
    clock = time.process_time()
    result = function()
    # The finer clock, and what children took beside it.
    return max(time.process_time() - clock, sum(os.times()[:4]) - start - 0.02), result


def measure(number: int, config: CampaignConfig) -> dict[str, dict[str, float]]:
    """Median, mean and greatest CPU seconds of finding atoms and of each oracle."""
    problem = make_problem(config.space, config.oracles)
    oracles = load_oracles(config.oracles)
    states = sample_uniformly(problem.environment, jax.random.key(1), number + _WARM)
    crystals = jax.tree.map(np.asarray, jax.vmap(problem.to_crystal)(states))
    states = jax.tree.map(np.asarray, states)
    taken: dict[str, list[float]] = {name: [] for name in ("atoms", *(o.name for o in oracles))}
    failed = dict.fromkeys(taken, 0)
    found: list[tuple[int, Structure]] = []
    for i in range(number + _WARM):
        state, crystal = jax.tree.map(lambda leaf, i=i: leaf[i], (states, crystals))
        record = record_of(crystal, problem.oxidation_states(state), "random")
        seconds, (structures, _) = spent(
            lambda record=record, i=i: realise_record(record, seed=i, count=config.realisations)
        )
        found += [(i, standard_setting(structure)) for structure in structures]
        if i >= _WARM:
            taken["atoms"].append(seconds)
            failed["atoms"] += not structures
    # One oracle after the other, so that none finds the map of the one before.
    for oracle in oracles:
        for i, structure in found:
            seconds, (answer,) = spent(
                lambda oracle=oracle, structure=structure: ask_oracle(oracle, [structure])
            )
            if i >= _WARM:
                taken[oracle.name].append(seconds)
                failed[oracle.name] += not answer.ok
    return {
        name: {
            "calls": len(seconds),
            "failed": failed[name],
            "median": float(np.median(seconds)),
            "mean": float(np.mean(seconds)),
            "greatest": float(np.max(seconds)),
        }
        for name, seconds in taken.items()
        if seconds
    }


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=60, help="crystals drawn")
    parser.add_argument("--oracles", nargs="+", default=list(CampaignConfig.oracles))
    parser.add_argument("--out", type=Path, help="file for the table as JSON")
    options = parser.parse_args()
    found = measure(options.number, CampaignConfig(oracles=tuple(options.oracles)))
    print(
        f"{'':18s} {'calls':>6s} {'failed':>6s} {'median':>8s} {'mean':>8s} {'greatest':>8s} CPU s"
    )
    for name, row in found.items():
        print(
            f"{name:18s} {row['calls']:6.0f} {row['failed']:6.0f} {row['median']:8.3f}"
            f" {row['mean']:8.3f} {row['greatest']:8.3f}"
        )
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
