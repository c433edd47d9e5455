"""An environment from the functions that its author writes."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.envs import Features, discrete_environment
from mfal.envs.laws import broken_laws
from mfal.errors import MfalError
from tests.envs.enumeration import explore

SITES, SORTS = 6, 3
PARTS = {
    "action_mask": lambda counts: jnp.full(SORTS, counts.sum() < SITES),
    "step": lambda counts, k: counts.at[k].add(1),
    "parent_mask": lambda counts: counts > 0,
    "undo": lambda counts, k: counts.at[k].add(-1),
}


def halides(**changes):
    return discrete_environment(
        jnp.zeros(SORTS, jnp.int32), max_steps=SITES, **{**PARTS, **changes}
    )


def test_every_content_of_the_sites_is_an_end():
    graph = explore(halides())
    ends = np.asarray(graph.states)[np.asarray(graph.states).sum(1) == SITES]
    assert len(ends) == math.comb(SITES + SORTS - 1, SORTS - 1)
    np.testing.assert_array_equal(graph.backward.sum(1), (np.asarray(graph.states) > 0).sum(1))


def test_tokens_of_ones_own():
    env = halides(
        features=lambda counts: Features(counts + (SITES + 1) * jnp.arange(SORTS), jnp.zeros(0)),
        vocabulary=(SITES + 1) * SORTS,
    )
    assert (env.vocabulary, env.num_dense) == (21, 0)
    assert broken_laws(env, jax.random.key(0)) == []


def test_a_mistake_in_a_function_is_found():
    found = broken_laws(halides(undo=lambda counts, k: counts), jax.random.key(0))
    assert "undo(step(s, a), a) is s" in found


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"action_mask": lambda counts: counts.sum() < SITES}, r"action_mask returns bool\[\]"),
        ({"action_mask": lambda counts: counts}, r"action_mask returns int32\[3\]"),
        ({"parent_mask": lambda counts: jnp.ones(2, bool)}, "3 actions forward, 2 backward"),
        (
            {"step": lambda counts, k: counts + 0.5},
            r"step turns a state of int32\[3\] into float32",
        ),
        (
            {"undo": lambda counts, k: counts[:2]},
            r"undo turns a state of int32\[3\] into int32\[2\]",
        ),
    ],
)
def test_parts_that_do_not_fit_are_named(changes, named):
    with pytest.raises(MfalError, match=named):
        halides(**changes)


def test_it_takes_at_least_one_step():
    with pytest.raises(MfalError, match="max_steps 0"):
        discrete_environment(jnp.zeros(SORTS, jnp.int32), max_steps=0, **PARTS)
