import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfal.errors import MfalError
from mfal.oracles.hopping.network import (
    ATTEMPT_FREQUENCY,
    BOLTZMANN,
    HopNetwork,
    activation_energy,
    diffusion_tensor,
    merge_shallow,
    mobility_tensor,
    occupancies,
    open_dimensions,
)

KT = BOLTZMANN * 300.0


def _network(lattice, sites, hops) -> HopNetwork:  # type: ignore[no-untyped-def]
    """Hops as (i, j, winding, saddle energy)."""
    return HopNetwork(
        np.asarray(lattice, float),
        np.zeros((len(sites), 3)),
        np.asarray(sites, float),
        np.array([hop[:2] for hop in hops], np.int64).reshape(-1, 2),
        np.array([hop[2] for hop in hops], np.int64).reshape(-1, 3),
        np.array([hop[3] for hop in hops], float),
    )


def _rate(barrier: float) -> float:
    return ATTEMPT_FREQUENCY * float(np.exp(-barrier / KT))


def test_simple_cubic() -> None:
    a = 3.7
    axes = np.eye(3, dtype=int)
    network = _network(a * np.eye(3), [0.0], [(0, 0, axis, 0.3) for axis in axes])
    expected = _rate(0.3) * a**2 * np.eye(3)
    np.testing.assert_allclose(diffusion_tensor(network, 300.0), expected, rtol=1e-12)


@pytest.mark.parametrize("trap", [0.0, 0.4])
@pytest.mark.parametrize("second", [0.3, 0.9, 2.5])
def test_chain_of_two_saddles_and_of_two_sites(second: float, trap: float) -> None:
    a = 4.2
    network = _network(
        np.diag([a, 5.0, 5.0]),
        [0.0, trap],
        [(0, 1, (0, 0, 0), 0.5), (1, 0, (1, 0, 0), 0.5 + second)],
    )
    # D = a^2 c1 c2 / (c1 + c2) with the fluxes c = nu exp(-E/kT) / Z; for equal sites this is
    # a^2/2 G1 G2 / (G1 + G2).
    z = 1.0 + np.exp(-trap / KT)
    c1, c2 = _rate(0.5) / z, _rate(0.5 + second) / z
    expected = np.zeros((3, 3))
    expected[0, 0] = a**2 * c1 * c2 / (c1 + c2)
    np.testing.assert_allclose(diffusion_tensor(network, 300.0), expected, rtol=1e-10)


def test_honeycomb() -> None:
    bond = 1.9
    a1 = bond * np.sqrt(3) * np.array([1.0, 0, 0])
    a2 = bond * np.sqrt(3) * np.array([0.5, np.sqrt(3) / 2, 0])
    network = _network(
        [a1, a2, [0, 0, 5.0]],
        [0.0, 0.0],
        [(0, 1, (0, 0, 0), 0.4), (0, 1, (-1, 0, 0), 0.4), (0, 1, (0, -1, 0), 0.4)],
    )
    tensor = diffusion_tensor(network, 300.0)
    expected = 0.75 * _rate(0.4) * bond**2 * np.diag([1.0, 1.0, 0.0])
    np.testing.assert_allclose(tensor, expected, rtol=1e-10, atol=1e-12 * expected.max())


def _random_network(rng: np.random.Generator, sites: int, spread: float) -> HopNetwork:
    hops = [
        (int(i), int(j), tuple(int(w) for w in rng.integers(-1, 2, 3)), float(e))
        for i, j, e in zip(
            rng.integers(0, sites, 4 * sites),
            rng.integers(0, sites, 4 * sites),
            rng.uniform(0.5, 0.5 + spread, 4 * sites),
            strict=True,
        )
    ]
    return _network(rng.normal(size=(3, 3)) + 4 * np.eye(3), rng.uniform(0, 0.4, sites), hops)


