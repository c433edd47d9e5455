"""The requirement on stability, judged and ordered without a campaign."""

import json
import math
import tomllib

import numpy as np
import pytest

from mfal.acquisition.objectives import KnownStability
from mfal.campaign.config import StabilityConfig
from mfal.campaign.ledger.book import Answer
from mfal.campaign.ledger.records import CrystalRecord, Query
from mfal.campaign.options import from_mapping
from mfal.campaign.strategy.stability import (
    Stability,
    make_stability,
    stability_from_plain,
    stability_to_plain,
)
from mfal.campaign.toml import to_toml
from mfal.errors import MfalError

ASKS = {"mode": "constraint", "low": 1.0, "high": 2.5, "max_hull_distance": math.inf}


def record(formula, number=0):
    return CrystalRecord(f"{formula}{number}", formula, {}, 1, (), {}, "sampled")


def observed(crystal, **told):
    query = Query(1, "campaign", 1, crystal, 0, "hull_distance", "1", 1.0, 1, 0, {}, ())
    return Answer(query, "observed", 0.0, None, 0.0, {"provenance": told})


def test_tables_judge_by_formula_and_an_oracle_has_the_last_word():
    stability = Stability(StabilityConfig(**ASKS, energies=("measured",)))
    records = [record("Li2O"), record("Li2S"), record("Li2O", 1), record("LiAuS2")]
    told = {"reduction": 0.2, "oxidation": 2.1, "hull_distance": 0.4, "source": "CHGNet"}
    found = stability.judge(records, [observed(records[2], **told)])
    assert found.feasible.tolist() == [1, -1, -1, 0]
    np.testing.assert_allclose(found.label, [1.0, 0.0, 0.0, 0.5])
    assert found.limits[0].oxidation == pytest.approx(2.87, abs=0.01)
    assert found.limits[2] == KnownStability(0.2, 2.1, 0.4, "CHGNet")
    assert "Au" in found.limits[3].source


def test_answers_without_a_window_or_that_failed_tell_nothing():
    stability = Stability(StabilityConfig(**ASKS, energies=("measured",)))
    crystal = record("Li2O")
    half = observed(crystal, reduction=3.0, oxidation=None, hull_distance=0.0, source="x")
    failed = observed(crystal, reduction=3.0, oxidation=4.0, hull_distance=0.0, source="x")
    answers = [half, failed._replace(kind="failed")]
    assert stability.judge([crystal], answers).feasible.tolist() == [1]


def test_second_objective_is_worth_the_width_it_has():
    config = StabilityConfig(
        mode="objective", energies=("measured",), unknown=0.4, max_hull_distance=math.inf
    )
    found = Stability(config).judge([record("Li2O"), record("Li2S"), record("LiAuS2")], [])
    np.testing.assert_allclose(found.label, [2.867 / 7, 2.269 / 7, 0.4 * 0.5], atol=1e-3)


def test_relaxed_atoms_tell_the_hull_distance_and_known_compounds_are_passed_over():
    stability = Stability(StabilityConfig())
    records = [record("Li2O"), record("Li3PS4"), record("LiCl"), record("LiBr")]

    def relaxed(crystal, distance, known_as=""):
        detail = {"relaxation": {"hull_distance_ev_per_atom": distance}, "known_as": known_as}
        return observed(crystal)._replace(detail=detail)

    answers = [
        relaxed(records[0], 0.3),
        relaxed(records[1], 0.05),
        relaxed(records[2], 0.0, "LiCl, here"),
    ]
    found = stability.judge(records, answers)
    assert found.feasible.tolist() == [-1, 1, 1, 0]
    np.testing.assert_allclose(found.label, [0.0, 1.0, 1.0, 0.5])
    assert found.limits[1].hull_distance == 0.05
    assert found.known.tolist() == [False, False, True, False]
    # Where windows count too, they come from the tables and the distance from the atoms.
    both = Stability(StabilityConfig(low=1.0, high=2.5, energies=("measured",)))
    limits = both.judge(records[:1], answers).limits[0]
    assert (limits.hull_distance, round(limits.oxidation, 1)) == (0.3, 2.9)


def test_hull_distances_that_nothing_tells_don_t_count():
    assert make_stability(StabilityConfig(), relax=False) is None
    assert make_stability(StabilityConfig(), relax=True) is not None
    assert make_stability(StabilityConfig(low=1.0, high=2.0), relax=False) is not None
    assert make_stability(StabilityConfig(mode="off")) is None


@pytest.mark.parametrize(
    "limits",
    [
        KnownStability(0.1, 2.0, math.nan, "a"),
        KnownStability(math.nan, math.nan, math.nan, "b"),
        KnownStability(0.0, math.inf, 0.0, "c"),
    ],
)
def test_limits_survive_json(limits):
    plain = json.loads(json.dumps(stability_to_plain(limits, None), allow_nan=False))
    np.testing.assert_equal(tuple(stability_from_plain(plain)), tuple(limits))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mode": "both"}, "stability.mode 'both'; give one of off, constraint, objective"),
        ({"max_hull_distance": math.inf}, "constraint without a requirement"),
        ({"unknown": 1.5}, "stability.unknown 1.5"),
        ({"low": -1.0}, "stability.low -1"),
        ({"max_hull_distance": float("nan")}, "stability.max_hull_distance nan"),
        ({"energies": []}, "no stability.energies"),
    ],
)
def test_a_requirement_that_makes_no_sense_is_named(wrong, message):
    with pytest.raises(MfalError, match=message):
        from_mapping({"stability": wrong})


def test_unknown_sources_of_energies_are_named(tmp_path):
    with pytest.raises(MfalError, match=r"stability.energies 'guess'; give measured, computed"):
        Stability(StabilityConfig(energies=("guess",)))
    with pytest.raises(MfalError, match="No such file"):
        Stability(StabilityConfig(energies=(str(tmp_path / "none.json"),)))


def test_a_file_of_energies_is_a_source(tmp_path):
    path = tmp_path / "mine.json"
    entries = [{"composition": {"Li": 1}, "energy": 0.0}, {"composition": {"S": 1}, "energy": 0.0}]
    entries.append({"composition": {"Li": 2, "S": 1}, "energy": -4.0})
    path.write_text(json.dumps(entries))
    stability = Stability(StabilityConfig(**ASKS, energies=(f"exhaustive:{path}",)))
    found = stability.judge([record("Li2S")], []).limits
    assert found[0].oxidation == pytest.approx(2.0)
    assert found[0].source == "mine.json"


def test_an_infinite_bound_survives_toml():
    config = from_mapping({"stability": {"mode": "objective", "max_hull_distance": math.inf}})
    assert from_mapping(tomllib.loads(to_toml(config))) == config
