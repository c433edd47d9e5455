"""How training scales over devices, each of them one core of the host.

    python experiments/benchmarks/devices.py --devices 1 2

Each number of devices has a process of its own, in which XLA makes so many devices of the host and
which is held to as many cores (taskset, Linux): one device on one core, two on two. Strong scaling
keeps the batch (its trajectories are spread), weak scaling gives each device a batch of its own.
Compilation is over before the clock runs. Processes take turns, the best round counts; CPU seconds
are those of all threads of a process. With more devices than cores the figures say nothing.
"""

import argparse
import json
import os
import subprocess
import sys
from typing import Any

SCRIPT = """
import json, sys, time, jax
from mfal.envs import CrystalSpec, crystal_environment
from mfal.envs.hypergrid import HypergridReward, HypergridSpec, hypergrid, hypergrid_log_reward
from mfal.gflownet.config import TrainConfig
from mfal.gflownet.policy import PolicyConfig
from mfal.gflownet.train import make_trainer

env, batch, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
if env == "crystal":
    spec = CrystalSpec(elements=("Li", "P", "S", "Cl", "O", "F"), max_atoms=24)
    env, reward, params = crystal_environment(spec), lambda _, state: 0.0, None
    policy = PolicyConfig(hidden=(256, 256, 256))
else:
    spec = HypergridSpec(4, 8)
    env, reward, params = hypergrid(spec), hypergrid_log_reward(spec), HypergridReward()
    policy = PolicyConfig(hidden=(256, 256), backward="learned")
config = TrainConfig(batch_size=batch, policy=policy, steps_per_dispatch=10)
count = jax.device_count()
mesh = None if count == 1 else jax.make_mesh((count,), ("batch",))
trainer = make_trainer(env, reward, config, mesh=mesh)
state = trainer.init(jax.random.key(0))
for _ in range(3):
    state, _ = trainer.run(state, params, 10, bar=False)
jax.block_until_ready(state)
wall, cpu = time.perf_counter(), time.process_time()
state, _ = trainer.run(state, params, steps, bar=False)
jax.block_until_ready(state)
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print(json.dumps([batch * steps / wall, batch * steps / cpu]))
"""


def measure(env: str, devices: int, batch: int, steps: int) -> tuple[float, float]:
    """Trajectories a second of wall time and a CPU second, on so many devices of one core each."""
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    cores = ",".join(str(core) for core in range(devices))
    command = ["taskset", "-c", cores, sys.executable, "-c", SCRIPT, env, str(batch), str(steps)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    wall, cpu = json.loads(done.stdout.splitlines()[-1])
    return float(wall), float(cpu)


def main() -> None:
    """Measure by turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--env", choices=("crystal", "hypergrid"), default="crystal")
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, default=512, help="trajectories a step")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    best: dict[Any, tuple[float, float]] = {}
    first = options.devices[0]
    contests = [("strong", count, options.batch) for count in options.devices]
    contests += [
        ("weak", count, options.batch * count // first)
        for count in options.devices
        if count != first
    ]
    for _ in range(options.rounds):
        for contest in contests:
            _, devices, batch = contest
            found = measure(options.env, devices, batch, options.steps)
            best[contest] = max(best.get(contest, found), found)
    alone = best["strong", first, options.batch]
    print(f"{options.env}, {os.cpu_count()} cores; trajectories a second, a CPU second")
    for (scaling, devices, batch), (wall, cpu) in best.items():
        print(
            f"{scaling:6s}  {devices} devices, batch {batch:5d}  {wall:8.0f} {cpu:8.0f}  "
            f"{wall / alone[0]:.2f}x"
        )


if __name__ == "__main__":
    main()
