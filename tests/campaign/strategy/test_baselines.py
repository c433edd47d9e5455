"""Strategies to compare with: what each asks, under the same budget, ledger and protocol."""

import dataclasses

import pytest
from halides import CONFIG, PROBLEM
from toy_campaign import InstantExecutor, digest

from mfal.campaign.config import ProxyConfig
from mfal.campaign.folder import read_campaign
from mfal.campaign.ledger.budget import account_of
from mfal.campaign.loop import run_campaign
from mfal.campaign.strategy.named import named_strategy
from mfal.errors import MfalError

SEARCHES = ("random", "funnel", "genetic", "substitution")


def run(folder, name, beside=None, problem=PROBLEM, **options):
    config = dataclasses.replace(CONFIG, strategy=name, **options)
    made = named_strategy(name, problem, config)
    baseline = named_strategy(beside, problem, config) if beside else None
    run_campaign(folder, config, executor=InstantExecutor(), strategy=made, baseline=baseline)
    with read_campaign(folder) as ledger:
        answers = {account: ledger.answers(account) for account in ("campaign", "baseline")}
        for account in answers:
            assert account_of(ledger.tallies(), account, config.budget).spent <= config.budget
        return answers, dict(ledger.rounds("campaign"))


@pytest.mark.parametrize("name", SEARCHES)
def test_it_keeps_the_budget_and_comes_out_the_same_again(name, tmp_path):
    first, rounds = run(tmp_path / "a", name)
    run(tmp_path / "b", name)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert set(rounds) == {0, 1, 2, 3}
    asked = [a.query for a in first["campaign"] if a.query.round]
    assert len(asked) > 10
    if name != "funnel":
        assert {query.fidelity for query in asked} == {2}


def test_the_funnel_passes_a_tenth_on_from_fidelity_to_fidelity(tmp_path):
    answers, _ = run(tmp_path, "funnel", rounds=4, budget=300.0)
    by_level = [{}, {}, {}]
    for answer in answers["campaign"]:
        if answer.query.round:
            by_level[answer.query.fidelity][answer.query.crystal.hash] = answer
    for m in (0, 1):
        passed = [n for n, a in by_level[m + 1].items() if n in by_level[m] and a.query.round < 4]
        best = sorted(
            (a for a in by_level[m].values() if a.value is not None),
            key=lambda a: -a.value if m == 0 else a.value,  # volumes are the better the smaller
        )
        assert len(passed) <= max(1, round(0.1 * len(by_level[m]))) + 3
        # What is passed on is among the best of all that came to this fidelity.
        quarter = {a.query.crystal.hash for a in best[: len(best) // 2 + 1]}
        assert set(passed) <= quarter
    assert len(by_level[0]) > len(by_level[1])
    last = [a for a in answers["campaign"] if a.query.round == 4]
    assert {a.query.fidelity for a in last} <= {2}


def test_children_have_elements_and_groups_of_their_parents_or_alike(tmp_path):
    answers, rounds = run(tmp_path, "genetic", rounds=3, budget=120.0)
    bred = [a.query.crystal for a in answers["campaign"] if a.query.crystal.source == "bred"]
    assert bred
    assert rounds[2]["children"] > 0
    for crystal in bred:
        charge = sum(n * crystal.oxidation_states[s] for s, n in crystal.composition.items())
        assert charge == 0
        assert "Li" in crystal.composition


def test_exchanges_are_of_known_crystals_and_keep_their_group(tmp_path):
    few = PROBLEM._replace(known=lambda: PROBLEM.known()[::3])
    answers, _ = run(tmp_path, "substitution", problem=few)
    made = [
        a.query.crystal
        for a in answers["campaign"]
        if a.query.crystal.source.startswith("exchanged:known:")
    ]
    assert made
    assert {crystal.space_group for crystal in made} <= {225}
    assert not {crystal.formula for crystal in made} & {"LiF", "Li2O"}


@pytest.mark.slow
def test_one_fidelity_alone_beside_a_search_with_all(tmp_path):
    proxy = ProxyConfig(members=2, width=8, steps=10, capacity=64)
    answers, rounds = run(tmp_path, "single", beside="random", proxy=proxy)
    asked = [a.query for a in answers["campaign"]]
    assert {query.fidelity for query in asked} == {2}
    proposed = [query for query in asked if query.round]
    assert all(query.predicted["mean"][:2] == [None, None] for query in proposed)
    assert rounds[1]["interval"][:2] == [None, None]
    # The baseline pays for the same initial data and asks on an account of its own.
    assert {a.query.round for a in answers["baseline"]} == {1, 2}


def test_a_strategy_of_ones_own_and_one_that_is_none(tmp_path):
    made = named_strategy("strategies_of_ones_own:cautious", PROBLEM, CONFIG)
    assert made.propose(None).proposals == []
    with pytest.raises(MfalError, match=r"strategies_of_ones_own:wrong: str is no .*Strategy"):
        named_strategy("strategies_of_ones_own:wrong", PROBLEM, CONFIG)
