"""Data parallelism: eight host devices give the result of one."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys, tempfile, jax, numpy as np
from mfal.envs.hypergrid import HypergridReward, HypergridSpec, hypergrid, hypergrid_log_reward
from mfal.gflownet.checkpoint import restore, save
from mfal.gflownet.config import TrainConfig
from mfal.gflownet.policy import PolicyConfig
from mfal.gflownet.replay import ReplayConfig
from mfal.gflownet.train import make_trainer

compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda name, *_, **__: compiled.append(name) if name.endswith("backend_compile_duration") else 0
)
spec = HypergridSpec(2, 5)
config = TrainConfig(
    batch_size=32, loss="vargrad", policy=PolicyConfig(hidden=(16, 16)),
    replay=ReplayConfig(capacity=64), steps_per_dispatch=10,
)
out = {"devices": jax.device_count()}
for name, mesh in (("one", None), ("many", jax.make_mesh((8,), ("batch",)))):
    trainer = make_trainer(hypergrid(spec), hypergrid_log_reward(spec), config, mesh=mesh)
    state, metrics = trainer.run(trainer.init(jax.random.key(0)), HypergridReward(), 10)
    out[name] = {
        "loss": np.asarray(metrics.loss).tolist(),
        "norm": np.asarray(metrics.grad_norm).tolist(),
        "length": np.asarray(metrics.length).tolist(),
        "params": float(sum(abs(x).sum() for x in jax.tree.leaves(state.params["policy"]))),
        "actions": np.asarray(state.replay.index).tolist(),
    }
    before = len(compiled)
    state, _ = trainer.run(state, HypergridReward(), 10)
    out[name]["compiled again"] = len(compiled) - before
    folder = tempfile.mkdtemp() + "/checkpoint"
    save(folder, state)
    again = restore(folder, trainer.init(jax.random.key(1)))
    _, unbroken = trainer.run(state, HypergridReward(), 3)
    _, resumed = trainer.run(again, HypergridReward(), 3)
    out[name]["resumed"] = np.asarray(resumed.loss).tolist() == np.asarray(unbroken.loss).tolist()

def trained(loss, mesh):
    options = TrainConfig(
        batch_size=32, loss=loss, policy=PolicyConfig(hidden=(8,), backward="learned"),
        replay=ReplayConfig(capacity=64), steps_per_dispatch=5,
    )
    trainer = make_trainer(hypergrid(spec), hypergrid_log_reward(spec), options, mesh=mesh)
    state, _ = trainer.run(trainer.init(jax.random.key(0)), HypergridReward(), 5)
    return jax.device_get(state.params)


mesh = jax.make_mesh((8,), ("batch",))
out["apart"] = {}
for loss in sys.argv[1:]:
    pairs = zip(*(jax.tree.leaves(trained(loss, where)) for where in (None, mesh)), strict=True)
    out["apart"][loss] = max(float(abs(a - b).max()) for a, b in pairs)
alone = make_trainer(hypergrid(spec), hypergrid_log_reward(spec), config)
fresh = alone.init(jax.random.key(1))
many, once = (
    made.sample(fresh, HypergridReward(), jax.random.key(2), 16) for made in (trainer, alone)
)
out["samples"] = float(abs(np.asarray(many.log_pf) - np.asarray(once.log_pf)).max())
print(json.dumps(out))
"""


@pytest.mark.parametrize(
    "losses", [("tb",), pytest.param(("db", "subtb"), marks=pytest.mark.slow)], ids="+".join
)
def test_eight_devices_give_the_result_of_one(losses):
    flags = os.environ.get("XLA_FLAGS", "")
    environment = {
        **os.environ,
        "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *losses],
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    out = json.loads(done.stdout.splitlines()[-1])
    assert out["devices"] == 8
    one, many = out["one"], out["many"]
    for name in ("loss", "norm", "length"):
        assert many[name] == pytest.approx(one[name], rel=1e-3)
    assert many["params"] == pytest.approx(one["params"], rel=1e-5)
    assert many["actions"] == one["actions"]
    # What a step gives back lies where the next one wants it.
    assert one["compiled again"] == many["compiled again"] == 0
    assert one["resumed"]
    assert many["resumed"]
    assert max(out["apart"].values()) < 5e-6, out["apart"]
    assert out["samples"] < 1e-5
