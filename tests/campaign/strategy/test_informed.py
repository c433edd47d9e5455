"""What the learning strategy measures by."""

import numpy as np

from mfal.campaign.ledger.records import CrystalRecord
from mfal.campaign.strategy.informed import rivals_asked, to_improve_on
from mfal.campaign.strategy.observations import ScoredRows
from mfal.crystals.elements import SYMBOLS


def record(number, formula, source="sampled"):
    return CrystalRecord(
        f"{number:032x}",
        formula,
        {"Li": 2, formula[3:]: 1},
        225,
        (4.0,) * 3 + (90.0,) * 3,
        {},
        source,
    )


def rows(*found):
    """(formula, score, source) of each crystal, all at the target fidelity."""
    return ScoredRows(
        [record(n, formula, source) for n, (formula, _, source) in enumerate(found)],
        np.zeros(len(found), np.int32),
        np.array([score for _, score, _ in found], np.float32),
        np.array([not source.startswith("known") for *_, source in found]),
        np.zeros(len(found), np.int32),
    )


def test_the_tenth_best_is_of_ten_formulas():
    many = [("Li2S", 9.0 - 0.1 * n, "sampled") for n in range(12)]
    others = [("Li2O", 1.0, "sampled"), ("Li2Se", 2.0, "sampled"), ("Li2O", 0.0, "sampled")]
    met = np.ones(15, bool)
    best, table = to_improve_on(rows(*many, *others), 0, met)
    assert best == 2.0  # the median of three formulas, 9, 2 and 1
    scores = {
        SYMBOLS[int(np.argmax(row * (np.arange(len(row)) != SYMBOLS.index("Li"))))]: float(score)
        for row, score in zip(np.asarray(table.composition), np.asarray(table.score), strict=True)
        if row.any()
    }
    assert scores == {"S": 9.0, "O": 1.0, "Se": 2.0}
    met[0] = False  # one that misses the requirement doesn't count
    assert np.max(to_improve_on(rows(*many, *others), 0, met)[1].score) == np.float32(8.9)


def test_each_of_a_pool_counts_and_known_ones_do_not():
    found = [("Li2S", 3.0 - n, f"pool:{n}; file") for n in range(3)]
    best, table = to_improve_on(rows(*found, ("Li2O", 7.0, "known:mp-1")), 0, np.ones(4, bool))
    assert best == 2.0
    assert not np.asarray(table.composition).any()


def test_what_is_asked_already_counts_with_its_chance():
    names = np.array(["Li2S", "Li2S", "Li2O", "Li2S"])
    mean, chance = np.array([-1.0, -2.0, -3.0, -4.0]), np.array([0.5, 0.25, 1.0, 1.0])
    expected, none = rivals_asked([0, 1], names, mean, chance)
    assert expected.tolist() == [-2.0, -1.0, -np.inf, -1.0]
    assert none.tolist() == [0.75, 0.5, 1.0, 0.375]
