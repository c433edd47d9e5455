"""How long a fit of the proxies takes: 500 observations, ten members, and the exact process.

Wall and processor seconds of a first fit (compilation included) and of a second one on other data
of the same shape. Aim: under 10 s on two cores.

    python experiments/benchmarks/proxies.py [--rows 500] [--members 10]

The exact process took 17.8 CPU s for the first fit and 10.7 for the second (busy machine), with all
three starts followed to the end and Cholesky factors differentiated 55.
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
