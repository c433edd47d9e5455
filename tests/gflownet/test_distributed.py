"""Two processes, as on two hosts: `jax.distributed` gives the result of one process."""

import json
import os
import socket
import subprocess
import sys

import pytest

SCRIPT = """
import sys, jax
port, processes, me, folder = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
if processes > 1:
    jax.distributed.initialize(f"localhost:{port}", processes, me)
import json
import numpy as np
from mfal.envs.hypergrid import HypergridReward, HypergridSpec, hypergrid, hypergrid_log_reward
from mfal.gflownet.checkpoint import restore, save
from mfal.gflownet.config import TrainConfig
from mfal.gflownet.policy import PolicyConfig
from mfal.gflownet.replay import ReplayConfig
from mfal.gflownet.train import make_trainer

spec, reward = HypergridSpec(2, 5), HypergridReward()
config = TrainConfig(
    batch_size=32, policy=PolicyConfig(hidden=(16, 16)), replay=ReplayConfig(capacity=64),
    steps_per_dispatch=10,
)
mesh = jax.make_mesh((jax.device_count(),), ("batch",)) if processes > 1 else None
trainer = make_trainer(hypergrid(spec), hypergrid_log_reward(spec), config, mesh=mesh)
state, first = trainer.run(trainer.init(jax.random.key(0)), reward, 10)
samples = trainer.sample(state, reward, jax.random.key(1), 8)
save(folder, state)
_, unbroken = trainer.run(state, reward, 5)
_, resumed = trainer.run(restore(folder, trainer.init(jax.random.key(5))), reward, 5)
print(json.dumps({
    "devices": jax.device_count(),
    "loss": np.asarray(first.loss).tolist(),
    "later": np.asarray(unbroken.loss).tolist(),
    "resumed": np.asarray(resumed.loss).tolist(),
    "samples": np.asarray(samples.log_reward).tolist(),
}))
"""


def start(port, processes, me, folder):
    # One device a process, whatever the test run itself was given.
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    words = map(str, (port, processes, me, folder))
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer(process):
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out.splitlines()[-1])


@pytest.mark.slow
def test_two_processes_give_the_result_of_one(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    pair = [start(port, 2, me, tmp_path / "two") for me in (0, 1)]
    first, second = map(answer, pair)
    one = answer(start(port, 1, 0, tmp_path / "one"))
    assert first == second
    assert (one["devices"], first["devices"]) == (1, 2)
    for name in ("loss", "later", "samples"):
        assert first[name] == pytest.approx(one[name], rel=1e-3)
    assert first["resumed"] == first["later"]
