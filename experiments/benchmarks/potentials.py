"""Speed of `mfal.potentials` beside chgnet's own, on the cores that this process may use.

    pip install -e '.[mlip]'
    python experiments/benchmarks/potentials.py [--parts steps relaxations sizes] [--rounds 8]
    taskset -c 0 python experiments/benchmarks/potentials.py     # on one core

- steps: molecular dynamics of embedded crystals of 40 to 100 atoms at 600 K, 1 fs. Ours is
  `run_dynamics` with its skin, its tables made anew when needed. Theirs is the least that a step of
  chgnet 0.4.2 takes: the crystal graph and `predict_graph(task="ef")`, without ASE.
- relaxations: 32 crystals of 8 to 28 atoms (of the embedded ones with 8 to 40, ordered by size,
  each third), expanded by 3 % and shaken by 0.05 Å, positions and cell, together by
  `relax_crystals` against one after the other by ASE's FIRE under a `FrechetCellFilter` with
  chgnet's calculator, to the same largest force. Theirs runs once, between two of ours.
- sizes: energy, forces and stress of one crystal against its number of atoms, and what share of the
  machine's float32 rate that is: operations as XLA counts them, over those of a matrix product.

Everything is warm: compilation is timed apart. Ours and theirs take turns, and what is printed is
the median over rounds of the ratio of two neighbours, of CPU and of wall seconds. Ratios hold under
load; times only on an idle machine.
"""

import argparse
import json
import os
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pymatgen.core import Structure
from timing import timed

from mfal.crystals import ATOMIC_MASS
from mfal.data import load_embedded
from mfal.potentials import (
    RelaxedCrystal,
    chgnet_potential,
    energy_forces_stress,
    nve,
    relax_crystals,
    run_dynamics,
    start_dynamics,
)

PARTS = ("steps", "relaxations", "sizes")
STEPPED = ("Li7P3S11", "BaLi2SiO4", "Li4GeO4", "BaLi2P2O7", "Li2B4O7")
"""Reduced formulas; 36 to 104 atoms."""
RELAXED = 32
SUPERCELLS = ((1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2), (3, 2, 2), (3, 3, 3), (4, 3, 3))
"""Of Li3PO4's cell of 32 atoms."""


def ordered() -> list[Structure]:
    """Embedded crystals without partial occupancies."""
    found = [s for s in load_embedded().structures() if s is not None and s.is_ordered]
    return [structure.copy().remove_oxidation_states() for structure in found]


def arrays(structure: Structure) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, cell, species."""
    return (
        np.array(structure.cart_coords),
        np.array(structure.lattice.matrix),
        np.array(structure.atomic_numbers),
    )


def by_turns(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Median seconds of each and median ratio of neighbours."""
    ours(), theirs()
    rows = []
    for _ in range(rounds):
        (_, wall, cpu), (_, other_wall, other_cpu) = timed(ours), timed(theirs)
        rows.append((cpu, other_cpu, other_cpu / cpu, other_wall / wall))
    names = ("ours_cpu_s", "theirs_cpu_s", "ratio_cpu", "ratio_wall")
    return {
        name: statistics.median(column)
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }


