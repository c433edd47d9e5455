"""What is asked for its promise, and what is left out of a round's pool."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import quad
from scipy.stats import norm

from mfal.campaign.strategy.candidates import CandidatePool, make_candidate_pool
from mfal.campaign.strategy.learner import Expectation
from mfal.campaign.strategy.promising import promise, to_screen
from mfal.campaign.strategy.proxy import bounded
from mfal.proxies.relation import Prediction


def expected(mean, std):
    target = np.stack([np.zeros(len(mean)), np.array(mean)], axis=1)
    return Expectation(
        target, np.stack([np.ones(len(std)), np.array(std)], axis=1), np.ones_like(target)
    )


def test_promise_is_the_chance_of_an_answer_times_the_improvement_it_would_bring():
    mean, std, chance = [-1.0, -3.0, 0.5], [0.5, 2.0, 0.1], np.array([0.9, 0.5, 0.2])
    found = np.exp(promise(expected(mean, std), -1.2, chance))
    by_hand = [
        p * quad(lambda y, m=m, s=s: (y + 1.2) * norm.pdf(y, m, s), -1.2, m + 12 * s)[0]
        for m, s, p in zip(mean, std, chance, strict=True)
    ]
    np.testing.assert_allclose(found, by_hand, rtol=1e-4)


def test_before_there_is_a_best_the_mean_decides():
    found = promise(expected([-1.0, -3.0, -1.1], [0.1, 9.0, 0.1]), -np.inf, np.array([0.5, 1, 0.9]))
    np.testing.assert_allclose(found, [-1 + np.log(0.5), -3.0, -1.1 + np.log(0.9)], rtol=1e-6)


def record(name):
    return SimpleNamespace(hash=name, formula=name, structure=None)


def test_crystals_that_were_asked_in_vain_are_not_asked_again():
    def answer(number, name, fidelity, kind):
        query = SimpleNamespace(id=number, crystal=record(name), fidelity=fidelity)
        return SimpleNamespace(query=query, kind=kind)

    answers = [
        answer(1, "found", 0, "observed"),
        answer(2, "in vain", 0, "failed"),
        answer(3, "both", 0, "observed"),
        answer(4, "both", 1, "failed"),
    ]
    asked = {(a.query.crystal.hash, a.query.fidelity) for a in answers}
    round_ = SimpleNamespace(answers=answers, pending=[], asked=lambda names: asked)
    drawn = [record("new"), record("in vain")]
    pool = make_candidate_pool(round_, drawn, np.array([0, 1]), 1, None)
    pairs = {(r.hash, int(m)) for r, m in zip(pool.records, pool.fidelity, strict=True)}
    assert pairs == {("new", 0), ("new", 1), ("found", 1)}
    assert {r.hash for r, a in zip(pool.records, pool.answered, strict=True) if a.any()} == {
        "found"
    }


def test_a_prediction_is_nowhere_wider_than_the_answers():
    members = jax.random.normal(jax.random.key(0), (8, 2)) * jnp.array([0.3, 12.0]) + 20.0
    mean, scale = jnp.array([1.0, -6.0]), jnp.array([1.0, 3.0])
    found = bounded(Prediction(members, jnp.ones(2)), mean, scale).members
    np.testing.assert_allclose(found[:, 0], members[:, 0], rtol=1e-6)  # sure enough: as it was
    np.testing.assert_allclose(jnp.std(found[:, 1], ddof=1), 3.0, rtol=1e-4)
    variance = jnp.var(members[:, 1], ddof=1)
    centre = -6.0 + 9.0 / variance * (jnp.mean(members[:, 1]) + 6.0)
    np.testing.assert_allclose(jnp.mean(found[:, 1]), centre, rtol=1e-4)


def test_the_screen_takes_the_most_promising_of_each_formula_that_the_target_is_not_asked_about():
    names = ["LiCl a", "LiCl b", "LiBr", "Li2O", "LiF"]
    records = [SimpleNamespace(hash=n, formula=n.split()[0]) for n in names]
    pool = CandidatePool(
        records=[*records, *records],
        fidelity=np.repeat([0, 1], 5),
        available=np.arange(10) != 2,  # LiBr was asked at the cheap fidelity before
        pending=np.zeros(0, int),
        parents={},
        counts={},
        answered=np.zeros((10, 2), bool),
    )
    ranking = np.tile([1.0, 2.0, 5.0, 4.0, 3.0], 2)
    assert to_screen(pool, ranking, 0, 9, np.array([8])).tolist() == [
        4,
        1,
    ]  # Li2O is at the target fidelity
    assert to_screen(pool, ranking, 0, 1, np.zeros(0, int)).tolist() == [3]