def _by_linear_solve(network: HopNetwork) -> np.ndarray:
    """The cell problem as a dense system with least squares: right where rates are alike."""
    n = len(network.site_energy)
    weight = np.exp(-network.site_energy / KT)
    flux = ATTEMPT_FREQUENCY * np.exp(-network.saddle_energy / KT) / weight.sum()
    step = network.winding @ network.lattice
    laplacian, force = np.zeros((n, n)), np.zeros((n, 3))
    for (i, j), c, d in zip(network.hop, flux, step, strict=True):
        laplacian[i, i] += c
        laplacian[j, j] += c
        laplacian[i, j] -= c
        laplacian[j, i] -= c
        force[i] += c * d
        force[j] -= c * d
    scale = np.abs(laplacian).max()
    x = np.linalg.lstsq(laplacian / scale, force / scale, rcond=1e-13)[0]
    move = step + x[network.hop[:, 1]] - x[network.hop[:, 0]]
    return (flux[:, None, None] * move[:, :, None] * move[:, None, :]).sum(axis=0)


@given(seed=st.integers(0, 10**6), sites=st.integers(2, 9))
@settings(max_examples=60, deadline=None)
def test_elimination_agrees_with_a_linear_solve(seed: int, sites: int) -> None:
    network = _random_network(np.random.default_rng(seed), sites, 0.1)
    tensor = diffusion_tensor(network, 300.0)
    expected = _by_linear_solve(network)
    np.testing.assert_allclose(tensor, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


@given(seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_order_of_sites_and_the_choice_of_cell_do_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = _random_network(rng, 6, 2.0)
    tensor = diffusion_tensor(network, 300.0)
    # Number the sites otherwise, and write each in another cell: windings change, D does not.
    order, cells = rng.permutation(6), rng.integers(-2, 3, (6, 3))
    winding = network.winding + cells[network.hop[:, 1]] - cells[network.hop[:, 0]]
    site_energy = np.empty(6)
    site_energy[order] = network.site_energy
    moved = network._replace(site_energy=site_energy, hop=order[network.hop], winding=winding)
    other = diffusion_tensor(moved, 300.0)
    np.testing.assert_allclose(other, tensor, rtol=1e-8, atol=1e-12 * np.abs(tensor).max())


def test_slow_rates_survive_beside_fast_ones() -> None:
    # Two fast cages of 0.05 eV joined by saddles of 2 eV: 10^32 between the rates.
    a = 5.0
    hops = [(0, 1, (0, 0, 0), 0.05), (0, 1, (0, 0, 0), 0.06), (1, 0, (1, 0, 0), 2.0)]
    network = _network(a * np.eye(3), [0.0, 0.0], hops)
    fast = _rate(0.05) + _rate(0.06)
    slow = _rate(2.0)
    expected = a**2 / 2 * fast * slow / (fast + slow)
    tensor = diffusion_tensor(network, 300.0)
    assert tensor[0, 0] == pytest.approx(expected, rel=1e-12)
    assert tensor[1, 1] == 0.0


def test_supercells_conduct_alike() -> None:
    rng = np.random.default_rng(5)
    network = _random_network(rng, 3, 0.3)
    sites, hops = [], []
    for site, copy in itertools.product(range(3), range(2)):
        sites.append((site, copy))
    number = {pair: k for k, pair in enumerate(sites)}
    for (i, j), w, e in zip(network.hop, network.winding, network.saddle_energy, strict=True):
        for copy in range(2):
            target = copy + int(w[0])
            winding = (target // 2, int(w[1]), int(w[2]))
            hops.append((number[int(i), copy], number[int(j), target % 2], winding, e))
    doubled = _network(
        network.lattice * np.array([[2], [1], [1]]),
        [network.site_energy[site] for site, _ in sites],
        hops,
    )
    np.testing.assert_allclose(
        diffusion_tensor(doubled, 300.0), diffusion_tensor(network, 300.0), rtol=1e-9
    )


def test_exclusion_slows_by_the_share_of_filled_sites() -> None:
    axes = np.eye(3, dtype=int)
    hops = [(k, k, axis, 0.3) for k in range(4) for axis in axes]
    hops += [(0, 1, (0, 0, 0), 0.35), (1, 2, (0, 1, 0), 0.4), (2, 3, (0, 0, 0), 0.3)]
    network = _network(3.0 * np.eye(3), [0.0] * 4, hops)
    free = mobility_tensor(network, 300.0, count=1.0)
    for count in (0.5, 1.0, 3.2):
        excluded = mobility_tensor(network, 300.0, count, exclusion=True)
        np.testing.assert_allclose(excluded, count * (1 - count / 4) * free, rtol=1e-10)


def test_occupations_add_up_and_are_fermis() -> None:
    rng = np.random.default_rng(0)
    network = _random_network(rng, 7, 0.2)
    filled, mu = occupancies(network, 500.0, 3.3)
    assert filled.sum() == pytest.approx(3.3, abs=1e-9)
    odds = np.log((1 - filled) / filled)
    expected = (network.site_energy - mu) / (BOLTZMANN * 500.0)
    np.testing.assert_allclose(odds, expected, rtol=1e-6, atol=1e-6)
    with pytest.raises(MfalError, match="do not fit"):
        occupancies(network, 500.0, 7.0)


def test_rare_defects_keep_their_digits() -> None:
    # Four full sites and eight empty ones 2 eV above: as many vacancies as interstitials, both
    # exp(-1 eV / kT) = 2e-17 to first order, far below what a sum of occupations resolves.
    network = _random_network(np.random.default_rng(0), 12, 0.0)._replace(
        site_energy=np.array([0.0] * 4 + [2.0] * 8)
    )
    filled, mu = occupancies(network, 300.0, 4.0)
    # 4 exp(-mu / kT) = 8 exp((mu - 2 eV) / kT)
    assert mu == pytest.approx(1.0 - 0.5 * KT * np.log(2.0), abs=1e-9)
    np.testing.assert_allclose(filled[4:], np.exp((mu - 2.0) / KT), rtol=1e-6)


def test_dimensions_without_barriers() -> None:
    hops = [
        (0, 0, (1, 0, 0), 0.05),
        (0, 0, (1, 1, 0), 0.08),
        (0, 0, (2, 1, 0), 0.09),  # in the plane of the others
        (0, 0, (0, 0, 1), 0.3),
        (1, 1, (0, 0, 1), 0.52),  # 0.02 above its own site, but a tunnel apart
        (0, 1, (0, 0, 0), 0.9),
    ]
    network = _network(np.eye(3), [0.0, 0.5], hops)
    found = [open_dimensions(network, depth) for depth in (0.01, 0.03, 0.06, 0.1, 0.35)]
    assert found == [0, 1, 1, 2, 3]


def test_activation_energy_of_one_barrier() -> None:
    network = _network(np.eye(3), [0.0], [(0, 0, (1, 0, 0), 0.42)])
    assert activation_energy(network, 300.0) == pytest.approx(0.42, abs=1e-6)
    assert activation_energy(_network(np.eye(3), [0.0], []), 300.0) == np.inf


def test_merging_shallow_minima() -> None:
    # A dimple 5 meV deep beside each site, in the next cell along x.
    hops = [(0, 1, (1, 0, 0), 0.035), (1, 0, (0, 0, 0), 0.4), (0, 0, (0, 1, 0), 0.5)]
    network = _network(3.0 * np.eye(3), [0.0, 0.03], hops)
    merged = merge_shallow(network, 0.02)
    assert len(merged.site_energy) == 1
    windings = {
        tuple(np.abs(w)): e for w, e in zip(merged.winding, merged.saddle_energy, strict=True)
    }
    assert windings == {(1, 0, 0): 0.4, (0, 1, 0): 0.5}
    unchanged = merge_shallow(network, 0.001)
    np.testing.assert_allclose(
        diffusion_tensor(unchanged, 300.0), diffusion_tensor(network, 300.0), rtol=1e-12
    )
