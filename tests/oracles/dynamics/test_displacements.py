import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfal.errors import MfalError
from mfal.oracles.dynamics.displacements import (
    HOP,
    combined,
    count_hops,
    diffusion,
    mean_square_displacement,
    measure_displacements,
)

INTERVAL = 20.0  # fs
SPECIES = np.array([3] * 30 + [16] * 20)
MASSES = np.where(SPECIES == 3, 6.94, 32.06)


def _walk(  # type: ignore[no-untyped-def]
    coefficient: float, seed: int, frames: int = 601, drift=(0.0, 0.0, 0.0)
) -> np.ndarray:
    """Brownian lithium of known D (Å²/ps), rattling sulfur, and a drift (Å/ps) of everything."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, np.sqrt(2 * coefficient * INTERVAL * 1e-3), (frames, 30, 3))
    sulfur = rng.normal(0, 0.1, (frames, 20, 3)) + rng.uniform(0, 10, (20, 3))
    places = np.concatenate([np.cumsum(steps, axis=0), sulfur], axis=1)
    return np.asarray(places + np.arange(frames)[:, None, None] * INTERVAL * 1e-3 * np.array(drift))


def _found(positions: np.ndarray):  # type: ignore[no-untyped-def]
    return measure_displacements(positions, SPECIES, MASSES, 3, INTERVAL)


def _hopping(rate: float, seed: int, frames: int = 1201, rattle: float = 0.15):  # type: ignore[no-untyped-def]
    """Lithium that hops 3 Å along the axes `rate` times a ps; positions and the number of hops."""
    rng = np.random.default_rng(seed)
    made = rng.uniform(size=(frames, 30)) < rate * INTERVAL * 1e-3
    axes = np.eye(3)[rng.integers(3, size=(frames, 30))] * rng.choice([-HOP, HOP], (frames, 30, 1))
    lithium = np.cumsum(made[..., None] * axes, axis=0) + rng.normal(0, rattle, (frames, 30, 3))
    return np.concatenate([lithium, rng.normal(0, 0.1, (frames, 20, 3))], axis=1), int(made.sum())


@given(seed=st.integers(0, 1000), frames=st.integers(2, 40), atoms=st.integers(1, 70))
@settings(max_examples=15, deadline=None)
def test_displacements_are_those_of_the_definition(seed: int, frames: int, atoms: int) -> None:
    places = np.random.default_rng(seed).normal(size=(frames, atoms, 3)).cumsum(0) + 1000.0
    found = mean_square_displacement(places)
    for lag in range(frames):
        exact = ((places[lag:] - places[: frames - lag]) ** 2).mean((0, 1))
        np.testing.assert_allclose(found[lag], exact, rtol=1e-9, atol=1e-9)


def test_a_random_walk_has_its_diffusion_coefficient_within_its_error() -> None:
    pulls, values = [], []
    for seed in range(20):
        found = diffusion(_found(_walk(0.5, seed)))
        assert found.state == "diffusing"
        values.append(found.value)
        pulls.append((found.value - 0.5) / found.error)
    assert np.mean(values) == pytest.approx(0.5, rel=0.06)
    # The error is that of correlated hops in crystals, which free walkers scatter less than.
    assert np.abs(pulls).max() < 2


def test_a_drift_of_everything_counts_for_nothing() -> None:
    still, moving = (diffusion(_found(_walk(0.5, 0, drift=v))) for v in ((0, 0, 0), (3, -5, 8)))
    assert moving.value == pytest.approx(still.value, rel=1e-6)
    assert moving.hops == pytest.approx(still.hops)


def test_hops_are_counted_exactly_and_rattling_is_none() -> None:
    assert count_hops(np.random.default_rng(0).normal(0, 0.4, (2000, 50, 3)), INTERVAL) == 0
    places = np.random.default_rng(1).normal(0, 0.2, (1000, 3, 3))
    places[200:, 0, 0] += 3.0  # one hop
    places[300:, 1] += [2.0, 2.0, 0.0]  # one, and back 2 ps later
    places[400:, 1] -= [2.0, 2.0, 0.0]
    places[500:, 2, 2] -= 3.0  # three in a row, 1 ps apart
    places[550:, 2, 2] -= 3.0
    places[600:, 2, 1] += 3.0
    assert count_hops(places, INTERVAL) == 6
    assert count_hops(places[:9], INTERVAL) == 0


def test_hops_of_a_poisson_process_are_counted_and_diffuse_as_they_should() -> None:
    rate = 0.05
    values = []
    for seed in range(10):
        places, made = _hopping(rate, seed)
        whole = _found(places)
        # Hops within 0.4 ps of another of the same ion are lost: about one in fifty.
        assert made * 0.9 <= whole.hops <= made
        values.append(diffusion(whole).value)
    assert np.mean(values) == pytest.approx(rate * HOP**2 / 6, rel=0.15)


def test_without_hops_the_answer_is_the_bound_of_three() -> None:
    places, _ = _hopping(0.0, 0)
    found = diffusion(_found(places))
    assert found.state == "few hops"
    assert found.hops < 0.5
    # Three hops of 3 Å by thirty ions in 24 ps would have been seen with 95 % probability.
    assert found.bound == pytest.approx(3.0 * HOP**2 / (6 * 30 * 24), rel=0.2)


def test_the_bound_holds_for_rare_hops() -> None:
    rate = 4 / (30 * 24)  # four hops a run
    true = rate * HOP**2 / 6
    found = [diffusion(_found(_hopping(rate, seed)[0])) for seed in range(12)]
    assert all(one.state == "few hops" for one in found)
    assert sum(one.bound > true for one in found) >= 10


def test_a_framework_that_flows_has_molten_and_one_that_turns_has_not() -> None:
    rng = np.random.default_rng(0)
    liquid = _walk(0.5, 1)
    liquid[:, 30:] += np.cumsum(rng.normal(0, 0.12, (601, 20, 3)), axis=0)
    assert diffusion(_found(liquid)).state == "melted"
    # Anions that turn about their centres get far, but come back: half a circle away at the most.
    turning = _walk(0.5, 1)
    angle = np.cumsum(rng.normal(0, 0.3, (601, 20)), axis=0)
    turning[:, 30:, 0] += 1.5 * np.cos(angle)
    turning[:, 30:, 1] += 1.5 * np.sin(angle)
    assert diffusion(_found(turning)).state == "diffusing"


def test_cells_taken_together_are_one_larger_cell() -> None:
    parts = [_found(_walk(0.3, seed)) for seed in (0, 1, 2)]
    whole = combined(parts)
    assert (whole.ions, whole.hops) == (90, sum(part.hops for part in parts))
    mean = np.mean([diffusion(part).value for part in parts])
    assert diffusion(whole).value == pytest.approx(mean)
    assert diffusion(whole).error < min(diffusion(part).error for part in parts)


def test_a_crystal_without_framework_or_ions_is_refused() -> None:
    for kinds in (np.full(50, 3), np.full(50, 16)):
        with pytest.raises(MfalError, match="both mobile ions and a framework"):
            measure_displacements(_walk(0.1, 0), kinds, MASSES, 3, INTERVAL)
