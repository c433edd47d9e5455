"""From worth to reward."""

import jax.numpy as jnp
import numpy as np
import pytest

from mfal.acquisition import bounded_log_reward, default_reward


def test_reward_is_positive_bounded_and_monotone():
    params = default_reward(0.5, exponent=3.0)
    values = jnp.array([jnp.nan, -1.0, 0.0, 1e-9, 0.1, 0.5, 4.9, 5.0, 1e9, jnp.inf])
    got = np.asarray(bounded_log_reward(params, values))
    assert np.isfinite(got).all()
    assert (np.diff(got) >= 0).all()
    assert got[0] == got[1] == got[2] == pytest.approx(3 * np.log(0.01))
    assert got[5] == pytest.approx(3 * np.log(1.01))
    assert got[-1] == got[-2] == pytest.approx(3 * np.log(10.01))
