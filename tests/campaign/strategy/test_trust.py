"""The guard's decisions in a round, on made-up beliefs: no fit, no compilation."""

from types import SimpleNamespace

import numpy as np
import pytest

from mfal.campaign.strategy.candidates import CandidatePool
from mfal.campaign.strategy.learner import Choice, Expectation, ScoredRows
from mfal.campaign.strategy.selection import select
from mfal.campaign.strategy.trust import (
    Trust,
    predicts_no_worse,
    record,
    screening,
    sentence,
    weigh_fits,
)

COSTS = (0.1, 1.0)
FIDELITY = np.array([0, 1, 0, 1, 0, 1], np.int32)


def trust(joint=-1.0, single=-1.0, guarded=True, evidence=0.0):
    fits = [SimpleNamespace(name=name, best=-np.inf) for name in ("joint", "single")]
    return Trust(fits[0], fits[1] if guarded else None, joint, single, evidence)


def selected(given, *, std=0.5, gain=0.2, number=1, screen=None, waiting=(), answered=None):
    """Which model chose what: promising positions, informative positions, verdict, calls."""
    # The fit to the target alone likes the last most, the joint one the second.
    own = np.array([0, 1, 0, 2, 0, 3.0])
    beliefs = {"joint": own[[0, 5, 2, 3, 4, 1]], "single": own}

    def believe(belief):
        mean = np.stack([np.zeros(6), 10 * beliefs[belief.name]], axis=1)
        return Expectation(mean, np.full((6, 2), std), np.zeros((6, 2)))

    calls = []

    def inform(belief, available, waiting, budget, limits):
        calls.append((belief.name, budget))
        first = np.flatnonzero(available)[: 1 if budget else 0]
        return Choice(first, np.array([gain])[: len(first)])

    record = [SimpleNamespace(hash=f"h{i}", formula=f"f{i}", space_group=i) for i in range(6)]
    pool = CandidatePool(
        records=record,
        fidelity=FIDELITY,
        available=~np.isin(np.arange(6), waiting),
        pending=np.zeros(0, int),
        parents={},
        counts={},
        answered=np.zeros((6, 2), bool) if answered is None else answered,
    )
    round_ = SimpleNamespace(
        number=number, rounds=2, allowance=4.0, allowances=(np.inf, np.inf), answers=[]
    )
    # The spread at the target fidelity is 1.
    rows = ScoredRows(
        None,
        np.array([0, 1, 1]),
        np.array([0.0, 1.0, 3.0]),
        np.ones(3, bool),
        np.zeros(3, np.int32),
    )
    found = select(
        round_,
        rows,
        given,
        pool,
        believe(given.belief),
        chance=np.ones(6),
        believe=believe,
        inform=inform,
        costs=COSTS,
        exploit=0.5,
        batch=4,
        screen=screen,
    )
    asked = [*found.screened.tolist(), *found.informative.indices.tolist()]
    return found.promising.tolist(), asked, found.verdict, calls


def test_a_joint_fit_that_predicts_the_target_worse_is_set_aside():
    best, informative, verdict, calls = selected(trust(-1.6, -1.0))
    assert best == [5, 3]
    assert FIDELITY[informative].tolist() == [1]
    assert [belief for belief, _ in calls] == ["single"]
    assert verdict is None


def test_a_joint_fit_that_is_unsure_skips_nothing():
    best, informative, verdict, _ = selected(trust(), std=0.5)
    assert best == [1, 5]  # the first choice of each
    assert informative == [0]
    assert not verdict.sure


def test_a_joint_fit_that_is_sure_decides_alone():
    best, informative, verdict, _ = selected(trust(), std=0.05)
    assert best == [1, 3]
    assert informative == [0]
    assert verdict.follow


def test_a_joint_fit_that_has_proven_itself_decides_alone_though_unsure():
    best, informative, verdict, _ = selected(trust(evidence=6.0), std=0.5)
    assert best == [1, 3]
    assert informative == [0]
    assert not verdict.sure
    assert verdict.proven
    assert "every second" not in sentence(trust(evidence=6.0), verdict)


