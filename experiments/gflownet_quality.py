"""Does the sampler draw crystals in proportion to the reward?

    python experiments/gflownet_quality.py density runs/density --at 60s 600s
    python experiments/gflownet_quality.py sendek runs/sendek --at 60s 600s
    python experiments/gflownet_quality.py density runs/stand-in --as-crystal-gfn --at 2000 6840

Trains on the crystal environment (default spec) and measures at each mark: after so many CPU
seconds of training on one core ("60s"), or so many updates ("2000"). Tables, compilation and
measuring are not counted. A run that is cut short (or ended by --piece) goes on with the same
command; what a mark has found is in `quality-MARK.json` of the folder.

Rewards, each per unit of the cube [0, 1]^d of a group's d free lattice parameters, as in
Crystal-GFN (per Å and degree, triclinic cells with six of them would hold all but e^-17 of the
mass):

- density: log R = -((rho - 2.5 g/cm^3) / 0.5 g/cm^3)^2 / 2;
- sendek: R = p^4, with p the chance of being superionic that an ensemble (`mfal.proxies`) predicts
  from composition, space group and lattice; it is fitted here to Sendek's classifier
  (`mfal.oracles`) on the embedded compounds.

Held-out crystals: half drawn by the untrained policy, half by the trained one, after training; the
correlation of log p with log R is given for each half, too, and for the embedded compounds that the
spec admits. States have one parent, so log p is exact.

Crystal-GFN itself is not run. `--as-crystal-gfn` is a stand-in for what its updates buy: this
environment and trainer with the settings of its published density experiment (trajectory balance,
3x256, Adam 1e-4, log Z at 100 times that from zero, a random action in ten; no replay), and 100
trajectories an update where it has 20. An hour on its code is some 2,000 updates by its users'
account, and 6,840 by its bare speed of 190 trajectories a CPU second.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.crystals.elements import ATOMIC_MASS
from mfal.crystals.groups import LATTICE_SYSTEM
from mfal.crystals.lattice import FREE_PARAMETERS, cell_matrix
from mfal.data import load_embedded
from mfal.envs import CrystalSpec, crystal_environment, from_crystal, species_of, to_crystal
from mfal.envs.crystal.validity import violations
from mfal.errors import MfalError
from mfal.gflownet.config import TrainConfig
from mfal.gflownet.estimates import correlation, log_prob, measure_diversity, measure_quality, top_k
from mfal.gflownet.exploration import ExplorationConfig, Schedule
from mfal.gflownet.policy import PolicyConfig
from mfal.gflownet.runner import run_in_folder
from mfal.gflownet.train import Trainer, make_trainer
from mfal.oracles.sendek.regression import WEIGHTS, expected_features
from mfal.proxies import EnsembleConfig, make_dataset, make_ensemble

# Atomic mass unit over cubic ångström, in g/cm^3 (CODATA 2018: 1.66053906660e-24 g).
GRAMS = 1.66053906660


class Task(NamedTuple):
    """A reward and its parameters."""

    score: Callable[[Any, Any], jax.Array]
    """(params, crystal) to log R before the measure of the cell, []."""
    params: Any


def main() -> None:
    """Train, measure at each mark, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reward", choices=("density", "sendek"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--at", nargs="+", default=["60s"], help="marks, ascending")
    parser.add_argument("--piece", type=float, default=1e9, help="end after so many seconds (wall)")
    parser.add_argument("--as-crystal-gfn", action="store_true")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--epsilon", type=float, default=0.1, help="chance of a random action")
    parser.add_argument("--held-out", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)

    spec = CrystalSpec()
    task = density_task() if args.reward == "density" else sendek_task()
    log_reward = per_cube(spec, task.score)
    trainer = make_trainer(crystal_environment(spec), log_reward, settings(args))
    key = jax.random.key(args.seed)
    # Compiled before the clock runs.
    jax.block_until_ready(trainer.run(trainer.init(key), task.params, 1))
    begin = time.monotonic()

    for mark in args.at:
        out = args.folder / f"quality-{mark}.json"
        if out.exists():
            continue
        spent = Spent(args.folder / "spent.json")
        start = time.process_time()

        def over(steps: int, mark: str = mark, spent: Spent = spent, start: float = start) -> bool:
            seconds = spent.seconds + time.process_time() - start
            spent.now = (steps, seconds)
            late = time.monotonic() - begin > args.piece
            return late or (mark.endswith("s") and seconds >= float(mark[:-1]))

        limit = None if mark.endswith("s") else int(mark)
        state = run_in_folder(
            args.folder, trainer, key, task.params, limit, checkpoint_every=10**9, stop=over
        )
        spent.write()
        steps, seconds = spent.now
        reached = seconds >= float(mark[:-1]) if limit is None else steps >= limit
        if not reached:
            print(f"{seconds:.0f} CPU s, {steps} updates so far; run the same command again")
            return
        found = measure(spec, trainer, state, task.params, log_reward, args.held_out, key)
        result = {
            "reward": args.reward,
            "settings": {name: str(value) for name, value in vars(args).items()},
            "jax": jax.__version__,
            "updates": steps,
            "CPU seconds": round(seconds, 1),
            "trajectories": steps * trainer.config.batch_size,
            **found,
        }
        out.write_text(json.dumps(result, indent=2) + "\n")
        print(f"{args.reward} at {mark}")
        for name, value in result.items():
            if name != "settings":
                print(f"  {name:48s} {value}")


