"""A batch of crystals spread over eight devices of the host gives what one device gives."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json, jax, numpy as np
from functools import partial
from jax.sharding import Mesh, PartitionSpec
from mfal.potentials import chgnet_potential, energy_forces_stress, pad_atoms

potential = chgnet_potential()
face = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
cell, species = 4.03 * np.eye(3), np.repeat([3, 9], 4)
sites = 4.03 * np.concatenate([face, face + [0.5, 0, 0]])
shaken = [sites + 0.1 * np.random.default_rng(n).normal(size=sites.shape) for n in range(16)]
batch = pad_atoms([(places, cell, species) for places in shaken])
inputs = (*batch, potential.neighbours(*batch))
one = partial(energy_forces_stress, potential.energy, potential.params)
alone = jax.jit(jax.vmap(one))(*inputs)

rows, mesh = PartitionSpec("crystals"), Mesh(jax.devices(), "crystals")
share = jax.shard_map(jax.vmap(one), mesh=mesh, in_specs=rows, out_specs=rows, check_vma=False)
spread = jax.jit(share)(*inputs)
print(json.dumps({
    "devices": len(spread.forces.sharding.device_set),
    "apart": [float(abs(np.asarray(a) - np.asarray(b)).max()) for a, b in zip(alone, spread)],
}))
"""


@pytest.mark.slow
def test_eight_devices_give_the_forces_of_one():
    flags = os.environ.get("XLA_FLAGS", "")
    environment = {
        **os.environ,
        "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["devices"] == 8
    assert max(found["apart"]) < 2e-5
