"""How training scales over devices: steps a second with the batch spread over one, two, ...

    python experiments/benchmarks/devices.py --devices 1 2

Each number of devices has a process of its own, in which XLA makes so many devices of the host's
cores and is held to as many cores (taskset, Linux), so that a device stands for a core. Processes
take turns, the best round counts. With more devices than cores the figure says nothing.
"""

import argparse
import json
import os
import subprocess
import sys

SCRIPT = """
import json, sys, time, jax
from mfal.envs import CrystalSpec, crystal_environment
from mfal.gflownet.config import TrainConfig
from mfal.gflownet.policy import PolicyConfig
from mfal.gflownet.train import make_trainer

batch, steps = int(sys.argv[1]), int(sys.argv[2])
spec = CrystalSpec(elements=("Li", "P", "S", "Cl", "O", "F"), max_atoms=24)
config = TrainConfig(
    batch_size=batch, policy=PolicyConfig(hidden=(256, 256, 256)), steps_per_dispatch=10
)
count = jax.device_count()
mesh = None if count == 1 else jax.make_mesh((count,), ("batch",))
trainer = make_trainer(crystal_environment(spec), lambda _, state: 0.0, config, mesh=mesh)
state, _ = trainer.run(trainer.init(jax.random.key(0)), None, 10)
start = time.perf_counter()
state, metrics = trainer.run(state, None, steps)
jax.block_until_ready(state)
print(json.dumps(steps / (time.perf_counter() - start)))
"""


def measure(devices: int, batch: int, steps: int) -> float:
    """Training steps a second on so many devices of one thread each."""
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    cores = ",".join(str(core) for core in range(devices))
    command = ["taskset", "-c", cores, sys.executable, "-c", SCRIPT, str(batch), str(steps)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure by turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, default=512, help="trajectories a step, in all")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    best: dict[int, float] = {}
    for _ in range(options.rounds):
        for devices in options.devices:
            rate = measure(devices, options.batch, options.steps)
            best[devices] = max(best.get(devices, 0.0), rate)
    first = best[options.devices[0]]
    print(f"batch {options.batch}, {os.cpu_count()} cores")
    for devices, rate in best.items():
        print(f"{devices} devices  {rate:.2f} steps/s  {rate / first:.2f}x")


if __name__ == "__main__":
    main()
