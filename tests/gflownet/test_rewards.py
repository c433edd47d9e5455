import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.errors import MfalError
from mfal.gflownet.rewards import (
    ClipParams,
    StandardiseParams,
    clip,
    floor,
    from_score,
    standardise,
    temper,
    transform_reward,
)


def test_transforms_apply_first_to_last_and_stay_arguments():
    log_reward, wrap = transform_reward(lambda p, x: p + x, standardise(), temper(), clip())
    params = wrap(1.0, (StandardiseParams(2.0, 4.0), 3.0, ClipParams(-5.0, 6.0)))
    traced = jax.jit(log_reward)
    assert traced(params, 9.0) == pytest.approx((1 + 9 - 2) / 4 * 3)
    assert traced(params, 900.0) == 6.0
    assert traced(params, -900.0) == -5.0
    assert traced(params, jnp.nan) == -5.0
    with pytest.raises(MfalError, match="2 parameters for 3"):
        wrap(1.0, (1.0, 2.0))


def test_floor_adds_rewards():
    assert floor()(np.log(0.5), np.log(2.0)) == pytest.approx(np.log(2.5))


@pytest.mark.parametrize(
    ("shape", "reward"),
    [
        ("exponential", np.exp),
        ("power", lambda x: np.log1p(np.exp(x))),
        ("logistic", lambda x: 1 / (1 + np.exp(-x))),
    ],
)
def test_scores_become_rewards(shape, reward):
    apply = from_score(shape)
    for x in (-12.0, -1.0, 0.0, 3.0):
        assert apply((), jnp.float32(x)) == pytest.approx(np.log(reward(x)), rel=1e-3, abs=1e-3)
    value, slope = jax.value_and_grad(lambda x: apply((), x))(-80.0)
    assert value == pytest.approx(-80.0, abs=1e-3)
    assert slope == pytest.approx(1.0, abs=1e-3)
