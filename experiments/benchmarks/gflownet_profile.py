"""Where the time of GFlowNet training goes: which share is matrix products?

    python experiments/benchmarks/gflownet_profile.py --out profile.json

Method: train on crystals of the production-like spec (3x256) and of the default one (2x128), batch
100, and on the hypergrid (4 dimensions, side 8, 2x256, learned backward policy), batch 256, until
compiled; trace ten more steps with JAX's profiler, which times every operation of the compiled
program; look each operation up in the program's text. Those that are, or contain, a matrix product
of the policy network count as products: trunk and heads, forward in the rollout, forward and
backward in the update, with the bias or rectifier that the compiler put into the same operation.
The small triangular products by which actions are drawn count apart. The share is of all time on
the working threads, waiting for work excluded, an operation's median run times the number of its
runs; the median of --rounds traces counts. The largest other operations are listed.
"""

import argparse
import collections
import json
import re
import statistics
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.profiler import ProfileData, ProfileOptions

from mfal.envs import CrystalSpec, crystal_environment, production_like_spec, to_crystal
from mfal.envs.hypergrid import HypergridReward, HypergridSpec, hypergrid, hypergrid_log_reward
from mfal.gflownet.config import TrainConfig
from mfal.gflownet.exploration import ExplorationConfig, Schedule
from mfal.gflownet.policy import PolicyConfig
from mfal.gflownet.train import Trainer, make_trainer

STEPS = 10


def main() -> None:
    """Profile both configurations, print and write the shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gflownet_profile.json"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("production", "default", "hypergrid"))
    args = parser.parse_args()
    results: dict[str, Any] = {"jax": jax.__version__}
    contests = {
        "production": lambda: crystals(production_like_spec(), (256, 256, 256)),
        "default": lambda: crystals(CrystalSpec(), (128, 128)),
        "hypergrid": grid,
    }
    for name, make in contests.items():
        if args.only in (None, name):
            results[name] = profile(*make(), args.rounds)
    args.out.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


def crystals(spec: CrystalSpec, hidden: tuple[int, ...]) -> tuple[Trainer, Any]:
    """A trainer on crystals, and its reward's parameters."""

    def reward(target: jax.Array, state: Any) -> jax.Array:
        return -jnp.abs(jnp.sum(to_crystal(spec, state).composition) - target) / 10

    policy = PolicyConfig(hidden=hidden, backward="none")
    config = TrainConfig(batch_size=100, policy=policy, steps_per_dispatch=STEPS)
    return make_trainer(crystal_environment(spec), reward, config), 20.0


def grid() -> tuple[Trainer, Any]:
    """A trainer as in the race of `gflownet.py` at batch 256."""
    spec = HypergridSpec(4, 8)
    config = TrainConfig(
        batch_size=256,
        policy=PolicyConfig(hidden=(256, 256), backward="learned"),
        log_z_from_batch=False,
        exploration=ExplorationConfig(epsilon=Schedule(0.1, 0.1)),
        steps_per_dispatch=STEPS,
    )
    return make_trainer(hypergrid(spec), hypergrid_log_reward(spec), config), HypergridReward()


