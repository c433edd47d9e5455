"""The fidelity wrapper: exactly one fidelity, at the time that the spec says."""

import jax.numpy as jnp
import pytest

from mfal.envs import Action, HypergridSpec, hypergrid, with_fidelity
from mfal.errors import MfalError
from tests.envs.enumeration import explore

GRID = HypergridSpec(dimensions=2, side=3)


@pytest.mark.parametrize(
    ("when", "states"), [("last", 9 + 9 + 27), ("first", 1 + 3 * 18), ("any", 18 * 4)]
)
def test_every_object_at_every_fidelity_once(when, states):
    env = with_fidelity(hypergrid(GRID), 3, when)
    graph = explore(env)
    # Grid states: 9 on the way and 9 stopped, without or with a fidelity.
    assert len(graph.legal) == states
    ends = ~graph.legal.any(1)
    found = {
        (*position, fidelity)
        for position, fidelity in zip(
            graph.states.inner.position[ends].tolist(),
            graph.states.fidelity[ends].tolist(),
            strict=True,
        )
    }
    assert found == {(x, y, f) for x in range(3) for y in range(3) for f in range(3)}
    assert int(ends.sum()) == 27
    edges = set(zip(graph.targets.tolist(), graph.indices.tolist(), strict=True))
    backward = {(int(i), int(a)) for i, a in zip(*graph.backward.nonzero(), strict=True)}
    assert edges == backward


def test_any_time_has_one_more_parent():
    env = with_fidelity(hypergrid(GRID), 2, "any")
    state = env.initial_state()
    for index in (0, 1, 4):
        state = env.step(state, Action(jnp.int32(index), jnp.float32(0)))
    assert env.parent_mask(state).tolist() == [True, True, False, False, True]
    assert int(state.fidelity) == 1


def test_the_token_for_none_stays_apart():
    inner = hypergrid(GRID)
    env = with_fidelity(inner, 2)
    assert env.vocabulary == inner.vocabulary + 2
    assert env.features(env.initial_state()).tokens.tolist() == [0, 3, env.vocabulary]
    assert float(env.observe(env.initial_state()).sum()) == 2


def test_mistakes_are_named():
    with pytest.raises(MfalError, match="0 fidelities"):
        with_fidelity(hypergrid(GRID), 0)
    with pytest.raises(MfalError, match="'later'"):
        with_fidelity(hypergrid(GRID), 2, "later")
