"""Speed of the physics oracles against bvlain, and what an evaluation of each costs.

    python experiments/benchmarks/oracles.py FOLDER_OF_CIFS [--many 1000] [--only PART ...]

1. bvlain (k = 100 neighbours, its default) and mfal by turns on each structure: energy map at
   0.2 Å and the three barriers; wall and CPU seconds, memory above the start, geometric means of
   the ratios. mfal is warm; what compilation costs is printed apart.
2. The share of the machine's float32 rate that the map's kernel attains: operations as the kernel
   writes them, a root, a division, an exponential and erfc counted as one each, over the rate of a
   matrix product. As those functions cost more than one operation, also the share of
   the rate that the kernel would have if its functions and its arithmetic ran one after the other,
   each as fast as it does on its own in cache.
3. `--many` distinct structures through Sendek's and the whole barrier oracle in a new process,
   compilation included.
4. Median CPU seconds of the three default oracles over the embedded table, from which their costs
   are set.
5. Kinetic Monte Carlo, hops per second, beside kmcpy's on the same lattice where that is installed.
6. Barriers against resolution and the grid's origin.

The structures are those of `STRUCTURES` that the folder has (OBELiX ids, ordered cells of 24 to 176
atoms). Run it on an idle machine; ratios are of alternating runs and hold up under load, times do
not.
"""

import argparse
import json
import logging
import math
import multiprocessing
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from kmc_rates import monte_carlo, peer_monte_carlo
from timing import timed

if TYPE_CHECKING:
    from pymatgen.core import Structure

STRUCTURES = ("fwz", "p81", "9lo", "2uv", "lkm", "5z0", "rr5", "hcm")
PARTS = ("peer", "kernel", "costs", "kmc", "many", "convergence")
RESOLUTION = 0.2
REPEATS = 3
# Floating-point operations per pair as the kernel writes them; comparisons and selections are none.
# Both kinds: 8 for the squared distance, one for its root, one to add to the total.
ARITHMETIC = {"anion": 8 + 1 + 5, "cation": 8 + 1 + 2}
FUNCTIONS = {"anion": ("sqrt", "exp"), "cation": ("sqrt", "erfc", "divide")}


def structures(folder: Path) -> dict[str, "Structure"]:
    """The benchmark's structures with integer charges, as bvlain wants them."""
    from mfal.crystals.charges import balanced_charges
    from mfal.crystals.reading import read_structure

    found = {}
    for name in STRUCTURES:
        path = folder / f"{name}.cif"
        if path.exists():
            structure = read_structure(path)
            charges = balanced_charges(structure.composition.get_el_amt_dict())
            structure.add_oxidation_state_by_element({s: round(q) for s, q in charges.items()})
            found[name] = structure
    return found


def ours(structure: "Structure") -> np.ndarray:
    """Barriers by mfal."""
    from mfal.oracles.bond_valence.framework import framework_of
    from mfal.oracles.bond_valence.percolation import percolate
    from mfal.oracles.bond_valence.site_energy import symmetric_map
    from mfal.oracles.bond_valence.symmetry import symmetric_grid

    framework = framework_of(structure)
    return percolate(symmetric_map(framework, symmetric_grid(framework, RESOLUTION))).barrier


def theirs(structure: "Structure") -> np.ndarray:
    """Barriers by bvlain, with its defaults."""
    import bvlain

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = bvlain.Lain(verbose=False)
        peer.read_structure(structure, oxi_check=False)
        peer.bvse_distribution(mobile_ion="Li1+", resolution=RESOLUTION)
        found = peer.percolation_barriers()
    return np.array([found[f"E_{d}D"] for d in (1, 2, 3)])


def _peak(send: Any, method: str, path: str) -> None:
    folder, name = os.path.split(path)
    cells = structures(Path(folder))
    small = min(cells.values(), key=len)
    function = ours if method == "mfal" else theirs
    function(small)  # libraries and compiled programs do not count
    # Linux: sets the high-water mark back to what is held now.
    Path("/proc/self/clear_refs").write_text("5")
    before = _high_water()
    function(cells[name])
    send.send(_high_water() - before)


def _high_water() -> float:
    """Largest resident memory since the mark was set back, MB."""
    status = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in status if line.startswith("VmHWM"))) / 1024


