"""Greedy batches: conditioning against exact Gaussian algebra, budgets, limits, what is open."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfal.acquisition import JointBelief, choose_batch


def belief(seed, number=5, levels=2, loading=4):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(number, loading))
    z *= 0.8 / np.linalg.norm(z, axis=1, keepdims=True)
    root = rng.normal(size=(number, levels, levels))
    return JointBelief(rng.normal(size=(number, levels)), root, z)


def dense(joint):
    """The covariance of all answers [N M, N M], written out."""
    n, m = joint.mean.shape
    between = joint.loading @ joint.loading.T
    np.fill_diagonal(between, 1.0)
    blocks = np.einsum("ij,iml,jkl->imjk", between, joint.root, joint.root)
    return blocks.reshape(n * m, n * m)


def test_the_covariance_is_positive_semidefinite():
    for seed in range(5):
        assert np.linalg.eigvalsh(dense(belief(seed))).min() > -1e-9


def test_what_is_seen_after_each_choice_is_the_schur_complement():
    joint, levels = belief(0), 2
    seen = []

    def worth(std, shift, chosen):
        seen.append((std, shift))
        return np.random.default_rng(len(seen)).uniform(1, 2, joint.mean.shape)

    picks = choose_batch(
        joint, worth, np.ones((5, 2)), 4.0, available=np.ones((5, 2), bool), pending=[(2, 0)]
    )
    assert len(picks) == 4
    asked = [(2, 0)]
    for (std, shift), pick in zip(seen, [*picks, None], strict=False):
        given_ = [i * levels + m for i, m in asked]
        whole = dense(joint)
        part = whole[np.ix_(given_, given_)]
        left = whole - whole[:, given_] @ np.linalg.solve(part, whole[given_])
        target = np.arange(5) * levels + levels - 1
        np.testing.assert_allclose(std**2, np.diagonal(left)[target], atol=1e-9)
        for i, m in itertools.product(range(5), range(2)):
            if i * levels + m not in given_:
                slope = left[target[i], i * levels + m]
                scale = np.sqrt(left[i * levels + m, i * levels + m])
                assert shift[i, m] == pytest.approx(abs(slope) / scale, abs=1e-6)
        if pick is not None:
            asked.append((pick.crystal, pick.fidelity))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.floats(0.0, 6.0), st.floats(0.0, 3.0))
def test_budget_limits_and_what_is_open_are_kept(seed, budget, limit):
    rng, joint = np.random.default_rng(seed), belief(seed)
    costs = rng.uniform(0.1, 1.0, (5, 2))
    available = rng.random((5, 2)) < 0.7
    pending = [(0, 1)]
    value = rng.normal(size=(5, 2))
    limits = np.array([np.inf, limit])
    picks = choose_batch(
        joint, lambda *_: value, costs, budget, available=available, limits=limits, pending=pending
    )
    pairs = [(p.crystal, p.fidelity) for p in picks]
    assert len(set(pairs)) == len(pairs)
    assert all(available[pair] and pair not in pending and value[pair] > 0 for pair in pairs)
    assert sum(costs[pair] for pair in pairs) <= budget * (1 + 1e-6)
    assert sum(costs[pair] for pair in pairs if pair[1] == 1) <= limit * (1 + 1e-6)
    left = budget - sum(costs[pair] for pair in pairs)
    room = limit - sum(costs[pair] for pair in pairs if pair[1] == 1)
    for pair in zip(*np.nonzero(available & (value > 0)), strict=True):
        fits = costs[pair] <= min(left, room if pair[1] == 1 else np.inf) * (1 - 1e-6)
        closed = (pair[0], 1) in [*pairs, *pending]  # its target has been asked
        assert pair in pairs or closed or not fits


def test_alike_crystals_are_not_asked_twice_where_one_tells_of_the_other():
    z = np.array([[0.99, 0.0], [0.99, 0.0], [0.0, 0.6]])
    joint = JointBelief(np.zeros((3, 1)), np.array([[[1.0]], [[1.0]], [[0.9]]]), z)
    picks = choose_batch(
        joint,
        lambda std, shift, chosen: shift,
        np.ones((3, 1)),
        2.0,
        available=np.ones((3, 1), bool),
    )
    assert [p.crystal for p in picks] == [0, 2]


def test_one_question_finds_a_crystals_atoms_for_the_others():
    """The second question about it costs its oracle alone; after the target there is none."""
    joint = JointBelief(np.zeros((3, 2)), np.tile(np.eye(2), (3, 1, 1)), np.zeros((3, 1)))
    value = np.array([[9.0, 8.0], [1.0, 2.0], [3.0, 1.0]])
    first, later = np.full((3, 2), 8.0), np.full((3, 2), 0.5)
    picks = choose_batch(
        joint,
        lambda *_: value,
        first,
        16.9,
        available=np.ones((3, 2), bool),
        costs_later=later,
        pending=[(2, 0)],
    )
    # 8, 0.5, then 8 for another crystal; 0.5 for the one that is being asked already.
    assert [(p.crystal, p.fidelity) for p in picks] == [(0, 0), (0, 1), (1, 1)]
    more = choose_batch(
        joint, lambda *_: value, first, 17.1, available=np.ones((3, 2), bool), costs_later=later,
        pending=[(2, 0)],
    )  # fmt: skip
    assert (2, 1) in [(p.crystal, p.fidelity) for p in more]


def test_what_was_chosen_is_told_with_what_is_pending():
    joint = JointBelief(np.zeros((4, 2)), np.tile(np.eye(2), (4, 1, 1)), np.zeros((4, 1)))
    value = np.array([[5.0, 4.0], [3.0, 6.0], [2.0, 9.0], [1.0, 8.0]])
    seen = []

    def worth(std, shift, chosen):
        seen.append(list(chosen))
        return value

    available = np.ones((4, 2), bool)
    choose_batch(joint, worth, np.ones((4, 2)), 3.0, available=available, pending=[(0, 1), (3, 0)])
    pending = [(0, 1), (3, 0)]
    assert seen == [pending, [*pending, (2, 1)], [*pending, (2, 1), (3, 1)]]