def steps(net: Any, rounds: int, formulas: Sequence[str], count: int = 20) -> list[dict[str, Any]]:
    """Steps of dynamics."""
    potential = chgnet_potential()
    structures = {s.composition.reduced_formula: s for s in ordered()}
    found = []
    for formula in formulas:
        structure = structures[formula]
        crystal = arrays(structure)
        masses = ATOMIC_MASS[crystal[2] - 1]
        integrator = nve(timestep=1.0)
        start = partial(start_dynamics, potential, [crystal], [masses], integrator)
        state, _, compiling = timed(lambda start=start: start(jax.random.key(0), temperature=600.0))
        held = [state]

        def ours(held: list = held, integrator: Any = integrator) -> None:
            held[0], _ = run_dynamics(potential, integrator, held[0], count, every=count)

        moved = [structure.copy().perturb(0.01, seed=number) for number in range(count)]

        def theirs(moved: list[Structure] = moved) -> None:
            for place in moved:
                net.predict_graph(net.graph_converter(place), task="ef")

        _, _, running = timed(ours)
        row = {"formula": formula, "atoms": len(structure), "warm_up_cpu_s": compiling + running}
        row |= by_turns(ours, theirs, rounds)
        for name in ("ours_cpu_s", "theirs_cpu_s"):
            row[name] /= count
        found.append(row)
        print(
            f"{formula:12} {row['atoms']:4} atoms: {row['ours_cpu_s'] * 1e3:6.1f} ms a step, "
            f"chgnet {row['theirs_cpu_s'] * 1e3:6.1f}: {row['ratio_cpu']:.2f}x CPU, "
            f"{row['ratio_wall']:.2f}x wall; compiled in {row['warm_up_cpu_s']:.0f} s",
            flush=True,
        )
    return found


