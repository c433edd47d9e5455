"""Large batches within eight GiB, by the compiler's own count of what a program takes."""

import jax
import jax.numpy as jnp
import pytest

from mfal.envs import CrystalSpec, crystal_environment, to_crystal
from mfal.gflownet import TrainConfig, make_trainer

LIMIT = 8 * 2**30
SPEC = CrystalSpec()


def lithium(scale, state):
    return scale * to_crystal(SPEC, state).composition[2]


def bytes_of(function, *arguments) -> int:
    counted = jax.jit(function).lower(*arguments).compile().memory_analysis()
    return (
        counted.temp_size_in_bytes + counted.output_size_in_bytes + counted.argument_size_in_bytes
    )


@pytest.mark.slow
def test_training_with_65536_trajectories_takes_less_than_8_gib():
    config = TrainConfig(batch_size=65536, micro_batches=32, steps_per_dispatch=2)
    trainer = make_trainer(crystal_environment(SPEC), lithium, config)

    def train(key):
        return trainer.run(trainer.init(key), jnp.float32(1), 2, bar=False)

    taken = bytes_of(train, jax.random.key(0))
    print(f"{taken / 2**30:.2f} GiB")
    assert taken < LIMIT


@pytest.mark.slow
def test_a_million_samples_take_less_than_8_gib():
    trainer = make_trainer(crystal_environment(SPEC), lithium, TrainConfig())

    def draw(key):
        state = trainer.init(key)
        return trainer.sample(state, jnp.float32(1), key, 10**6, chunk=16384)

    taken = bytes_of(draw, jax.random.key(0))
    print(f"{taken / 2**30:.2f} GiB")
    assert taken < LIMIT
