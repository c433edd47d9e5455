import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from experiments.benchmarks.cube.guard import GuardConfig, guard
from mfal.proxies.calibration import held_out_score


def test_score_is_the_mean_log_density_of_the_rows_in_use():
    value, mean, std = np.array([1.0, 2.0, 9.0]), np.array([0.5, 2.5, 0.0]), np.array([1.0, 2.0, 1])
    use = np.array([True, True, False])
    expected = stats.norm.logpdf(value[:2], mean[:2], std[:2]).mean()
    got = held_out_score(jnp.asarray(value), jnp.asarray(mean), jnp.asarray(std), jnp.asarray(use))
    assert got == pytest.approx(expected, rel=1e-5)
    assert held_out_score(value, mean, std, jnp.zeros(3, bool)) == -np.inf


def test_each_condition_alone_turns_the_proposal_down():
    good = {"std_at_skipped": 0.05, "scale": 1.0, "gain_per_cost": 0.1,
            "joint_score": -1.0, "single_score": -1.2}  # fmt: skip
    as_arrays = {k: jnp.asarray(v) for k, v in good.items()}
    assert guard(GuardConfig(), **as_arrays).follow
    for name, bad, condition in (
        ("std_at_skipped", 0.2, "sure"),
        ("scale", 0.3, "sure"),
        ("gain_per_cost", 1e-4, "worthwhile"),
        ("joint_score", -2.0, "calibrated"),
    ):
        verdict = guard(GuardConfig(), **(as_arrays | {name: jnp.asarray(bad)}))
        assert not verdict.follow
        assert [f for f in ("sure", "worthwhile", "calibrated") if not getattr(verdict, f)] == [
            condition
        ]


def test_thresholds_are_parameters():
    verdict = guard(GuardConfig(max_std=0.5), jnp.array(0.2), 1.0, jnp.array(0.1), -1.0, -1.0)
    assert verdict.follow


def test_evidence_stands_in_for_certainty_and_against_the_joint_model():
    given = (jnp.array(0.5), 1.0, jnp.array(0.1), jnp.array(-1.0), jnp.array(-1.0))  # not sure
    assert not guard(GuardConfig(), *given, 4.0).follow
    assert guard(GuardConfig(), *given, 6.0).follow
    sure = (jnp.array(0.01), *given[1:])
    assert guard(GuardConfig(), *sure, 1.0).follow
    assert not guard(GuardConfig(), *sure, -1.0).follow
