"""At the exact solution every loss is zero on every trajectory, and so is its gradient."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.gflownet.losses import LOSSES, Balance, make_loss

SIDE = 3


def exact_flows(energy):
    """Flows on a 3 x 3 grid with stop actions, under a lopsided backward policy."""
    rng = np.random.default_rng(0)
    reward = rng.uniform(0.2, 2.0, (SIDE, SIDE))
    share = rng.uniform(0.2, 0.8, (SIDE, SIDE))  # of P_B for the step along the first axis
    share[0, :], share[:, 0] = 0.0, 1.0
    flow, edge = np.zeros((SIDE, SIDE)), {}
    for i, j in itertools.product(range(SIDE - 1, -1, -1), repeat=2):
        flow[i, j] = reward[i, j]
        for axis, (k, m) in enumerate([(i + 1, j), (i, j + 1)]):
            if k < SIDE and m < SIDE:
                back = share[k, m] if axis == 0 else 1 - share[k, m]
                edge[(i, j), axis] = (flow[k, m] * back, back)
                flow[i, j] += flow[k, m] * back
    return reward, flow, edge


def all_trajectories(forward_looking=False):
    reward, flow, edge = exact_flows(forward_looking)
    columns = []
    rows = 2 * SIDE
    for length in range(2 * SIDE - 1):
        for moves in itertools.product((0, 1), repeat=length):
            at, pf, pb, fl, en = (0, 0), [], [0.0], [], []
            legal = True
            for axis in moves:
                if (at, axis) not in edge:
                    legal = False
                    break
                along, back = edge[at, axis]
                pf.append(np.log(along / flow[at]))
                pb.append(np.log(back))
                fl.append(np.log(flow[at]))
                en.append(np.log(reward[at]))
                at = (at[0] + (axis == 0), at[1] + (axis == 1))
            if not legal:
                continue
            pf.append(np.log(reward[at] / flow[at]))
            pb.append(0.0)
            fl.append(np.log(flow[at]))
            en.append(np.log(reward[at]))
            pad = lambda x, n=rows: np.pad(x, (0, n - len(x)))  # noqa: E731
            columns.append((pad(pf), pad(pb), pad(fl), pad(en), np.log(reward[at]), len(pf)))
    pf, pb, fl, en, log_reward, length = (np.array(c) for c in zip(*columns, strict=True))
    energy = en.T if forward_looking else np.zeros_like(en.T)
    return Balance(
        log_pf=jnp.array(pf.T, jnp.float32),
        log_pb=jnp.array(pb.T, jnp.float32),
        log_flow=jnp.array(fl.T - energy, jnp.float32),
        log_z=jnp.full(len(length), np.log(flow[0, 0]), jnp.float32),
        log_reward=jnp.array(log_reward, jnp.float32),
        energy=jnp.array(energy, jnp.float32),
        length=jnp.array(length, jnp.int32),
    )


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("forward_looking", [False, True])
def test_loss_and_gradient_vanish_at_the_exact_solution_and_only_there(name, forward_looking):
    loss = make_loss(name)
    exact = all_trajectories(forward_looking)
    assert exact.length.shape[0] == 19  # sum of binomials over the corners
    total = jax.jit(lambda b: jnp.sum(loss.per_trajectory(b)))
    value, grad = jax.value_and_grad(total, allow_int=True)(exact)
    assert value == pytest.approx(0, abs=1e-8)
    for leaf in (grad.log_pf, grad.log_pb, grad.log_flow, grad.log_z):
        np.testing.assert_allclose(leaf, 0.0, atol=1e-5)
    spoilt = exact._replace(log_pf=exact.log_pf.at[0].add(-0.3 * (exact.length > 1)))
    assert total(spoilt) > 0.05


def test_each_loss_by_hand_on_one_trajectory():
    b = Balance(
        log_pf=jnp.array([[-0.5], [-1.0], [0.0]]),
        log_pb=jnp.array([[0.0], [-0.2], [-0.7]]),
        log_flow=jnp.array([[9.0], [1.5], [9.0]]),  # rows 0 and 2 must not be read
        log_z=jnp.array([2.0]),
        log_reward=jnp.array([0.4]),
        energy=jnp.array([[9.0], [0.25], [9.0]]),
        length=jnp.array([2]),
    )
    first = 2.0 - 0.5 - 1.75 + 0.2
    second = 1.75 - 1.0 - 0.4 + 0.7
    assert make_loss("tb").per_trajectory(b)[0] == pytest.approx((first + second) ** 2, rel=1e-5)
    db = make_loss("db").per_trajectory(b)[0]
    assert db == pytest.approx((first**2 + second**2) / 2, rel=1e-5)
    weighted = 0.9 * (first**2 + second**2) + 0.81 * (first + second) ** 2
    found = make_loss("subtb", subtb_lambda=0.9).per_trajectory(b)[0]
    assert found == pytest.approx(weighted / (0.9 * 2 + 0.81), rel=1e-5)
    two = jax.tree.map(lambda x: jnp.concatenate([x, x], axis=-1), b)
    two = two._replace(log_reward=jnp.array([0.4, 1.4]))
    np.testing.assert_allclose(make_loss("vargrad").per_trajectory(two), [0.25, 0.25], rtol=1e-5)
