from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from mfal.envs.hypergrid import HypergridReward, HypergridSpec, hypergrid, hypergrid_log_reward
from mfal.gflownet import replay
from mfal.gflownet.backward import backward_rollout
from mfal.gflownet.config import DataSet, TrainConfig
from mfal.gflownet.exact import enumerate_states, exact_metrics
from mfal.gflownet.exploration import ExplorationConfig, Schedule
from mfal.gflownet.policy import PolicyConfig, make_policy
from mfal.gflownet.rollout import draw_noise, rollout
from mfal.gflownet.train import make_trainer

SPEC = HypergridSpec(dimensions=2, side=5)
ENV, REWARD = hypergrid(SPEC), hypergrid_log_reward(SPEC)
SMALL = PolicyConfig(hidden=(32, 32), backward="learned")


@cache
def drawn():
    policy = make_policy(ENV, SMALL)
    init = jax.jit(lambda key: policy.init(key, ENV.features(ENV.initial_state()))["params"])
    params, noise = init(jax.random.key(0)), draw_noise(jax.random.key(1), ENV, 24)
    return policy, params, jax.jit(partial(rollout, ENV, policy))(params, noise)


@jax.jit
def along(params, noise, plan):
    return rollout(ENV, drawn()[0], params, noise, plan=plan)


def test_following_a_replayed_trajectory_repeats_it():
    _, params, first = drawn()
    buffer = replay.empty_buffer(ENV, 24)
    buffer = replay.add(
        buffer, first.rows.index, first.rows.value, first.final, jnp.zeros(24, jnp.float32)
    )
    plan, places = replay.draw(buffer, jax.random.key(2), 24)
    assert bool(plan.follow.all())
    noise = draw_noise(jax.random.key(3), ENV, 24)
    again = along(params, noise, plan)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[places]), again.final, first.final)
    np.testing.assert_allclose(
        again.log_pf.sum(0), first.log_pf.sum(0)[places], rtol=1e-5, atol=1e-5
    )


def test_the_batch_ends_with_its_longest_trajectory():
    """Not with the longest that the environment allows: steps taken are counted on the host."""
    taken = []

    def counted(state, action):
        jax.debug.callback(lambda _: taken.append(1), action.index)
        return ENV.step(state, action)

    policy, params, _ = drawn()
    # Two trajectories stop at once, two after one move.
    index = jnp.full((ENV.max_steps, 4), SPEC.dimensions).at[0, :2].set(0)
    plan = replay.Plan(jnp.ones(4, bool), index, jnp.zeros(index.shape))
    noise = draw_noise(jax.random.key(3), ENV, 4)
    found = rollout(ENV._replace(step=counted), policy, params, noise, plan=plan)
    jax.effects_barrier()
    assert found.length.tolist() == [2, 2, 1, 1]
    # An end has one parent, so that the learned backward policy needn't be asked there.
    assert len(taken) == 4 * 2 < 4 * ENV.max_steps


def test_draws_follow_the_priority_and_old_places_are_overwritten():
    _, _, first = drawn()
    empty = replay.empty_buffer(ENV, 6)
    assert not replay.draw(empty, jax.random.key(0), 3)[0].follow.any()
    final = jax.tree.map(lambda leaf: leaf[:4], first.final)
    part = (first.rows.index[:, :4], first.rows.value[:, :4], final)
    priority = jnp.log(jnp.array([1.0, 2.0, 3.0, 4.0]))
    buffer = replay.add(empty, *part, priority)
    _, places = replay.draw(buffer, jax.random.key(1), 20_000)
    share = np.bincount(np.asarray(places), minlength=6) / 20_000
    np.testing.assert_allclose(share, [0.1, 0.2, 0.3, 0.4, 0, 0], atol=0.02)
    buffer = replay.add(buffer, *part, priority - 50.0)
    assert np.isfinite(buffer.log_priority).all()
    assert int(buffer.cursor) == 2
    np.testing.assert_allclose(buffer.log_priority[:4], [*(priority[2:] - 50), *priority[2:]])
    valid = jnp.array([True, False])
    buffer = replay.set_priority(buffer, jnp.array([3, 2]), jnp.array([7.0, 8.0]), valid)
    assert float(buffer.log_priority[3]) == 7.0
    assert float(buffer.log_priority[2]) != 8.0


def test_backward_trajectories_lead_to_the_states_they_start_from():
    policy, params, first = drawn()
    back = jax.jit(partial(backward_rollout, ENV, policy))
    plan, log_pb, length = back(params, jax.random.key(5), first.final)
    noise = draw_noise(jax.random.key(6), ENV, 24)
    forward = along(params, noise, plan)
    jax.tree.map(np.testing.assert_array_equal, forward.final, first.final)
    np.testing.assert_array_equal(forward.length, length)
    np.testing.assert_allclose(forward.log_pb.sum(0), log_pb, rtol=1e-5, atol=1e-5)


def test_training_with_replay_data_and_exploration_reaches_the_exact_distribution():
    """Off-policy rows must not bias the solution, however they are drawn."""
    exploration = ExplorationConfig(
        epsilon=Schedule(0.4, 0.1, 500), temperature=Schedule(2.0, 1.0, 500), dither=Schedule(1, 0)
    )
    config = TrainConfig(
        batch_size=32,
        policy=SMALL,
        learning_rate=3e-3,
        exploration=exploration,
        replay=replay.ReplayConfig(capacity=256, share=0.25, priority="loss"),
        data_share=0.25,
    )
    trainer = make_trainer(ENV, REWARD, config)
    corners = jnp.array([[0, 0], [4, 4], [1, 3]], jnp.int32)
    states = ENV.initial_state()._replace(position=corners, stopped=jnp.ones(3, bool))
    data = DataSet(states, jnp.array([1.0, 2.0, 0.5]))
    state = trainer.init(jax.random.key(0), data)
    state, metrics = trainer.run(state, HypergridReward(), 1200)
    assert not data.weight.is_deleted()  # as the trainer's own state is
    measure = exact_metrics(enumerate_states(ENV), trainer.policy, REWARD)
    exact = measure(state.params["policy"], HypergridReward(), metrics.log_z[-1])
    assert exact.total_variation < 0.03
    assert abs(exact.log_z_error) < 0.05


def test_a_reward_that_is_not_finite_spoils_no_other_trajectory():
    def broken(params, state):
        return jnp.where(state.position[0] == 1, jnp.nan, REWARD(params, state))

    trainer = make_trainer(ENV, broken, TrainConfig(batch_size=16, policy=SMALL))
    state, metrics = trainer.run(trainer.init(jax.random.key(0)), HypergridReward(), 20)
    assert metrics.dropped.sum() > 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
