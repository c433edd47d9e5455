"""What `mfal tell` brings reaches the proxy: in the next round, and in the next `mfal ask`."""

from types import SimpleNamespace

import numpy as np
import pytest
import toy_campaign
from toy_campaign import CONFIG, InstantExecutor, strategy

from mfal.campaign.folder import HANDOFF, read_campaign
from mfal.campaign.ledger.book import Answer, Ledger
from mfal.campaign.ledger.records import Outcome, Query
from mfal.campaign.loop import rank_again, run_campaign
from mfal.campaign.strategy.lessons import lessons
from mfal.campaign.strategy.observations import scored_rows
from mfal.campaign.strategy.types import Decision
from mfal.cli.handoff import by_expectation
from mfal.errors import MfalError


def run(folder, used=None) -> None:
    run_campaign(folder, CONFIG, executor=InstantExecutor(), strategy=used or strategy())


def tell(folder, number: int, value: float | None, *, quantity="ionic_conductivity", unit="share"):
    """An answer from the laboratory about one of the toy crystals, as `mfal tell` writes it."""
    with Ledger(folder / "ledger.sqlite") as ledger:
        asked = toy_campaign.proposal(number, 1)._replace(oracle=quantity, fidelity=2, cost=0.0)
        ledger.propose(
            HANDOFF, max([n for n, _ in ledger.rounds(HANDOFF)], default=0) + 1, [asked], {}
        )
        status = "ok" if value is not None else "failed: it broke"
        for query in ledger.pending(HANDOFF):
            ledger.conclude(query, Outcome(value, None, status, 0.0, {"unit": unit}))


def answer(number: int, fidelity: int, value: float | None, **detail) -> Answer:
    proposal = toy_campaign.proposal(number, fidelity)
    query = Query(**proposal._asdict(), id=number, account="x", round=1, seed=0)
    return Answer(query, "observed" if value is not None else "failed", value, None, 0.0, detail)


def measured(number: int, value, quantity="ionic_conductivity", unit="share") -> Answer:
    found = answer(number, 1, value, unit=unit)
    return found._replace(query=found.query._replace(oracle=quantity, fidelity=2))


def test_only_the_target_oracles_own_quantity_teaches():
    told = [
        measured(1, -3.0),
        measured(2, None),
        measured(3, 0.2, unit="eV"),
        measured(4, 1.1, quantity="band_gap"),
        measured(5, -5.0),
        measured(5, -4.0),  # measured again
    ]
    found = lessons(told, "share")
    assert {crystal.formula: value for crystal, value, _ in found.values()} == {
        "Li2O": -3.0,
        "Li6O": -4.0,
    }


def test_a_measured_value_stands_in_for_the_oracles_in_the_fit():
    def rows_of(answers, told):
        round_ = SimpleNamespace(answers=answers, told=told)
        return scored_rows(round_, toy_campaign.oracles(), CONFIG.proxy.capacity)

    answers = [answer(1, 0, 0.5), answer(1, 1, 0.9), answer(2, 1, 0.4), answer(3, 1, None)]
    told = [measured(1, -0.7), measured(9, 0.3)]
    rows = rows_of(answers, told)
    lithium = [record.composition["Li"] for record in rows.records]
    found = sorted(zip(lithium, rows.fidelity.tolist(), rows.score.tolist(), strict=True))
    expected = [(2, 0, 0.5), (2, 1, -0.7), (3, 1, 0.4), (10, 1, 0.3)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    rows = rows_of(answers, [])
    np.testing.assert_allclose(rows.score, [0.5, 0.9, 0.4], rtol=1e-6)


def test_a_limit_is_a_limit_to_the_proxy_too():
    answers = [
        answer(1, 1, 0.5, provenance={"censoring": "below"}),
        answer(2, 1, 0.4, provenance={"censoring": "exact"}),
        answer(3, 0, 0.3),
        answer(4, 0, 0.2, provenance={"censoring": "above"}),
    ]
    told = measured(9, 0.3)
    told = told._replace(detail={**told.detail, "censoring": "below"})
    round_ = SimpleNamespace(answers=answers, told=[told])
    oracles = toy_campaign.oracles()
    assert scored_rows(round_, oracles, 64).censoring.tolist() == [-1, 0, 0, 1, -1]
    turned = [oracle._replace(higher_is_better=False) for oracle in oracles]
    assert scored_rows(round_, turned, 64).censoring.tolist() == [1, 0, 0, -1, 1]


def test_the_next_round_sees_what_was_told_and_a_lost_one_what_was_told_before(tmp_path):
    seen: dict[int, list[float]] = {}

    def stop_at(number):
        def propose(round_):
            seen[round_.number] = [each.value for each in round_.told]
            if round_.number == number:
                raise MfalError("enough")
            return Decision([toy_campaign.proposal(100 * round_.number, 1)], {})

        return strategy(propose)

    with pytest.raises(MfalError, match="enough"):
        run(tmp_path, stop_at(1))
    tell(tmp_path, 50, -0.5)
    with pytest.raises(MfalError, match="enough"):
        run(tmp_path, stop_at(2))
    assert seen == {1: [], 2: [-0.5]}  # round 1 was opened before the answer came
    tell(tmp_path, 51, -0.6)
    run(tmp_path, stop_at(9))
    assert seen == {1: [], 2: [-0.5], 3: [-0.5, -0.6]}


def test_a_finished_campaign_is_ranked_again_once_for_each_news(tmp_path):
    run(tmp_path)
    assert not rank_again(tmp_path, strategy=strategy())
    tell(tmp_path, 1, None)  # a failure teaches nothing
    tell(tmp_path, 2, 1.0, unit="eV")
    assert not rank_again(tmp_path, strategy=strategy())
    tell(tmp_path, 3, -0.5)
    assert rank_again(tmp_path, strategy=strategy())
    assert not rank_again(tmp_path, strategy=strategy())
    tell(tmp_path, 4, -0.25)
    run(tmp_path)  # `mfal discover` does the same
    with read_campaign(tmp_path) as ledger:
        rounds = ledger.rounds("campaign")
    assert [number for number, _ in rounds] == [0, 1, 2, 3, 4, 5, 6]
    assert [detail["told"] for _, detail in rounds[4:]] == [0, 1, 2]
    assert all(detail["final"] for _, detail in rounds[4:])


def test_an_unfinished_campaign_is_not_ranked(tmp_path):
    def stop(round_):
        raise MfalError("enough")

    with pytest.raises(MfalError, match="enough"):
        run(tmp_path, strategy(stop))
    tell(tmp_path, 3, -0.5)
    assert not rank_again(tmp_path, strategy=strategy())


@pytest.mark.parametrize("better", [True, False])
def test_ask_goes_by_the_proxys_expectation_once_it_has_been_told(better):
    sign = 1.0 if better else -1.0
    candidates = [
        SimpleNamespace(rank=1, value=sign * 3.0, predicted={"mean": [9.0, sign * 0.1]}),
        SimpleNamespace(rank=2, value=sign * 2.0, predicted={"mean": [0.0, sign * 0.7]}),
        SimpleNamespace(rank=3, value=sign * 0.5, predicted={}),
    ]
    target = SimpleNamespace(higher_is_better=better)
    summary = SimpleNamespace(oracles=(target, target), candidates=candidates)
    assert [candidate.rank for candidate in by_expectation(summary)] == [2, 3, 1]