def peak_memory(method: str, folder: Path, name: str) -> float:
    """MB above what the process held before, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(False)
    process = context.Process(target=_peak, args=(send, method, str(folder / name)))
    process.start()
    peak = float(receive.recv())
    process.join()
    return peak


def compare(folder: Path) -> dict[str, Any]:
    """Both programs by turns."""
    print(f"{'id':4s} {'atoms':>5s}  {'bvlain wall/CPU s':>18s}  {'mfal wall/CPU s':>18s}  ratio")
    ratios, rows = [], {}
    for name, structure in structures(folder).items():
        _, first, _ = timed(ours, structure)
        best: dict[str, tuple[float, float]] = {}
        barriers = {}
        for turn in range(REPEATS):
            for method, function in (("bvlain", theirs), ("mfal", ours)):
                if method == "bvlain" and turn == REPEATS - 1:
                    continue  # it is slow
                barriers[method], wall, cpu = timed(function, structure)
                best[method] = min(best.get(method, (math.inf, 0.0)), (wall, cpu))
        ratio = [a / b for a, b in zip(best["bvlain"], best["mfal"], strict=True)]
        ratios.append(ratio)
        cells = [f"{best[m][0]:8.3f} {best[m][1]:8.3f}" for m in ("bvlain", "mfal")]
        print(
            f"{name:4s} {len(structure):5d}  {cells[0]:>18s}  {cells[1]:>18s}  "
            f"{ratio[0]:.0f} wall, {ratio[1]:.0f} CPU; first call {first:.2f} s; "
            f"barriers {np.round(barriers['bvlain'], 3)} {np.round(barriers['mfal'], 3)}",
            flush=True,
        )
        rows[name] = {"best": best, "ratio": ratio}
    mean = np.exp(np.log(ratios).mean(axis=0))
    print(f"geometric mean: {mean[0]:.0f} times in wall time, {mean[1]:.0f} times in CPU time")
    largest = max(structures(folder).items(), key=lambda item: len(item[1]))[0]
    memory = {m: peak_memory(m, folder, largest) for m in ("bvlain", "mfal")}
    print(f"memory above the start, {largest}: {memory} MB")
    return {"structures": rows, "wall": mean[0], "cpu": mean[1], "memory_mb": memory}


def matrix_rate() -> float:
    """float32 operations per CPU second of a matrix product: what a core can do at most."""
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 1024, 1024)).astype(np.float32)
    return 2 * 1024**3 / min(timed(np.matmul, one, two)[2] for _ in range(20))


def function_rates() -> dict[str, float]:
    """Values per CPU second of the kernel's functions, in loops like the kernel's, in cache.

    Each value costs a sum for its argument and one into the total besides.
    """
    import jax
    import jax.numpy as jnp

    functions: dict[str, Callable[[Any], Any]] = {
        "sum": lambda x: x,
        "exp": jnp.exp,
        "sqrt": jnp.sqrt,
        "divide": lambda x: 1.5 / x,
        "erfc": jax.lax.erfc,
    }
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.uniform(0.5, 1.5, (32, 512)), jnp.float32)  # a chunk of tiles
    shifts = jnp.asarray(rng.uniform(0.1, 0.2, (100, 8, 32)), jnp.float32)
    rates = {}
    for name, function in functions.items():

        @jax.jit
        def loop(x: Any, shifts: Any, function: Callable[[Any], Any] = function) -> Any:
            def turn(k: Any, total: Any) -> Any:
                for shift in shifts[k]:
                    total += function(x + shift[:, None])
                return total

            return jax.lax.fori_loop(0, len(shifts), turn, jnp.zeros_like(x))

        run = lambda loop=loop: loop(x, shifts).block_until_ready()  # noqa: E731
        run()
        rates[name] = x.size * 800 / min(timed(run)[2] for _ in range(20))
    return rates


def kernel_rate() -> dict[str, float]:
    """Pairs per CPU second of the map's kernel, and its shares of what the machine can do."""
    from mfal.oracles.bond_valence import site_energy as bvse

    rng = np.random.default_rng(0)
    tiles, points, length = bvse._TILES[-1], bvse._POINTS, 256
    places = rng.uniform(-1, 1, (3, tiles, points)).astype(np.float32)
    blocks = [
        rng.uniform(1, 3, (length // bvse._UNROLL, bvse._UNROLL, fields, tiles)).astype(np.float32)
        for fields in (6, 5)
    ]
    rounds = length // bvse._UNROLL
    peak, functions = matrix_rate(), function_rates()
    listed = ", ".join(f"{name} {rate / 1e9:.2f} G" for name, rate in functions.items())
    print(f"a core: matrix product {peak / 1e9:.0f} Gflop/s; values a second, in cache: {listed}")
    figures = {"peak": peak} | functions
    for name, counts in (("anion", (rounds, 0)), ("cation", (0, rounds))):
        run = lambda counts=counts: bvse.pair_sums(places, *blocks, *counts).block_until_ready()  # noqa: E731
        run()
        seconds = min(timed(run)[2] for _ in range(10))
        rate = tiles * points * length / seconds
        operations = ARITHMETIC[name] + len(FUNCTIONS[name])
        share = rate * operations / peak
        # The functions' loops hold two sums each, which the kernel needs as well.
        rest = (ARITHMETIC[name] - 2 * len(FUNCTIONS[name])) / (peak / 2)
        parts = rate * (rest + sum(1 / functions[f] for f in FUNCTIONS[name]))
        figures |= {name: rate, f"{name} share": share, f"{name} share of parts": parts}
        print(
            f"kernel, {name} pairs: {rate / 1e9:.2f} Gpair a CPU s, {operations} operations each: "
            f"{100 * share:.0f} % of the peak, {100 * parts:.0f} % of its parts' rate"
        )
    return figures


def strained(count: int) -> list["Structure"]:
    """Distinct structures: the embedded table's ordered cells, strained and shaken."""
    from mfal.data.embedded import load_embedded

    rng = np.random.default_rng(0)
    known = [s for s in load_embedded().structures() if s is not None and s.is_ordered]
    made = []
    for k in range(count):
        structure = known[k % len(known)].copy()
        structure.apply_strain(rng.uniform(-0.03, 0.03, 3))
        made.append(structure.perturb(0.05))
    return made


def many(count: int) -> None:
    """Runs in a new process: `count` structures through each default oracle, cold."""
    made = strained(count)
    from mfal.oracles import default_oracles

    atoms = np.mean([len(s) for s in made])
    for oracle in default_oracles():
        answers, wall, cpu = timed(oracle.evaluate, made)
        good = sum(answer.ok for answer in answers)
        print(
            f"{oracle.name}: {count} structures of {atoms:.0f} atoms in the mean, {good} answered: "
            f"{wall:.1f} s wall, {cpu:.1f} s CPU, compilation included",
            flush=True,
        )


def costs() -> dict[str, float]:
    """Median CPU seconds of each default oracle over the embedded table."""
    from mfal.data.embedded import load_embedded
    from mfal.oracles import default_oracles

    known = [s for s in load_embedded().structures() if s is not None and s.is_ordered]
    oracles = default_oracles()
    medians = {}
    for oracle in oracles:
        oracle.evaluate(known[:40])
        seconds = []
        for structure in known:
            (answer,), _, cpu = timed(oracle.evaluate, [structure])
            if answer.ok:
                seconds.append(cpu)
        medians[oracle.name] = float(np.median(seconds))
    target = medians[oracles[-1].name]
    for oracle in oracles:
        name = oracle.name
        print(
            f"{name:14s} median {medians[name] * 1e3:7.1f} ms CPU, "
            f"cost {medians[name] / target:.3f} "
            f"(set: {oracle.cost})"
        )
    return medians


def convergence(folder: Path) -> None:
    """3-D barrier and the oracle's log10 sigma against resolution, over grid origins."""
    from mfal.oracles.bond_valence.framework import framework_of
    from mfal.oracles.bond_valence.percolation import percolate
    from mfal.oracles.bond_valence.site_energy import grid_shape, site_energies
    from mfal.oracles.bond_valence.symmetry import morton_order
    from mfal.oracles.hopping.conductivity import conductivity
    from mfal.oracles.hopping.network import BOLTZMANN, hop_network
    from mfal.oracles.hopping.sites import LEAST_VACANCY, LOCALISED

    rng = np.random.default_rng(0)
    steps = (0.4, 0.3, 0.2, 0.15, 0.1)
    depth = LOCALISED * BOLTZMANN * 300.0
    print("3-D barrier, eV / log10 sigma of a powder at 300 K; mean ± spread over 3 grid origins")
    print(f"{'id':4s}" + "".join(f"{f'{step} Å':>32s}" for step in steps))
    for name, structure in structures(folder).items():
        if len(structure) > 110:
            continue
        framework = framework_of(structure)
        cells = []
        for step in steps:
            shape = grid_shape(framework.lattice, step)
            values = []
            for origin in [np.zeros(3), *rng.uniform(0, 1, (2, 3))]:
                index = np.indices(shape).reshape(3, -1).T
                order = morton_order(index)  # neighbours side by side share their lists of images
                energy = np.empty(len(index))
                energy[order] = site_energies(framework, index[order] / np.array(shape) + origin)
                found = percolate(energy.reshape(shape), 0.5)
                network = hop_network(found, framework.lattice, shape, shallow=depth)
                sigma = conductivity(
                    network, framework.mobile_count, exclusion=True, least_vacancy=LEAST_VACANCY
                )
                values.append((found.barrier[2], sigma.log10_powder))
            (e, s), (de, ds) = np.mean(values, axis=0), np.std(values, axis=0)
            cells.append(f"{e:.3f} ± {de:.3f} / {s:6.2f} ± {ds:.2f}")
        print(f"{name:4s}" + "".join(f"{cell:>32s}" for cell in cells), flush=True)


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="CIFs of OBELiX")
    parser.add_argument("--many", type=int, default=1000)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="parts to run")
    parser.add_argument("--only-many", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    if options.only_many:
        many(options.many)
        return
    figures: dict[str, Any] = {}
    if options.folder is not None and "peer" in options.only:
        figures["peer"] = compare(options.folder)
    if "kernel" in options.only:
        figures["kernel"] = kernel_rate()
    if "costs" in options.only:
        figures["median_cpu_s"] = costs()
    if "kmc" in options.only:
        logging.disable(logging.INFO)  # kmcpy tells of every step
        figures["kmc_hops_per_s"] = monte_carlo()
        figures["kmcpy_hops_per_s"] = peer_monte_carlo()
        for name, rate in figures["kmcpy_hops_per_s"].items():
            print(f"KMC, {name}: {figures['kmc_hops_per_s'][name] / rate:.0f} times kmcpy (wall)")
    if "many" in options.only:
        command = [sys.executable, __file__, "--only-many", "--many", str(options.many)]
        subprocess.run(command, check=True)
    if options.folder is not None and "convergence" in options.only:
        convergence(options.folder)
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
