"""A batch under a limit for each oracle, by a greedy choice that knows one budget."""

import numpy as np

from mfal.campaign.strategy.learner import Choice
from mfal.campaign.strategy.limited import choose_within

COSTS = np.array([0.1, 1.0])
FIDELITY = np.array([1, 0, 1, 0, 1, 0, 0], np.int32)
GAINS = np.array([9.0, 0.8, 7.0, 0.6, 5.0, 0.4, 0.3])
SIZE = 5


class Greedy:
    """By gain per cost within one budget, as the real choice does; knows what was pending."""

    def __init__(self) -> None:
        self.pending: list[list[int]] = []

    def __call__(self, available, pending, budget) -> Choice:
        self.pending.append(pending.tolist())
        costs, picked = COSTS[FIDELITY], []
        for i in np.argsort(-GAINS / costs, kind="stable"):
            if available[i] and i not in pending and costs[i] <= budget and len(picked) < SIZE:
                picked.append(i)
                budget -= costs[i]
        return Choice(np.array(picked, int), GAINS[picked])


def choose(budget: float, limits, pending=(), greedy=None) -> list[int]:
    choice = choose_within(
        greedy or Greedy(),
        FIDELITY,
        np.ones(len(FIDELITY), bool),
        np.array(pending, int),
        budget,
        limits,
        costs=COSTS,
        size=SIZE,
    )
    assert choice.gains.tolist() == GAINS[choice.indices].tolist()
    return choice.indices.tolist()


def test_without_limits_it_is_the_greedy_choice():
    greedy = Greedy()
    assert choose(3.5, (np.inf, np.inf), greedy=greedy) == [0, 1, 2, 3, 4]
    assert len(greedy.pending) == 1


def test_a_fidelity_that_has_taken_its_limit_is_closed_and_others_go_on():
    greedy = Greedy()
    assert choose(3.5, (np.inf, 1.0), greedy=greedy) == [0, 1, 3, 5, 6]
    assert greedy.pending[-1] == [0, 1]  # what was picked before counts as chosen
    assert choose(3.5, (0.2, 2.0)) == [0, 1, 2, 3]
    assert choose(3.5, (0.05, 0.5)) == []


def test_the_budget_holds_beside_the_limits():
    assert choose(1.25, (np.inf, 1.0)) == [0, 1, 3]


def test_what_is_open_is_not_chosen_again():
    greedy = Greedy()
    assert choose(3.5, (np.inf, 2.0), pending=(0, 1), greedy=greedy) == [2, 3, 4, 5, 6]
    assert all(waiting[:2] == [0, 1] for waiting in greedy.pending)
