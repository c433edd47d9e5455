"""How many hypothetical compounds the embedded table makes, how fast, and how true their cells are.

    python experiments/data_pool.py [--out results/data_pool.json]

Method: `mfal.data.pool.make_pool` on the embedded table with its defaults; then each known compound
that an exchange in another one reproduces is predicted with its own entry left out, and the mean
relative error of its cell lengths is taken.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

import mfal
from mfal.data import load_embedded
from mfal.data.pool import PoolConfig, lattice_errors, make_pool


def main() -> None:
    """Make the pool, print the figures, write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    known, config = load_embedded(), PoolConfig()
    wall, cpu = time.perf_counter(), time.process_time()
    pool = make_pool(known, config)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    errors = lattice_errors(known, config)
    result = {
        "version": mfal.__version__,
        "threshold": config.threshold,
        "parents": len({details["parent"] for details in pool.details}),
        "compounds": len(pool),
        "formulas": len(set(pool.formulas)),
        "groups": len(set(pool.space_group_number.tolist())),
        "seconds": round(wall, 1),
        "cpu_seconds": round(cpu, 1),
        "lattices_predicted": len(errors),
        "median_error": round(float(np.median(errors)), 4),
        "mean_error": round(float(errors.mean()), 4),
        "error_90th_percentile": round(float(np.percentile(errors, 90)), 4),
    }
    for key, value in result.items():
        print(f"{key:<24}{value}")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
