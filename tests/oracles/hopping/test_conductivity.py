import numpy as np
import pytest

from mfal.oracles.hopping.conductivity import conductivity, powder_average
from mfal.oracles.hopping.network import ATTEMPT_FREQUENCY, BOLTZMANN, HopNetwork


def test_cubic_conductor_by_hand() -> None:
    a, barrier, count, kelvin = 4.0, 0.3, 2.0, 350.0
    network = HopNetwork(
        a * np.eye(3),
        np.zeros((1, 3)),
        np.zeros(1),
        np.zeros((3, 2), np.int64),
        np.eye(3, dtype=np.int64),
        np.full(3, barrier),
    )
    result = conductivity(network, count, kelvin)
    # SI throughout: n q^2 D / kT in S/m, a hundredth of that in S/cm.
    charge, boltzmann = 1.602176634e-19, 1.380649e-23
    diffusion = ATTEMPT_FREQUENCY * np.exp(-barrier / (BOLTZMANN * kelvin)) * (a * 1e-10) ** 2
    density = count / (a * 1e-10) ** 3
    sigma = density * charge**2 * diffusion / (boltzmann * kelvin) / 100.0
    np.testing.assert_allclose(result.tensor, sigma * np.eye(3), rtol=1e-7, atol=sigma * 1e-12)
    assert result.log10_mean == pytest.approx(np.log10(sigma), abs=1e-7)
    assert result.log10_powder == pytest.approx(result.log10_mean, abs=1e-9)
    assert result.activation_energy == pytest.approx(barrier, abs=1e-6)


def test_full_sites_conduct_by_the_vacancies_assumed() -> None:
    network = HopNetwork(
        4.0 * np.eye(3),
        np.zeros((1, 3)),
        np.zeros(1),
        np.zeros((3, 2), np.int64),
        np.eye(3, dtype=np.int64),
        np.full(3, 0.3),
    )
    free = conductivity(network, 1.0).log10_mean
    for count in (1.0, 1.7):
        full = conductivity(network, count, exclusion=True, least_vacancy=0.01).log10_mean
        assert full == pytest.approx(free + np.log10(0.99 * 0.01), abs=1e-9)


def test_no_way_out() -> None:
    network = HopNetwork(
        np.eye(3),
        np.zeros((1, 3)),
        np.zeros(1),
        np.zeros((0, 2), np.int64),
        np.zeros((0, 3), np.int64),
        np.zeros(0),
    )
    result = conductivity(network, 1.0)
    assert result.log10_mean == -np.inf
    assert result.activation_energy == np.inf


def test_powder_average() -> None:
    assert powder_average(np.array([2.0, 2.0, 2.0])) == pytest.approx(2.0)
    assert powder_average(np.array([0.0, 3.0, 3.0])) == pytest.approx(1.5)
    assert powder_average(np.array([0.0, 0.0, 3.0])) == 0.0
    # One good axis and two poor ones: the geometric mean of both, over sqrt 2.
    assert powder_average(np.array([1e-12, 1e-12, 1.0])) == pytest.approx(
        np.sqrt(0.5e-12), rel=1e-3
    )
    for principal in np.random.default_rng(0).uniform(0, 1, (20, 3)) ** 4:
        s = powder_average(principal)
        assert abs(((principal - s) / (principal + 2 * s)).sum()) < 1e-9
        assert principal.min() <= s <= principal.mean() + 1e-12