def relaxations(net: Any, rounds: int) -> dict[str, Any]:
    """Many crystals, perturbed and expanded by 3 %, to 0.05 eV/Å."""
    from ase.filters import FrechetCellFilter
    from ase.optimize import FIRE
    from chgnet.model.dynamics import CHGNetCalculator
    from pymatgen.io.ase import AseAtomsAdaptor

    potential = chgnet_potential()
    structures = sorted((s for s in ordered() if 8 <= len(s) <= 40), key=len)
    structures = structures[:: max(1, len(structures) // RELAXED)][:RELAXED]
    for number, structure in enumerate(structures):
        structure.scale_lattice(1.03 * structure.volume)
        structure.perturb(0.05, seed=number)
    calculator = CHGNetCalculator(net, use_device="cpu")

    def theirs(structures: Sequence[Structure] = structures) -> list[tuple[int, float]]:
        found = []
        for structure in structures:
            atoms = AseAtomsAdaptor.get_atoms(structure)
            atoms.calc = calculator
            downhill = FIRE(FrechetCellFilter(atoms), logfile=None)
            downhill.run(fmax=0.05, steps=300)
            found.append((downhill.nsteps + 1, atoms.get_potential_energy() / len(atoms)))
        return found

    def ours() -> list[RelaxedCrystal]:
        return relax_crystals(potential, [arrays(structure) for structure in structures])

    _, _, compiling = timed(ours)
    theirs(structures[:1])
    rows = []
    for _ in range(rounds):
        (mine, *before), (found, *between), (_, *after) = timed(ours), timed(theirs), timed(ours)
        (wall, cpu), (other_wall, other_cpu) = np.mean([before, after], 0), between
        rows.append((cpu, other_cpu, other_cpu / cpu, other_wall / wall))
    names = ("ours_cpu_s", "theirs_cpu_s", "ratio_cpu", "ratio_wall")
    row = dict(zip(names, np.median(rows, 0).tolist(), strict=True))
    higher = [float(one.energy - energy) for one, (_, energy) in zip(mine, found, strict=True)]
    row |= {
        "crystals": len(structures),
        "first_cpu_s": compiling,
        "converged": sum(one.status == "converged" for one in mine),
        "evaluations": sum(one.steps for one in mine),
        "their_evaluations": sum(evaluations for evaluations, _ in found),
        "within_2_mev": sum(abs(difference) < 2e-3 for difference in higher),
        "highest_above_theirs": max(higher),
        "lowest_below_theirs": min(higher),
    }
    print(
        f"{row['crystals']} relaxations: {row['ours_cpu_s']:.0f} s, ASE and chgnet "
        f"{row['theirs_cpu_s']:.0f}: {row['ratio_cpu']:.2f}x CPU, {row['ratio_wall']:.2f}x wall; "
        f"{row['evaluations']} evaluations against {row['their_evaluations']}; energies of "
        f"{row['within_2_mev']} within 2 meV per atom of theirs, the others "
        f"{1e3 * min(higher):.0f} to {1e3 * max(higher):.0f} above; first, with compilation, "
        f"{compiling:.0f} s",
        flush=True,
    )
    return row


def peak() -> float:
    """float32 operations a second of a matrix product."""
    matrix = jnp.ones((2048, 2048), jnp.float32)
    product = jax.jit(jnp.matmul)
    jax.block_until_ready(product(matrix, matrix))
    seconds = min(
        timed(lambda: jax.block_until_ready(product(matrix, matrix)))[1] for _ in range(10)
    )
    return 2 * 2048**3 / seconds


def sizes(count: int = 4) -> dict[str, Any]:
    """Steps a second against atoms, the step itself without the tables."""
    potential = chgnet_potential()
    unit = next(s for s in ordered() if s.composition.reduced_formula == "Li3PO4" and len(s) == 32)
    rows = []

    @jax.jit
    def walk(params: Any, positions: jax.Array, *rest: Any) -> jax.Array:
        """Many steps in one call, as dynamics does; memory for them is asked for once."""

        def step(positions: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            answer = energy_forces_stress(potential.energy, params, positions, *rest)
            return positions + 1e-4 * answer.forces, answer.energy

        return jax.lax.scan(step, positions, None, length=count)[1]

    for factors in SUPERCELLS:
        structure = unit.copy().make_supercell(factors).perturb(0.05, seed=0)
        crystal = arrays(structure)
        tables_s = min(timed(lambda c=crystal: potential.neighbours(*c))[2] for _ in range(3))
        tables = potential.neighbours(*crystal)
        inputs = (
            potential.params,
            jnp.asarray(crystal[0], jnp.float32),
            jnp.asarray(crystal[1], jnp.float32),
            jnp.asarray(crystal[2], jnp.int32),
            tables,
        )
        compiled, _, compile_s = timed(lambda inputs=inputs: walk.lower(*inputs).compile())
        single = jax.jit(partial(energy_forces_stress, potential.energy)).lower(*inputs)
        operations = single.cost_analysis()["flops"]

        def run(compiled: Any = compiled, inputs: Any = inputs) -> None:
            jax.block_until_ready(compiled(*inputs))

        run()
        attempts = [timed(run)[1:] for _ in range(3)]
        wall, cpu = (min(column) / count for column in zip(*attempts, strict=True))
        row = {"atoms": len(structure), "wall_s": wall, "cpu_s": cpu, "tables_cpu_s": tables_s}
        row |= {"compile_cpu_s": compile_s, "gflops": operations / 1e9}
        rows.append(row)
        print(
            f"{row['atoms']:5} atoms: {1 / cpu:6.2f} steps per CPU second, "
            f"{row['atoms'] / cpu:6.0f} atoms x steps, tables {tables_s * 1e3:.1f} ms, "
            f"{row['gflops'] / cpu:.0f} GFLOP/s, compiled in {compile_s:.0f} s",
            flush=True,
        )
    rate = peak() / 1e9
    print(f"a matrix product: {rate:.0f} GFLOP/s")
    return {"rows": rows, "peak_gflop_per_s": rate}


def main(parts: list[str], rounds: int, formulas: list[str], output: Path | None) -> None:
    """Measure what is asked for and write it."""
    cores = len(os.sched_getaffinity(0))
    print(f"{cores} cores, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}")
    found: dict[str, Any] = {"cores": cores, "load": os.getloadavg()[0]}
    net = None
    if {"steps", "relaxations"} & set(parts):
        import torch
        from chgnet.model import CHGNet

        torch.set_num_threads(cores)
        net = CHGNet.load(use_device="cpu", verbose=False)
    if "steps" in parts:
        found["steps"] = steps(net, rounds, formulas)
    if "relaxations" in parts:
        found["relaxations"] = relaxations(net, max(1, rounds // 8))
    if "sizes" in parts:
        found["sizes"] = sizes()
    if output is not None:
        output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", nargs="+", default=STEPPED, metavar="FORMULA")
    parser.add_argument("--output", type=Path, help="JSON to write")
    options = parser.parse_args()
    main(options.parts, options.rounds, options.steps, options.output)