class Spent:
    """Updates and CPU seconds of training in this folder, over all pieces."""

    def __init__(self, path: Path) -> None:
        self.path = path
        before = json.loads(path.read_text()) if path.exists() else {"updates": 0, "seconds": 0.0}
        self.seconds = float(before["seconds"])
        self.now = (int(before["updates"]), self.seconds)

    def write(self) -> None:
        """Keep the count."""
        steps, seconds = self.now
        self.path.write_text(json.dumps({"updates": steps, "seconds": seconds}) + "\n")


def settings(args: argparse.Namespace) -> TrainConfig:
    """Of this run: the command line's, or those of Crystal-GFN's density experiment."""
    if args.as_crystal_gfn:
        return TrainConfig(
            batch_size=100,
            policy=PolicyConfig(hidden=(256, 256, 256), backward="none"),
            learning_rate=1e-4,
            log_z_learning_rate=1e-2,
            log_z_from_batch=False,
            exploration=ExplorationConfig(epsilon=Schedule(0.1, 0.1)),
        )
    return TrainConfig(
        batch_size=args.batch,
        policy=PolicyConfig(hidden=(args.width, args.width), backward="none"),
        learning_rate=args.learning_rate,
        clip_norm=10.0,
        exploration=ExplorationConfig(epsilon=Schedule(args.epsilon, args.epsilon)),
    )


def per_cube(spec: CrystalSpec, score: Callable[[Any, Any], jax.Array]) -> Any:
    """A log-reward that counts the free lattice parameters by their share of the spec's ranges."""
    ranges = [spec.max_length - spec.min_length] * 3 + [spec.max_angle - spec.min_angle] * 3
    log_cube = jnp.asarray(FREE_PARAMETERS @ np.log(ranges), jnp.float32)
    log_cube = log_cube[jnp.asarray(LATTICE_SYSTEM)]

    def log_reward(params: Any, state: Any) -> jax.Array:
        crystal = to_crystal(spec, state)
        return score(params, crystal) - log_cube[crystal.space_group_number - 1]

    return log_reward


def density_task(target: float = 2.5, spread: float = 0.5) -> Task:
    """Mass density near a target, g/cm^3."""

    def score(params: jax.Array, crystal: Any) -> jax.Array:
        mass = crystal.composition @ jnp.asarray(ATOMIC_MASS, jnp.float32)
        density = GRAMS * mass / jnp.abs(jnp.linalg.det(cell_matrix(crystal.lattice)))
        return -0.5 * ((density - params[0]) / params[1]) ** 2

    return Task(score, jnp.array([target, spread], jnp.float32))


