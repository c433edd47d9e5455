"""The hypergrid and its standard reward."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from mfal.envs import HypergridReward, HypergridSpec, HypergridState, hypergrid
from mfal.envs.hypergrid import hypergrid_log_reward
from mfal.errors import MfalError
from tests.envs.enumeration import explore


def test_every_corner_is_a_state_and_an_end():
    graph = explore(hypergrid(HypergridSpec(dimensions=3, side=4)))
    stopped = graph.states.stopped
    assert (len(stopped), int(stopped.sum())) == (2 * 64, 64)
    # As many parents as coordinates above zero; one for an end.
    above = (graph.states.position > 0).sum(1)
    np.testing.assert_array_equal(graph.backward.sum(1), np.where(stopped, 1, above))


def test_reward_of_the_paper():
    spec = HypergridSpec(dimensions=2, side=8)
    reward = hypergrid_log_reward(spec)
    total, modes = 0.0, 0
    for corner in itertools.product(range(8), repeat=2):
        value = float(
            jnp.exp(reward(HypergridReward(), HypergridState(jnp.array(corner), jnp.array(True))))
        )
        # On a side of 8: 0, 1, 6, 7 lie in the plateau, 1 and 6 under the peak.
        plateau = all(x in (0, 1, 6, 7) for x in corner)
        peak = all(x in (1, 6) for x in corner)
        assert value == pytest.approx(1e-3 + 0.5 * plateau + 2.0 * peak, rel=1e-5)
        total += value
        modes += peak
    assert modes == 4
    assert total == pytest.approx(64e-3 + 16 * 0.5 + 4 * 2.0, rel=1e-5)


def test_mistakes_are_named():
    with pytest.raises(MfalError, match="0 dimensions"):
        HypergridSpec(dimensions=0)
