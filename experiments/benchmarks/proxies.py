"""How long a fit of the proxies takes: 500 observations, ten members, and the exact process.

Wall and processor seconds of a first fit (compilation included) and of a second one on other data
of the same shape. Aim: under 10 s on two cores.

    python experiments/benchmarks/proxies.py [--rows 500] [--members 10]

Measured, wall and processor seconds, first and second fit:

    two quiet cores                    ensemble of 10    8.6 12.3    2.1  3.2
    the same, before what follows      exact process    19.1 26.1   10.1 19.0
    beside five other jobs             exact process    45.5 25.3   34.9 19.5
    beside two, before what follows    exact process    74.9 76.5   46.1 49.2

What follows: one loop, whose step is compiled once; features compiled as a whole; one product for
the gradient of the distances; factors from blocks instead of LAPACK's waiting threads. The optimum
is the same to seven digits of the log density.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from mfal.crystals.types import Crystal
from mfal.data import load_embedded
from mfal.proxies import (
    Dataset,
    EnsembleConfig,
    GPConfig,
    make_dataset,
    make_ensemble,
    make_gaussian_process,
)


def observations(rows: int, seed: int) -> Dataset:
    """Crystals of the embedded table, stretched a little, with made-up values at two fidelities."""
    rng = np.random.default_rng(seed)
    table = load_embedded()
    pick = rng.integers(0, len(table.ids), rows)
    stretch = np.concatenate([rng.uniform(0.9, 1.1, (rows, 1)).repeat(3, 1), np.ones((rows, 3))], 1)
    crystal = Crystal(
        np.asarray(table.composition)[pick],
        np.asarray(table.space_group_number)[pick],
        np.asarray(table.lattice)[pick] * stretch,
    )
    value = crystal.composition[:, 2] / crystal.composition.sum(1) + 0.1 * rng.normal(size=rows)
    return make_dataset(crystal, rng.integers(0, 2, rows), value)


def timed(run: Callable[[], Any]) -> str:
    """Wall and processor seconds of one call."""
    wall, used = time.perf_counter(), time.process_time()
    jax.block_until_ready(run())
    return f"{time.perf_counter() - wall:6.1f} {time.process_time() - used:6.1f}"


def main() -> None:
    """Fit twice, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--members", type=int, default=10)
    options = parser.parse_args()
    data = [observations(options.rows, seed) for seed in (0, 1)]
    ensemble = make_ensemble(EnsembleConfig(2, members=options.members))
    process = make_gaussian_process(GPConfig(2))
    start, key = ensemble.init(jax.random.key(0)), jax.random.key(1)
    print(f"{options.rows} rows (capacity {len(data[0].value)}): wall s, processor s")
    for name, fit in (
        (f"ensemble of {options.members}", lambda rows: ensemble.fit(start, rows, key)),
        ("exact process", process.fit),
    ):
        for when, rows in zip(("first fit", "second fit"), data, strict=True):
            print(f"{name:18s} {when:12s} {timed(lambda f=fit, r=rows: f(r))}", flush=True)


if __name__ == "__main__":
    main()
