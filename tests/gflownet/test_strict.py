"""Under float64 by default, strict promotion, and JAX's checks of NaN and keys."""

from contextlib import ExitStack

import jax
import jax.numpy as jnp
import pytest

from mfal.envs import CrystalSpec, crystal_environment, to_crystal, with_fidelity
from mfal.envs.hypergrid import HypergridReward, HypergridSpec, hypergrid, hypergrid_log_reward
from mfal.gflownet import PolicyConfig, ReplayConfig, TemperatureConfig, TrainConfig, make_trainer
from mfal.gflownet.estimates import log_prob

SPEC = HypergridSpec(dimensions=2, side=3)
SMALL = PolicyConfig(hidden=(8,), backward="learned")
LI = CrystalSpec(elements=("Li", "O"), max_atoms=6)
SITES = CrystalSpec(
    elements=("Li", "O"),
    max_atoms=6,
    wyckoff=True,
    groups=(1, 2, 62, 225),
    fractions={"O": (0.1, 0.9)},
)


def strictly(*, nans: bool = False) -> ExitStack:
    stack = ExitStack()
    stack.enter_context(jax.enable_x64(True))
    stack.enter_context(jax.numpy_dtype_promotion("strict"))
    stack.enter_context(jax.numpy_rank_promotion("raise"))
    if nans:
        stack.enter_context(jax.debug_nans(True))
        stack.enter_context(jax.debug_key_reuse(True))
    return stack


def crystal_reward(spec):
    def reward(scale, state):
        fidelity = state.fidelity.astype(jnp.float32)
        return scale * to_crystal(spec, state.inner).composition[2] + 0.3 * fidelity

    return reward


def traced_types(trainer, params, steps=2):
    """Types of all numbers of a run, samples and estimates, by tracing alone."""

    def everything(key):
        keys = jax.random.split(key, 3)
        state, metrics = trainer.run(trainer.init(keys[0]), params, steps, bar=False)
        samples = trainer.sample(state, params, keys[1], 4)
        found = log_prob(trainer, 2)(state.params, samples.states, keys[2])
        return state._replace(key=()), metrics, samples, found

    leaves = jax.tree.leaves(jax.eval_shape(everything, jax.random.key(0)))
    return {str(leaf.dtype) for leaf in leaves}


@pytest.mark.parametrize(
    "options",
    [
        *({"loss": loss} for loss in ("tb", "db", "subtb", "vargrad")),
        {"replay": ReplayConfig(capacity=16), "zero_reward_gap": 20.0},
        {"temperature": TemperatureConfig(), "micro_batches": 2, "rematerialise": True},
    ],
    ids=str,
)
def test_training_traces_in_float32_whatever_the_default(options):
    with strictly():
        config = TrainConfig(batch_size=8, policy=SMALL, steps_per_dispatch=2, **options)
        trainer = make_trainer(hypergrid(SPEC), hypergrid_log_reward(SPEC), config)
        assert traced_types(trainer, HypergridReward()) <= {"float32", "int32", "bool"}


@pytest.mark.parametrize("spec", [LI, SITES], ids=["group first", "sites"])
def test_crystals_trace_in_float32_whatever_the_default(spec):
    with strictly():
        env = with_fidelity(crystal_environment(spec), 2)
        config = TrainConfig(batch_size=8, policy=SMALL, steps_per_dispatch=2)
        trainer = make_trainer(env, crystal_reward(spec), config)
        assert traced_types(trainer, jnp.float32(0.3)) <= {"float32", "int32", "bool"}


def test_training_runs_with_every_check_on():
    with strictly(nans=True):
        config = TrainConfig(batch_size=8, policy=SMALL, loss="subtb", steps_per_dispatch=3)
        trainer = make_trainer(hypergrid(SPEC), hypergrid_log_reward(SPEC), config)
        state, metrics = trainer.run(
            trainer.init(jax.random.key(0)), HypergridReward(), 3, bar=False
        )
        assert jnp.isfinite(metrics.loss).all()
        trainer.sample(state, HypergridReward(), jax.random.key(1), 4)
