import subprocess
import sys
from functools import partial

import jax
import numpy as np
from jax import export

from mfal.potentials import chgnet_potential, energy_forces_stress, outdated, pad_atoms

HEAVY = [
    "ase",
    "chgnet",
    "chex",
    "flax",
    "matplotlib",
    "numba",
    "optax",
    "pandas",
    "pymatgen",
    "spglib",
    "torch",
]


def test_energy_forces_and_stress_lower_for_every_platform():
    potential = chgnet_potential()
    crystal = (np.zeros((1, 3)), 2.5 * np.eye(3), np.array([3]))
    batch = pad_atoms([crystal, crystal])
    tables = potential.neighbours(*batch, skin=0.1)

    def program(params, positions, cells, species, tables):
        one = partial(energy_forces_stress, potential.energy, params)
        answers = jax.vmap(one)(positions, cells, species, tables)
        return answers, jax.vmap(outdated)(tables, positions, cells)

    exported = export.export(jax.jit(program), platforms=("cpu", "cuda", "tpu"))(
        potential.params, *batch, tables
    )
    assert set(exported.platforms) == {"cpu", "cuda", "tpu"}
    assert "callback" not in exported.mlir_module()


def test_a_potential_needs_jax_and_numpy_alone():
    program = (
        "import sys, numpy as np\n"
        "import mfal.potentials as p\n"
        "p.chgnet_potential().neighbours(np.zeros((1, 3)), 3.0 * np.eye(3), np.array([3]))\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr
