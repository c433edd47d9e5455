"""A batch under a limit for each oracle, by a greedy choice that knows one budget."""

from types import SimpleNamespace

import numpy as np
import pytest

from mfal.campaign.strategy import limited
from mfal.campaign.strategy.learner import Choice

COSTS = np.array([0.1, 1.0])
FIDELITY = np.array([1, 0, 1, 0, 1, 0, 0], np.int32)
GAINS = np.array([9.0, 0.8, 7.0, 0.6, 5.0, 0.4, 0.3])
SIZE = 5


@pytest.fixture(autouse=True)
def greedy(monkeypatch):
    """By gain per cost within one budget, as the real choice does; says what was pending."""
    asked = []

    def choose(learner, belief, crystal, fidelity, available, pending, budget, chance):
        asked.append(pending.tolist())
        costs, picked = COSTS[fidelity], []
        for i in np.argsort(-GAINS / costs, kind="stable"):
            if available[i] and i not in pending and costs[i] <= budget and len(picked) < SIZE:
                picked.append(i)
                budget -= costs[i]
        return Choice(np.array(picked, int), GAINS[picked])

    monkeypatch.setattr(limited.learning, "choose", choose)
    return asked


def choose(budget: float, limits, pending=()) -> list[int]:
    learner = SimpleNamespace(costs=COSTS, size=SIZE)
    choice = limited.choose_within(
        learner,
        None,
        None,
        FIDELITY,
        np.ones(len(FIDELITY), bool),
        np.array(pending, int),
        budget,
        limits,
        np.ones(len(FIDELITY)),
    )
    assert choice.gains.tolist() == GAINS[choice.indices].tolist()
    return choice.indices.tolist()


def test_without_limits_it_is_the_greedy_choice(greedy):
    assert choose(3.5, (np.inf, np.inf)) == [0, 1, 2, 3, 4]
    assert len(greedy) == 1


def test_a_fidelity_that_has_taken_its_limit_is_closed_and_others_go_on(greedy):
    assert choose(3.5, (np.inf, 1.0)) == [0, 1, 3, 5, 6]
    assert greedy[-1] == [0, 1]  # what was picked before counts as chosen
    assert choose(3.5, (0.2, 2.0)) == [0, 1, 2, 3]
    assert choose(3.5, (0.05, 0.5)) == []


def test_the_budget_holds_beside_the_limits():
    assert choose(1.25, (np.inf, 1.0)) == [0, 1, 3]


def test_what_is_open_is_not_chosen_again(greedy):
    assert choose(3.5, (np.inf, 2.0), pending=(0, 1)) == [2, 3, 4, 5, 6]
    assert all(waiting[:2] == [0, 1] for waiting in greedy)
