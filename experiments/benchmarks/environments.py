"""How fast the crystal environment is, and that a million random trajectories end well.

Random-policy rollouts of the default spec, jitted, at several batch sizes, with the masks and with
masks replaced by a constant of the same shape (then steps are random and mean nothing, but cost
the same), so the difference is what the masks cost. Prints a table and writes a JSON file.

The policy draws its noise from a counter-based hash (one multiplication and shift a number), since
threefry noise over hundreds of actions would cost more than the environment.

Usage: python experiments/benchmarks/environments.py [--trajectories 1000000] [--out FILE]
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import mfal
from mfal.crystals.lattice import cell_factor, cell_volume, is_consistent
from mfal.crystals.types import Crystal
from mfal.envs import Action, CrystalSpec, Environment, crystal_environment, to_crystal
from mfal.envs.crystal.spec import species_list
from mfal.envs.crystal.state import static_of
from mfal.envs.crystal.validity import holds_counts

BATCHES = (256, 4096)


def hash_noise(counter: jax.Array) -> jax.Array:
    """Uniform numbers in (0, 1) from uint32 counters (Wellons' lowbias32 permutation)."""
    x = counter ^ (counter >> 16)
    x = x * jnp.uint32(0x7FEB352D)
    x = x ^ (x >> 15)
    x = x * jnp.uint32(0x846CA68B)
    x = x ^ (x >> 16)
    return (x >> 8).astype(jnp.float32) * jnp.float32(2**-24) + jnp.float32(2**-25)


def make_rollout(env: Environment, batch: int, masked: bool = True) -> Callable[..., Any]:
    """Jitted `seed -> (terminal states, transitions, dead ends)`."""
    start = jax.tree.map(lambda x: jnp.broadcast_to(x, (batch, *x.shape)), env.initial_state())
    lanes = jnp.arange(batch, dtype=jnp.uint32)
    actions = jnp.arange(env.num_actions, dtype=jnp.uint32)

    @jax.jit
    def rollout(seed: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
        def advance(carry: Any, time_step: jax.Array) -> tuple[Any, None]:
            states, transitions, dead = carry
            base = (seed * jnp.uint32(0x9E3779B9)) ^ (
                (lanes * jnp.uint32(64) + time_step) * jnp.uint32(0x85EBCA6B)
            )
            noise = hash_noise(base[:, None] + actions * jnp.uint32(0xC2B2AE35))
            live = ~jax.vmap(env.is_terminal)(states)
            if masked:
                mask = jax.vmap(env.action_mask)(states)
                dead += jnp.sum(live & ~jnp.any(mask, axis=1), dtype=jnp.int32)
                # Uniform among legal ones: the greatest of independent equal draws.
                noise = jnp.where(mask, noise, -1)
            index = jnp.argmax(noise, axis=1).astype(jnp.int32)
            action = Action(index, hash_noise(base + jnp.uint32(0x27D4EB2F)))
            states = jax.vmap(env.step)(states, action)
            return (states, transitions + jnp.sum(live, dtype=jnp.int32), dead), None

        zero = jnp.int32(0)
        steps = jnp.arange(env.max_steps, dtype=jnp.uint32)
        return jax.lax.scan(advance, (start, zero, zero), steps)[0]

    return rollout


def measure(rollout: Callable[..., Any], seconds: float = 3.0) -> tuple[float, float, float]:
    """Wall and CPU seconds of one rollout, and its mean number of transitions."""
    jax.block_until_ready(rollout(jnp.uint32(0)))
    runs, transitions = 0, 0
    wall, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        _, count, _ = rollout(jnp.uint32(runs + 1))
        transitions += int(count)
        runs += 1
    return (
        (time.perf_counter() - wall) / runs,
        (time.process_time() - cpu) / runs,
        transitions / runs,
    )


def invalid(spec: CrystalSpec, states: Any) -> int:
    """Number of terminal states that break the spec, every demand checked apart from the masks."""
    species = species_list(spec)
    static = static_of(spec)
    crystals: Crystal = jax.device_get(jax.jit(jax.vmap(lambda s: to_crystal(spec, s)))(states))
    states = jax.device_get(states)
    charges = np.array([float(s.state) for s in species] + [0.0])
    elements = np.array([s.element for s in species] + [-1])
    counts, kinds = states.counts, states.species
    atoms, used = counts.sum(1), (counts > 0).sum(1)
    chosen = elements[kinds]
    distinct = (np.diff(np.sort(np.where(chosen < 0, -1 - np.arange(chosen.shape[1]), chosen)))) > 0
    low, high = static.volume_range
    ions = np.append(np.asarray(static.volumes), 0)[kinds] * counts
    packing = cell_volume(crystals.lattice.astype(float)) / ions.sum(1)
    lattice = crystals.lattice
    slack = 1e-3
    good = (
        ((charges[kinds] * counts).sum(1) == 0)
        & (atoms >= spec.min_atoms)
        & (atoms <= spec.max_atoms)
        & (counts.max(1) <= spec.max_atoms_per_element)
        & (used >= spec.element_limits[0])
        & (used <= spec.element_limits[1])
        & distinct.all(1)
        & (crystals.composition[:, 2] > 0)
        & is_consistent(lattice)
        & (cell_factor(lattice.astype(float)) >= spec.min_cell_factor * (1 - slack))
        & (lattice[:, :3].min(1) >= spec.min_length * (1 - slack))
        & (lattice[:, :3].max(1) <= spec.max_length * (1 + slack))
        & (lattice[:, :3].max(1) <= lattice[:, :3].min(1) * spec.max_aspect * (1 + slack))
        & (lattice[:, 3:].min(1) >= spec.min_angle * (1 - slack))
        & (lattice[:, 3:].max(1) <= spec.max_angle * (1 + slack))
        & (packing >= low * (1 - slack))
        & (packing <= high * (1 + slack))
    )
    ordered = np.sort(counts, axis=1)
    for i, group in enumerate(crystals.space_group_number.tolist()):
        if good[i]:
            good[i] = holds_counts(group, tuple(n for n in ordered[i].tolist() if n))
    return int((~good).sum())


def main() -> None:
    """Measure, check, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trajectories", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=Path("environments.json"))
    args = parser.parse_args()

    spec = CrystalSpec()
    begin = time.perf_counter()
    env = crystal_environment(spec)
    built = time.perf_counter() - begin
    static = static_of(spec)
    table = static.options.nbytes + static.node.nbytes
    state_bytes = sum(x.nbytes for x in jax.tree.leaves(env.initial_state()))
    print(f"default spec: {env.num_actions} actions, at most {env.max_steps} steps")
    print(f"tables: {built:.2f} s to make or read, {table / 1e6:.1f} MB")
    per_trajectory = env.max_steps * (state_bytes + env.num_actions + 8)
    print(f"state {state_bytes} B; states, masks and actions of a trajectory {per_trajectory} B")

    rows = []
    print("batch   transitions/s   of them without masks   masks' share   transitions per CPU s")
    for batch in BATCHES:
        wall, cpu, count = measure(make_rollout(env, batch))
        bare_wall, bare_cpu, _ = measure(make_rollout(env, batch, masked=False))
        share = 1 - bare_cpu / cpu
        rows.append(
            {
                "batch": batch,
                "transitions_per_second": count / wall,
                "transitions_per_cpu_second": count / cpu,
                "mask_share": share,
            }
        )
        print(
            f"{batch:5d} {count / wall:15,.0f} {count / bare_wall:23,.0f}"
            f" {share:14.1%} {count / cpu:23,.0f}"
        )

    batch = 8192
    rollout = make_rollout(env, batch)
    dead_ends = bad = done = 0
    groups: set[int] = set()
    while done < args.trajectories:
        states, _, dead = rollout(jnp.uint32(1000 + done))
        dead_ends += int(dead)
        bad += invalid(spec, states)
        bad += int((~jax.vmap(env.is_terminal)(states)).sum())
        groups |= set((np.asarray(states.group) + 1).tolist())
        done += batch
    print(
        f"{done:,} random trajectories: {bad} invalid, {dead_ends} dead ends, {len(groups)} groups"
    )

    report = {
        "rows": rows,
        "tables_seconds": built,
        "tables_bytes": table,
        "bytes_per_trajectory": per_trajectory,
        "trajectories": done,
        "invalid": bad,
        "dead_ends": dead_ends,
        "groups_seen": len(groups),
        "versions": {"mfal": mfal.__version__, "jax": jax.__version__},
        "machine": {"cores": os.cpu_count(), "processor": platform.machine()},
    }
    args.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
