"""Does the sampler draw crystals in proportion to the reward?

    python experiments/gflownet_quality.py --seconds 60 --out quality.json

Trains on the crystal environment for a given number of CPU seconds (compilation apart) with a
reward on the mass density, log R = -((rho - target) / width)^2 / 2 per unit of the cube [0, 1]^d of
the d free lattice parameters (as Crystal-GFN's; per Å and degree the triclinic cells, with six free
parameters, would hold all but e^-17 of the mass), and prints for held-out
crystals the correlation of log p with log R, bounds on log Z, and for the policy's own samples
whether each is valid, and how the best differ. Held-out crystals are drawn half by the untrained
policy, half by the trained one. States have one parent, so log p is exact.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mfal.crystals.elements import ATOMIC_MASS
from mfal.crystals.groups import LATTICE_SYSTEM
from mfal.crystals.lattice import FREE_PARAMETERS, cell_matrix
from mfal.envs import CrystalSpec, crystal_environment, species_of, to_crystal
from mfal.envs.crystal.validity import violations
from mfal.gflownet.config import TrainConfig
from mfal.gflownet.estimates import measure_diversity, measure_quality, top_k
from mfal.gflownet.exploration import ExplorationConfig, Schedule
from mfal.gflownet.policy import PolicyConfig
from mfal.gflownet.progress import progress_bar
from mfal.gflownet.train import make_trainer

# Atomic mass unit over cubic ångström, in g/cm^3 (CODATA 2018: 1.66053906660e-24 g).
GRAMS = 1.66053906660


def density(spec: CrystalSpec, state: Any) -> jax.Array:
    """Mass density of a terminal state, g/cm^3."""
    crystal = to_crystal(spec, state)
    mass = crystal.composition @ jnp.asarray(ATOMIC_MASS, jnp.float32)
    return GRAMS * mass / jnp.abs(jnp.linalg.det(cell_matrix(crystal.lattice)))


def main() -> None:
    """Train, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="CPU seconds of training")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--epsilon", type=float, default=0.1, help="chance of a random action")
    parser.add_argument("--max-atoms", type=int, default=56)
    parser.add_argument("--target", type=float, default=2.5, help="density, g/cm^3")
    parser.add_argument("--spread", type=float, default=0.5, help="its width, g/cm^3")
    parser.add_argument("--held-out", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("gflownet_quality.json"))
    args = parser.parse_args()

    spec = CrystalSpec(max_atoms=args.max_atoms)
    env = crystal_environment(spec)

    ranges = [spec.max_length - spec.min_length] * 3 + [spec.max_angle - spec.min_angle] * 3
    log_cube = jnp.asarray(FREE_PARAMETERS @ np.log(ranges), jnp.float32)[
        jnp.asarray(LATTICE_SYSTEM)
    ]

    def log_reward(params: jax.Array, state: Any) -> jax.Array:
        group = to_crystal(spec, state).space_group_number
        score = -0.5 * ((density(spec, state) - params[0]) / params[1]) ** 2
        return score - log_cube[group - 1]

    policy = PolicyConfig(hidden=(args.width, args.width), backward="none")
    config = TrainConfig(
        batch_size=args.batch,
        policy=policy,
        learning_rate=args.learning_rate,
        clip_norm=10.0,
        exploration=ExplorationConfig(epsilon=Schedule(args.epsilon, args.epsilon)),
    )
    trainer = make_trainer(env, log_reward, config)
    params = jnp.array([args.target, args.spread], jnp.float32)
    half = args.held_out // 2
    state = trainer.init(jax.random.key(args.seed))
    broad = trainer.sample(state, params, jax.random.key(1), half)

    state, _ = trainer.run(state, params, 1)
    start = time.process_time()
    steps = 0
    with progress_bar(0, args.batch) as bar:
        while time.process_time() - start < args.seconds:
            state, metrics = trainer.run(state, params, config.steps_per_dispatch)
            steps += config.steps_per_dispatch
            bar(steps, metrics)
    seconds = time.process_time() - start

    own = trainer.sample(state, params, jax.random.key(2), max(args.held_out, 1000))
    held_out = jax.tree.map(lambda a, b: jnp.concatenate([a, b[:half]]), broad.states, own.states)
    measure = measure_quality(trainer, log_reward, num_samples=args.held_out, num_trajectories=1)
    quality = measure(state, params, held_out, jax.random.key(3))
    broken = sum(_is_broken(spec, row) for row in _unstack(own.states))
    best = top_k(own, 100)

    def distance(a: Any, b: Any) -> jax.Array:
        """Distance of two compositions as fractions of atoms: 0 equal, 1 no element shared."""
        x, y = to_crystal(spec, a).composition, to_crystal(spec, b).composition
        return 0.5 * jnp.sum(jnp.abs(x / jnp.sum(x) - y / jnp.sum(y)))

    def diversity(best: Any) -> Any:
        return measure_diversity(best, distance, threshold=-jnp.inf, radius=0.1)

    diverse = jax.jit(diversity)(best)
    groups = {int(to_crystal(spec, one).space_group_number) for one in _unstack(best.states)}
    result = {
        "config": {name: str(value) for name, value in vars(args).items()},
        "jax": jax.__version__,
        "steps": steps,
        "CPU seconds": round(seconds, 1),
        "trajectories per CPU second": round(steps * args.batch / seconds),
        "correlation of log p and log R": round(float(quality.correlation), 4),
        "rank correlation": round(float(quality.rank_correlation), 4),
        "spread of log p - log R": round(float(quality.spread), 3),
        "log Z, lower bound": round(float(quality.log_z_lower), 3),
        "log Z, importance sampled": round(float(quality.log_z_estimate), 3),
        "log Z, learned": round(float(trainer.log_z(state.params)), 3),
        "effective share of samples": round(float(quality.effective_share), 3),
        "invalid crystals": f"{broken} of {len(own.log_reward)}",
        "mean log R, untrained": round(float(jnp.mean(broad.log_reward)), 3),
        "mean log R, trained": round(float(jnp.mean(own.log_reward)), 3),
        "top 100, mean log R": round(float(diverse.mean_log_reward), 4),
        "top 100, mean distance of compositions": round(float(diverse.distance), 3),
        "top 100, modes (distance over 0.1)": int(diverse.modes),
        "top 100, space groups": len(groups),
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    for name, value in result.items():
        if name != "config":
            print(f"{name:42s} {value}")


def _unstack(states: Any) -> list[Any]:
    count = len(jax.tree.leaves(states)[0])
    host = jax.tree.map(np.asarray, states)
    return [jax.tree.map(lambda leaf, at=row: leaf[at], host) for row in range(count)]


def _is_broken(spec: CrystalSpec, state: Any) -> bool:
    return bool(violations(spec, to_crystal(spec, state), species_of(spec, state)))


if __name__ == "__main__":
    main()
