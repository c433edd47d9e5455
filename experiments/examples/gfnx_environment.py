"""A gfnx environment in this trainer, to its exact distribution (gfnx: see peers.txt)."""

import gfnx
import jax
import jax.numpy as jnp

from mfal.envs import discrete_environment
from mfal.gflownet import TrainConfig, enumerate_states, exact_metrics, make_trainer

peer = gfnx.HypergridEnvironment(gfnx.EasyHypergridRewardModule(), dim=2, side=4)
told = peer.init(jax.random.key(0))


def alone(function, *arguments):  # gfnx's functions take batches, ours single states
    batch = jax.tree.map(lambda x: jnp.asarray(x)[None], arguments)
    return jax.tree.map(lambda x: x[0], function(*batch, told))


def parent_mask(state):  # of forward actions, from gfnx's mask of backward ones
    back = ~alone(peer.get_invalid_backward_mask, state) & ~state.is_initial
    led = [alone(peer.get_forward_action, state, k, state) for k in range(len(back))]
    return jnp.zeros(peer.action_space.n, bool).at[jnp.stack(led)].max(back)


env = discrete_environment(
    jax.tree.map(lambda x: x[0], peer.get_init_state(1)),
    action_mask=lambda s: ~alone(peer.get_invalid_mask, s) & ~s.is_terminal,
    step=lambda s, k: alone(peer.transition, s, k)[0],
    parent_mask=parent_mask,
    undo=lambda s, k: alone(peer.backward_transition, s, alone(peer.get_backward_action, s, k, s))[
        0
    ],
    max_steps=peer.max_steps_in_episode,
)
reward = lambda _, state: alone(peer.reward_module.log_reward, state)  # noqa: E731
trainer = make_trainer(env, reward, TrainConfig(batch_size=64, learning_rate=3e-3))
state, _ = trainer.run(trainer.init(jax.random.key(0)), None, 600)
measure = exact_metrics(enumerate_states(env), trainer.policy, reward)
exact = measure(state.params["policy"], None, trainer.log_z(state.params))
print(f"total variation {exact.total_variation:.3f}")