def sendek_task(power: float = 4.0) -> Task:
    """A learned proxy of Sendek's classifier."""
    table = load_embedded()
    rows, log_odds = [], []
    for row in np.flatnonzero(table.has_crystal):
        structure = table.structure(int(row))
        if structure is None:
            continue
        try:
            features = expected_features(structure)
        except MfalError:
            continue  # an element without electronegativity
        rows.append(row)
        log_odds.append(features @ np.asarray(WEIGHTS[:5]) + WEIGHTS[5])
    known = table.select(np.array(rows))
    data = make_dataset(known.crystals(), np.zeros(len(rows), int), np.array(log_odds))
    ensemble = make_ensemble(EnsembleConfig(num_fidelities=1))
    proxy = ensemble.fit(ensemble.init(jax.random.key(0)), data, jax.random.key(1))

    def score(params: Any, crystal: Any) -> jax.Array:
        fitted, power = params
        return power * jax.nn.log_sigmoid(jnp.mean(ensemble.predict(fitted, crystal).members[:, 0]))

    return Task(score, (proxy, jnp.float32(power)))


def measure(
    spec: CrystalSpec,
    trainer: Trainer,
    state: Any,
    params: Any,
    log_reward: Any,
    count: int,
    key: jax.Array,
) -> dict[str, Any]:
    """What a trained state is worth."""
    key_broad, key_own, key_quality, key_back = jax.random.split(jax.random.fold_in(key, 1), 4)
    half = count // 2
    broad = trainer.sample(trainer.init(key), params, key_broad, half)
    own = trainer.sample(state, params, key_own, max(count, 1000))
    held_out = jax.tree.map(lambda a, b: jnp.concatenate([a, b[:half]]), broad.states, own.states)
    quality = measure_quality(trainer, log_reward, num_samples=count, num_trajectories=1)(
        state, params, held_out, key_quality
    )
    estimate = log_prob(trainer, 1)
    rewards = jax.jit(jax.vmap(log_reward, in_axes=(None, 0)))

    def agreement(states: Any) -> float:
        log_p = estimate(state.params, states, key_back).value
        return round(float(correlation(log_p, rewards(params, states))), 4)

    known = jax.tree.map(jnp.asarray, known_states(spec))
    best = top_k(own, 100)

    def distance(a: Any, b: Any) -> jax.Array:
        """Distance of two compositions as fractions of atoms: 0 equal, 1 no element shared."""
        x, y = to_crystal(spec, a).composition, to_crystal(spec, b).composition
        return 0.5 * jnp.sum(jnp.abs(x / jnp.sum(x) - y / jnp.sum(y)))

    diverse = measure_diversity(best, distance, threshold=-jnp.inf, radius=0.1)
    broken = count_broken(spec, own.states)
    groups = np.unique(jax.vmap(partial(to_crystal, spec))(best.states).space_group_number)
    return {
        "correlation of log p and log R, held out": round(float(quality.correlation), 4),
        "  half drawn by the untrained policy": agreement(broad.states),
        "  half drawn by the trained policy": agreement(jax.tree.map(lambda x: x[:half], own[0])),
        f"  {len(jax.tree.leaves(known)[0])} embedded compounds": agreement(known),
        "rank correlation, held out": round(float(quality.rank_correlation), 4),
        "spread of log p - log R, held out": round(float(quality.spread), 3),
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


@cache
def known_states(spec: CrystalSpec, limit: int = 60) -> Any:
    """Terminal states [N] of embedded compounds that the spec admits, at most so many."""
    table = load_embedded()
    crystals = table.select(table.has_crystal).crystals()
    found: list[Any] = []
    for row in range(len(crystals.space_group_number)):
        try:
            found.append(from_crystal(spec, jax.tree.map(lambda leaf, at=row: leaf[at], crystals)))
        except MfalError:
            continue  # the spec forbids it
        if len(found) == limit:
            break
    return jax.tree.map(lambda *leaves: np.stack(leaves), *found)


def count_broken(spec: CrystalSpec, states: Any) -> int:
    """How many terminal states [N] violate a rule of the spec."""
    host = jax.tree.map(np.asarray, states)
    crystals = jax.tree.map(np.asarray, jax.jit(jax.vmap(partial(to_crystal, spec)))(states))
    broken = 0
    for row in range(len(crystals.space_group_number)):
        crystal, state = (jax.tree.map(lambda x, at=row: x[at], tree) for tree in (crystals, host))
        broken += bool(violations(spec, crystal, species_of(spec, state)))
    return broken


if __name__ == "__main__":
    main()