def test_where_cheap_answers_screen_the_most_promising_are_asked_at_the_cheap_fidelity():
    best, cheap, _, calls = selected(trust(evidence=6.0), screen=0)
    assert best == [1, 3]
    assert cheap == [0, 2, 4]
    assert not calls
    assert selected(trust(evidence=6.0), screen=0, number=2)[1] == []


def test_what_has_passed_the_screen_is_asked_first():
    passed = np.zeros((6, 2), bool)
    passed[5, 0] = True  # the joint fit likes 1 most, 3 next and 5 last
    for screen, expected in ((None, [1, 3]), (0, [5, 1])):
        best, *_ = selected(trust(evidence=6.0), screen=screen, answered=passed)
        assert best == expected


@pytest.mark.parametrize(
    ("correlation", "expected"),
    # With two of the target's queries or six cheap ones to spend: 0.59 against 1.28 rho.
    [(0.4, None), (0.5, 0), (0.0, None)],
)
def test_a_cheap_oracle_screens_where_it_is_the_better_buy(correlation, expected):
    given = Trust(fitted(-1.0, 0.0, 15, 20), None, -1.0, 0.0)
    assert screening(given, (1.0, 3.0), 6.0, np.array([correlation, 1.0])) == expected
    assert screening(given, (3.0,), 6.0, np.ones(1)) is None


def test_a_cheap_oracle_that_is_not_trusted_screens_nothing():
    joint = fitted(-1.5, 0.9, 15, 20)
    assert screening(Trust(joint, joint, -1.5, -1.0), (0.1, 1.0), 6.0, np.ones(2)) is None


def fitted(score, correlation, pairs, answers):
    """What `compare` reads of a fit, with two fidelities."""
    found = SimpleNamespace(
        score=np.array([0.0, score]),
        pairs=np.array([[30, pairs], [pairs, answers]]),
        correlation=np.array([[1.0, correlation], [correlation, 1.0]]),
    )
    data = SimpleNamespace(valid=np.ones(40, bool), fidelity=np.arange(40) < answers)
    return SimpleNamespace(proxy=SimpleNamespace(reliability=found), data=data)


def test_evidence_counts_answers_about_other_crystals_and_about_the_same():
    apart = weigh_fits(fitted(-1.0, 0.0, 0, 20), fitted(-1.2, 0.0, 0, 20), 1)
    assert apart.evidence == pytest.approx(20 * 0.2)
    same = weigh_fits(fitted(-1.0, -0.6, 15, 20), fitted(-1.0, 0.0, 0, 20), 1)
    assert same.evidence == pytest.approx(-7.5 * np.log(1 - 0.36))
    assert not apart.proven
    assert not same.proven
    assert weigh_fits(fitted(-1.0, 0.6, 15, 20), fitted(-1.2, 0.0, 0, 20), 1).proven
    assert weigh_fits(fitted(-1.0, 0.6, 15, 20), None, 1).evidence == 0.0


def test_cheap_queries_that_promise_nothing_are_given_up():
    _, informative, verdict, calls = selected(trust(), gain=1e-5)
    assert not verdict.worthwhile
    assert FIDELITY[informative].tolist() == [1]
    assert [belief for belief, _ in calls] == ["joint", "single"]


def test_without_the_guard_nothing_is_judged():
    best, informative, verdict, _ = selected(trust(-9.0, -1.0, guarded=False), gain=1e-5)
    assert (best, informative, verdict) == ([1, 3], [0], None)


def test_the_last_round_asks_for_no_information():
    *_, calls = selected(trust(), number=2)
    assert {budget for _, budget in calls} == {0.0}


@pytest.mark.parametrize(
    ("joint", "single", "follow"),
    [(-1.05, -1.0, True), (-1.15, -1.0, False), (-0.5, -1.0, True), (0.0, 0.0, True)],
)
def test_scores_decide_within_the_tolerance(joint, single, follow):
    assert predicts_no_worse(joint, single) is follow
    assert trust(joint, single).belief.name == ("joint" if follow else "single")
    kept = record(trust(joint, single), None)
    assert (kept["follow"], kept["calibrated"]) == (follow, follow)
    assert ("not trusted" in sentence(trust(joint, single), None)) is not follow
