"""What using the environments from another project costs, and where it works."""

import subprocess
import sys
import textwrap


def run(code: str, **environment: str) -> str:
    import os

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_pulls_in_neither_pymatgen_nor_networks():
    loaded = run(
        """
        import sys
        import mfal.envs
        heavy = ("pymatgen", "pyxtal", "spglib", "scipy", "flax", "optax", "distrax",
                 "matplotlib", "pandas", "mfal.gflownet", "mfal.proxies", "mfal.oracles")
        print([name for name in heavy if name in sys.modules])
        """
    )
    # jax itself may load scipy.
    assert loaded in ("[]", "['scipy']")


def test_shard_map_over_eight_devices_gives_the_same():
    out = run(
        """
        import jax, jax.numpy as jnp, numpy as np
        from jax.sharding import Mesh, PartitionSpec as P
        from mfal.envs import Action, CrystalSpec, crystal_environment, with_fidelity
        env = with_fidelity(crystal_environment(
            CrystalSpec(("Li", "O", "F"), max_atoms=12, max_atoms_per_element=8)), 2)
        def roll(noise):
            def advance(state, u):
                mask = env.action_mask(state)
                index = jnp.argmax(jnp.where(mask, u[1:], -1)).astype(jnp.int32)
                return env.step(state, Action(index, u[0])), mask
            return jax.lax.scan(advance, env.initial_state(), noise)
        shape = (32, env.max_steps, env.num_actions + 1)
        noise = np.random.default_rng(0).random(shape, np.float32)
        alone = jax.jit(jax.vmap(roll))(noise)
        mesh = Mesh(np.array(jax.devices()), ("batch",))
        parted = jax.jit(jax.shard_map(jax.vmap(roll), mesh=mesh, in_specs=P("batch"),
                                       out_specs=P("batch"), check_vma=False))(noise)
        assert len(jax.devices()) == 8
        same = [bool((a == b).all()) for a, b in zip(*map(jax.tree.leaves, (alone, parted)))]
        assert bool(jax.vmap(env.is_terminal)(parted[0]).all())
        print(all(same))
        """,
        XLA_FLAGS="--xla_force_host_platform_device_count=8",
    )
    assert out == "True"
