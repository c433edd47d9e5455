import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks.cube.joint import JointBelief, choose_batch, condition, joint_gain

CHOOSE = jax.jit(choose_batch, static_argnames="size")
CONDITION, GAIN = jax.jit(condition), jax.jit(joint_gain)


def random_belief(seed, n, noise=0.3):
    """A consistent belief: f and y are linear images of one Gaussian vector."""
    rng = np.random.default_rng(seed)
    f, y = rng.normal(size=(2, n, n + 3))
    y = 0.7 * f + 0.5 * y
    return JointBelief(
        jnp.asarray(rng.normal(size=n), jnp.float32),
        jnp.asarray((f**2).sum(1), jnp.float32),
        jnp.asarray(f @ y.T, jnp.float32),
        jnp.asarray(y @ y.T + noise * np.eye(n), jnp.float32),
    )


def test_conditioning_twice_is_the_schur_complement():
    belief = random_belief(0, 5)
    got = CONDITION(CONDITION(belief, 1), 3)
    b = [1, 3]
    inverse = np.linalg.inv(np.asarray(belief.answer, float)[np.ix_(b, b)])
    cross = np.asarray(belief.truth_answer, float)[:, b]
    answers = np.asarray(belief.answer, float)[:, b]
    np.testing.assert_allclose(
        got.truth_variance,
        belief.truth_variance - np.einsum("ib,bc,ic->i", cross, inverse, cross),
        atol=1e-4,
    )
    np.testing.assert_allclose(got.answer, belief.answer - answers @ inverse @ answers.T, atol=1e-4)
    np.testing.assert_allclose(
        got.truth_answer, belief.truth_answer - cross @ inverse @ answers.T, atol=1e-4
    )


def sequence_gain(belief, maxima, picks):
    total = 0.0
    for index in picks:
        total += float(GAIN(belief, maxima)[index])
        belief = CONDITION(belief, index)
    return total


@pytest.mark.parametrize("seed", range(4))
def test_greedy_pairs_are_near_the_best_pair(seed):
    belief, maxima = random_belief(seed, 6), jnp.array([2.0, 4.0])
    batch = CHOOSE(belief, maxima, jnp.ones(6), 2.0, size=2)
    picks = batch.indices.tolist()
    assert float(batch.gains.sum()) == pytest.approx(sequence_gain(belief, maxima, picks), rel=1e-4)
    best = max(sequence_gain(belief, maxima, p) for p in itertools.permutations(range(6), 2))
    assert float(batch.gains.sum()) >= (1 - 1 / np.e) * best
    assert picks[0] == int(jnp.argmax(GAIN(belief, maxima)))


def test_an_answer_is_not_bought_twice():
    """Two copies of the best candidate: the second is worth nothing once the first is chosen."""
    target = jnp.array([1.0, 1.0, 0.6])
    truth = jnp.outer(target, target) * jnp.array([[1, 1, 0.1], [1, 1, 0.1], [0.1, 0.1, 1]])
    belief = JointBelief(jnp.zeros(3), jnp.diagonal(truth), truth, truth + 1e-4 * jnp.eye(3))
    batch = CHOOSE(belief, jnp.array([1.0]), jnp.ones(3), 3.0, size=2)
    assert sorted(batch.indices.tolist()) != [0, 1]
    assert 2 in batch.indices.tolist()


def test_pending_queries_count_as_chosen():
    belief, maxima = random_belief(5, 6), jnp.array([3.0])
    first = int(CHOOSE(belief, maxima, jnp.ones(6), 1.0, 1).indices[0])
    pending = CHOOSE(belief, maxima, jnp.ones(6), 1.0, 1, pending=jnp.array([first, -1, -1]))
    two = CHOOSE(belief, maxima, jnp.ones(6), 2.0, size=2)
    assert pending.indices[0] == two.indices[1] != first
    assert pending.gains[0] == pytest.approx(float(two.gains[1]), rel=1e-5)


def test_never_spends_more_than_the_budget():
    belief, maxima = random_belief(6, 12), jnp.array([3.0])
    costs = jnp.asarray(np.random.default_rng(0).uniform(0.1, 1.5, 12), jnp.float32)
    for budget in (0.0, 0.05, 0.3, 1.0, 2.7):
        batch = CHOOSE(belief, maxima, costs, budget, size=12)
        chosen = batch.indices[batch.indices >= 0]
        assert len(set(chosen.tolist())) == len(chosen)
        assert float(batch.costs.sum()) <= budget * (1 + 1e-5)
        assert float(batch.costs.sum()) == pytest.approx(float(costs[chosen].sum()), rel=1e-5)
        left = budget - float(batch.costs.sum())
        unchosen = np.setdiff1d(np.arange(12), chosen)
        assert (np.asarray(costs)[unchosen] > left * (1 - 1e-6)).all()


def test_compiled_and_batched_over_beliefs_is_the_same_choice():
    beliefs = [random_belief(seed, 6) for seed in (8, 9)]
    costs, pending = jnp.array([0.5, 1, 1, 0.3, 1, 2]), jnp.array([2, -1])

    def choose(belief, maxima, budget):
        return CHOOSE(belief, maxima, costs, budget, 3, pending=pending)

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *beliefs)
    maxima, budgets = jnp.array([[3.0, 4.0], [2.0, 5.0]]), jnp.array([2.0, 0.6])
    many = jax.jit(jax.vmap(choose))(stacked, maxima, budgets)
    for k, belief in enumerate(beliefs):
        one = choose(belief, maxima[k], budgets[k])
        np.testing.assert_array_equal(many.indices[k], one.indices)
        np.testing.assert_allclose(many.gains[k], one.gains, rtol=1e-5)
    assert many.indices[1].tolist()[1] == -1  # one query alone is affordable


def test_unavailable_candidates_are_left_alone():
    belief = random_belief(7, 5)
    batch = CHOOSE(
        belief, jnp.array([3.0]), jnp.ones(5), 5.0, 5, available=jnp.array([0, 1, 0, 1, 0], bool)
    )
    assert sorted(batch.indices.tolist()) == [-1, -1, -1, 1, 3]