def profile(trainer: Trainer, reward_params: Any, rounds: int) -> dict[str, Any]:
    """Shares of the time of a training step."""
    state = trainer.init(jax.random.key(0))
    for _ in range(10):
        state, metrics = trainer.run(state, reward_params, STEPS)
    jax.block_until_ready(metrics)
    kinds = operations(_program())
    shares, others = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            options = ProfileOptions()
            options.host_tracer_level, options.python_tracer_level = 3, 0
            with jax.profiler.trace(folder, profiler_options=options):
                state, metrics = trainer.run(state, reward_params, STEPS)
                jax.block_until_ready(metrics)
            (trace,) = Path(folder).rglob("*.xplane.pb")
            spent = self_times(ProfileData.from_file(str(trace)), set(kinds))
        total = sum(spent.values())
        by_kind: collections.Counter[str] = collections.Counter()
        rest: collections.Counter[str] = collections.Counter()
        for operation, nanoseconds in spent.items():
            kind, source = kinds.get(operation, ("other", operation))
            by_kind[kind] += nanoseconds
            if kind == "other":
                rest[source] += nanoseconds
        shares.append({kind: spent / total for kind, spent in by_kind.items()})
        others.append({source: spent / total for source, spent in rest.items()})
    middle = {source: _median(others, source) for source in others[-1]}
    largest = sorted(middle, key=lambda source: -middle[source])[:8]
    return {
        "mean length": round(float(jnp.mean(metrics.length)), 1),
        "share of the network's products": _median(shares, "network"),
        "share of the products that draw actions": _median(shares, "drawing"),
        "share of the rest": _median(shares, "other"),
        "largest of the rest": {source: middle[source] for source in largest},
    }


def operations(program: str) -> dict[str, tuple[str, str]]:
    """Each operation of a compiled program by name: its kind, and what it was written as."""
    bodies: dict[str, list[str]] = {}
    current: list[str] = []
    for line in program.splitlines():
        if (head := re.match(r"(?:ENTRY )?%?([\w.\-]+) .*\{\s*$", line)) is not None:
            current = bodies.setdefault(head.group(1), [])
        elif line.startswith("  "):
            current.append(line)

    def multiplies(line: str) -> bool:
        if re.search(r" (dot|convolution)\(", line):
            return True
        called = re.findall(r"(?:calls|to_apply)=%?([\w.\-]+)", line)
        if not re.search(r" (fusion|call|custom-call)\(", line):
            return False
        return any(multiplies(inner) for name in called for inner in bodies.get(name, ()))

    found = {}
    for line in (line for body in bodies.values() for line in body):
        if (name := re.match(r"\s+(?:ROOT )?%?([\w.\-]+) = ", line)) is None:
            continue
        source = re.search(r'op_name="([^"]*)"', line)
        written = source.group(1) if source else ""
        kind = "other"
        if multiplies(line):
            kind = "network" if "Policy." in written else "drawing"
        short = "/".join(written.replace("while/body/", "").split("/")[-3:])
        found[name.group(1)] = (kind, short or name.group(1).rstrip(".0123456789"))
    return found


def self_times(data: Any, names: set[str]) -> dict[str, float]:
    """Nanoseconds by name, without events inside, on threads that run such operations.

    The median run of an operation times the number of its runs: where the machine is shared, runs
    that were interrupted would count for more than they took.
    """
    runs: dict[str, list[float]] = collections.defaultdict(list)
    for plane in data.planes:
        for thread in plane.lines:
            events = sorted(thread.events, key=lambda event: (event.start_ns, -event.duration_ns))
            if sum(event.name in names for event in events) < 100:
                continue
            open_events: list[list[Any]] = []
            for event in events:
                while open_events and open_events[-1][1] <= event.start_ns:
                    name, _, spent = open_events.pop()
                    runs[name].append(spent)
                if open_events:
                    open_events[-1][2] -= event.duration_ns
                end = event.start_ns + event.duration_ns
                open_events.append([event.name, end, event.duration_ns])
            for name, _, spent in open_events:
                runs[name].append(spent)
    return {
        name: statistics.median(spent) * len(spent)
        for name, spent in runs.items()
        if "wait" not in name.lower()
    }


def _program() -> str:
    """Text of the compiled training step."""
    modules = [
        module
        for executable in jax.devices()[0].client.live_executables()
        for module in executable.hlo_modules()
        if "_dispatch" in module.name
    ]
    return str(modules[-1].to_string())


def _median(rows: list[dict[str, float]], name: str) -> float:
    return round(statistics.median(row.get(name, 0.0) for row in rows), 3)


if __name__ == "__main__":
    main()
