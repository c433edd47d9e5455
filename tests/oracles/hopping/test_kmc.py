from itertools import combinations

import numpy as np
import pytest
from scipy.special import erfc

from mfal.errors import MfalError
from mfal.oracles.hopping.kmc import arrhenius_fit, simulate
from mfal.oracles.hopping.kmc_kernel import equilibrate
from mfal.oracles.hopping.kmc_lattice import KmcLattice, Repulsion, ion_repulsion, kmc_lattice
from mfal.oracles.hopping.network import BOLTZMANN, HopNetwork, diffusion_tensor, occupancies

KELVIN = 1000.0


def _lattice(cell, sites, hops, energies=None) -> HopNetwork:  # type: ignore[no-untyped-def]
    """Equal barriers of 0.3 eV unless a hop (i, j, winding) states its own."""
    return HopNetwork(
        np.asarray(cell, float),
        np.asarray(sites, float),
        np.zeros(len(sites)) if energies is None else np.asarray(energies, float),
        np.array([hop[:2] for hop in hops], np.int64),
        np.array([hop[2] for hop in hops], np.int64),
        np.array([hop[3] if len(hop) > 3 else 0.3 for hop in hops], float),
    )


def _cubic() -> HopNetwork:
    axes = np.eye(3, dtype=int)
    return _lattice(3.0 * np.eye(3), [[0, 0, 0]], [(0, 0, axis) for axis in axes])


def _bcc() -> HopNetwork:
    corners = [(-x, -y, -z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    return _lattice(np.eye(3), [[0, 0, 0], [0.5] * 3], [(0, 1, w) for w in corners])


def _fcc() -> HopNetwork:
    cell = 0.5 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    steps = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, -1, 0), (1, 0, -1), (0, 1, -1)]
    return _lattice(cell, [[0, 0, 0]], [(0, 0, w) for w in steps])


def _diamond() -> HopNetwork:
    cell = 0.5 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    steps = [(0, 0, 0), (-1, 0, 0), (0, -1, 0), (0, 0, -1)]
    return _lattice(cell, [[0, 0, 0], [0.25] * 3], [(0, 1, w) for w in steps])


def _square() -> HopNetwork:
    return _lattice(np.eye(3), [[0, 0, 0]], [(0, 0, (1, 0, 0)), (0, 0, (0, 1, 0))])


def _honeycomb() -> HopNetwork:
    cell = [[1, 0, 0], [0.5, np.sqrt(3) / 2, 0], [0, 0, 1]]
    steps = [(0, 0, 0), (-1, 0, 0), (0, -1, 0)]
    return _lattice(cell, [[0, 0, 0], [1 / 3, 1 / 3, 0]], [(0, 1, w) for w in steps])


def _exact_correlation_factor(network: HopNetwork, repeat: tuple[int, int, int]) -> float:
    """f of a tagged ion and one vacancy in a periodic cell, from the vacancy's Markov chain.

    f = (1 + c) / (1 - c) with c the mean cosine between successive jumps of the tagged ion (e.g.
    Mehrer, Diffusion in Solids, 2007, ch. 7). With the tagged ion on site 0, m[v] is its mean next
    jump when the vacancy is on v: the mean over hops of m[target], or of the jump where that is 0.
    """
    lattice = kmc_lattice(network, repeat, KELVIN)
    sites, hops = lattice.target.shape
    matrix, jump = np.eye(sites), np.zeros((sites, 3))
    onto = np.argwhere(lattice.target == 0)
    for v, k in np.argwhere(lattice.target != 0):
        matrix[v, lattice.target[v, k]] -= 1 / hops
    for v, k in onto:
        jump[v] -= lattice.step[lattice.kind[v], k] / hops
    mean = np.zeros((sites, 3))
    mean[1:] = np.linalg.solve(matrix[1:, 1:], jump[1:])
    # The tagged ion has just come from where the vacancy is now.
    last = np.array([lattice.step[lattice.kind[v], k] for v, k in onto])
    cosine = ((mean[onto[:, 0]] * last).sum(axis=1) / (last**2).sum(axis=1)).mean()
    return float((1 + cosine) / (1 - cosine))


@pytest.mark.parametrize(
    ("network", "repeat", "factor"),
    [
        (_cubic(), (8, 8, 8), 0.6531),
        (_bcc(), (6, 6, 6), 0.7272),
        (_fcc(), (8, 8, 8), 0.7815),
        (_diamond(), (7, 7, 7), 0.5),
        (_square(), (24, 24, 1), 0.467),
        (_honeycomb(), (18, 18, 1), 1 / 3),
    ],
    ids=["cubic", "bcc", "fcc", "diamond", "square", "honeycomb"],
)
def test_correlation_factors_of_one_vacancy(
    network: HopNetwork, repeat: tuple[int, int, int], factor: float
) -> None:
    sites = len(network.site_energy) * int(np.prod(repeat))
    result = simulate(
        network, KELVIN, sites - 1, repeat, replicas=4, blocks=20, attempts_per_ion=200 * sites
    )
    value, error = result.correlation_factor
    exact = _exact_correlation_factor(network, repeat)
    assert error < 0.01 * factor
    assert abs(value - exact) < 2 * error
    # The vacancy comes round again in a periodic cell: that adds less than 2 / sites.
    assert 0 < exact - factor < 2.0 / sites + 5e-4  # as the tables are rounded


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_exclusion_slows_charge_by_the_share_of_filled_sites(share: float) -> None:
    network = _cubic()
    ions = round(216 * share)
    result = simulate(
        network, KELVIN, ions, (6, 6, 6), replicas=16, blocks=40, attempts_per_ion=400
    )
    exact = np.trace(diffusion_tensor(network, KELVIN)) / 3 * (1 - ions / 216)
    value, error = result.collective_mean
    assert error < 0.05 * exact
    assert abs(value - exact) < 2 * error


def test_few_ions_diffuse_as_the_network_says() -> None:
    # Unequal sites and saddles, in one cell of low symmetry; an ion in a large supercell.
    hops = [
        (0, 1, (0, 0, 0), 0.35),
        (1, 0, (1, 0, 0), 0.30),
        (0, 0, (0, 1, 0), 0.40),
        (1, 1, (0, 1, 0), 0.45),
        (0, 1, (0, 0, 1), 0.38),
    ]
    cell = [[3.0, 0, 0], [0.5, 4.0, 0], [0, 0.3, 5.0]]
    network = _lattice(cell, [[0, 0, 0], [0.4, 0.5, 0.5]], hops, [0.0, 0.08])
    exact = diffusion_tensor(network, KELVIN)
    result = simulate(network, KELVIN, 1, (5, 5, 5), replicas=32, blocks=60, attempts_per_ion=3000)
    value, error = result.tracer_mean
    assert error < 0.05 * value
    assert abs(value - np.trace(exact) / 3) < 2 * error
    np.testing.assert_allclose(result.tracer, exact, atol=0.15 * np.abs(exact).max())
    # A single ion carries all the charge there is.
    assert result.haven_ratio[0] == pytest.approx(1.0)


def _repulsion(distance: float, energy: float) -> Repulsion:
    """So strong at a distance (Å), and nothing at twice that."""
    inverse = 1.5 / distance
    return Repulsion(energy * distance / float(erfc(1.5)), inverse)


def _pair_energies(lattice: KmcLattice) -> np.ndarray:
    """[S, S] eV, summed over images."""
    sites = len(lattice.kind)
    matrix = np.zeros((sites, sites + 1))
    for site, row in enumerate(lattice.near):
        np.add.at(matrix[site], row, lattice.pair[lattice.kind[site]])
    return matrix[:, :sites]


def _configurations(
    network: HopNetwork, repeat: tuple[int, int, int], ions: int, repulsion: Repulsion | None
) -> HopNetwork:
    """All ions of a supercell as one walker over their configurations, in the same supercell.

    Its windings count the ions that cross the cell's faces, so its diffusion is that of all their
    displacements summed, solved exactly: N times the collective diffusion.
    """
    lattice = kmc_lattice(network, repeat, KELVIN, repulsion=repulsion)
    energies, cells = _pair_energies(lattice), np.asarray(repeat)
    sites, num_cells = len(lattice.kind), int(np.prod(repeat))
    held = list(combinations(range(sites), ions))
    number = {state: n for n, state in enumerate(held)}
    total = np.array(
        [
            lattice.energy[lattice.kind[list(s)]].sum() + energies[np.ix_(s, s)].sum() / 2
            for s in held
        ]
    )
    hops, windings, saddles = [], [], []
    for (i, j), winding, saddle in zip(
        network.hop, network.winding, network.saddle_energy, strict=True
    ):
        for start in np.ndindex(*repeat):
            end = np.asarray(start) + winding
            a = int(i) * num_cells + int(np.ravel_multi_index(start, repeat))
            b = int(j) * num_cells + int(np.ravel_multi_index(tuple(end % cells), repeat))
            for state in held:
                if a not in state or b in state or a == b:
                    continue
                others = [s for s in state if s != a]
                field = max(energies[a, others].sum(), energies[b, others].sum())
                rest = total[number[state]] - lattice.energy[i] - energies[a, others].sum()
                hops.append((number[state], number[tuple(sorted([*others, b]))]))
                windings.append(end // cells)
                saddles.append(rest + saddle + field)
    return HopNetwork(
        network.lattice * cells[:, None], np.zeros((len(held), 3)), total,
        np.array(hops), np.array(windings), np.array(saddles),
    )  # fmt: skip


@pytest.mark.parametrize("energy", [None, 0.1])
def test_charge_diffuses_as_the_exact_solution_over_all_configurations(
    energy: float | None,
) -> None:
    # Two sorts of sites and three of hops, half filled: 70 configurations of four ions.
    network = _lattice(
        [[3.0, 0, 0], [0, 3.5, 0], [0, 0, 4.0]],
        [[0, 0, 0], [0.5, 0.5, 0.1]],
        [(0, 1, (0, 0, 0), 0.30), (1, 0, (1, 0, 0), 0.35), (1, 0, (0, 1, 0), 0.33)],
        [0.0, 0.06],
    )
    repulsion = None if energy is None else _repulsion(2.4, energy)
    exact = diffusion_tensor(_configurations(network, (2, 2, 1), 4, repulsion), KELVIN) / 4
    result = simulate(
        network, KELVIN, 4, (2, 2, 1), repulsion=repulsion, replicas=16, blocks=300,
        attempts_per_ion=600,
    )  # fmt: skip
    value, error = result.collective_mean
    assert error < 0.03 * value
    assert abs(value - np.trace(exact) / 3) < 3 * error
    np.testing.assert_allclose(result.collective, exact, atol=0.1 * np.abs(exact).max())
    np.testing.assert_allclose(result.collective_blocks.mean(axis=(0, 1)), result.collective)


def test_the_repulsion_is_that_of_the_force_field() -> None:
    # 14.4 eV Å · 1 · 1 / sqrt(2 · 2), covalent radii of 1.28 Å: by hand at 2.5 Å.
    strength, inverse = ion_repulsion()
    assert strength * erfc(2.5 * inverse) / 2.5 == pytest.approx(0.17856, abs=1e-5)
    network = _cubic()
    lattice = kmc_lattice(network, (3, 3, 3), KELVIN, repulsion=ion_repulsion())
    energies = _pair_energies(lattice)
    np.testing.assert_allclose(energies, energies.T)
    # Six neighbours at 3 Å, twelve at 3 sqrt 2; none but images in reach, and none of itself.
    distances = np.array([3.0, 3.0 * np.sqrt(2)])
    around = (np.array([6, 12]) * strength * erfc(distances * inverse) / distances).sum()
    np.testing.assert_allclose(energies.sum(axis=1), around)
    assert not energies.diagonal().any()


def test_ions_settle_as_boltzmann_says() -> None:
    # All ways to put three ions on six sites, weighed by site energies and repulsion.
    network = _lattice(
        3.0 * np.eye(3), [[0, 0, 0], [0.5, 0, 0]],
        [(0, 1, (0, 0, 0)), (1, 0, (1, 0, 0))], [0.0, 0.1],
    )  # fmt: skip
    lattice = kmc_lattice(network, (3, 1, 1), KELVIN, repulsion=_repulsion(1.5, 0.15))
    energies, thermal = _pair_energies(lattice), BOLTZMANN * KELVIN
    mean, partition = np.zeros(6), 0.0
    for held in combinations(range(6), 3):
        own = lattice.energy[lattice.kind[list(held)]].sum()
        weight = np.exp(-(own + energies[np.ix_(held, held)].sum() / 2) / thermal)
        partition += weight
        mean[list(held)] += weight
    start, counts = np.array([0, 1, 2], np.int32), np.zeros(6)
    draws = 4000
    for seed in np.random.SeedSequence(3).generate_state(draws, np.uint64):
        place = equilibrate(
            lattice.kind, lattice.energy / thermal, lattice.near, lattice.pair / thermal, start,
            40, seed,
        )  # fmt: skip
        counts[place] += 1
    np.testing.assert_allclose(counts / draws, mean / partition, atol=3 * 0.5 / np.sqrt(draws))


def test_repelling_ions_hop_as_often_as_by_enumeration() -> None:
    sites, ions, repulsion = 8, 4, 0.12
    ring = _lattice(3.0 * np.eye(3), [[0, 0, 0]], [(0, 0, (1, 0, 0))])
    states = np.array(
        [[k in held for k in range(sites)] for held in combinations(range(sites), ions)], int
    )
    boltzmann = np.exp(-repulsion / (BOLTZMANN * KELVIN))

    def pairs(state: np.ndarray) -> int:
        return int((state * np.roll(state, 1)).sum())

    weight = np.array([boltzmann ** pairs(state) for state in states])
    rate = np.zeros(len(states))
    for n, state in enumerate(states):
        for k in np.flatnonzero(state):
            for to in ((k + 1) % sites, (k - 1) % sites):
                if not state[to]:
                    after = state.copy()
                    after[[k, to]] = 0, 1
                    rate[n] += min(1.0, boltzmann ** (pairs(after) - pairs(state)))
    exact = 1e13 * np.exp(-0.3 / (BOLTZMANN * KELVIN)) * (weight @ rate) / weight.sum()
    # Wide cells across, so that the ring's images do not meet.
    ring = ring._replace(lattice=np.diag([3.0, 20.0, 20.0]))
    result = simulate(
        ring, KELVIN, ions, (sites, 1, 1), repulsion=_repulsion(3.0, repulsion), replicas=8,
        blocks=10, attempts_per_ion=2000,
    )  # fmt: skip
    assert result.hops / (8 * result.time) == pytest.approx(exact, rel=0.01)


def test_detailed_balance_of_the_tables() -> None:
    network = _lattice(
        np.eye(3), [[0, 0, 0], [0.5, 0, 0]], [(0, 1, (0, 0, 0)), (1, 0, (1, 0, 0))], [0.0, 0.1]
    )
    lattice = kmc_lattice(network, (4, 4, 4), KELVIN)
    out = np.diff(lattice.out, axis=1, prepend=0)
    back = np.diff(lattice.back, axis=1, prepend=0)
    weight = np.exp(-network.site_energy / (BOLTZMANN * KELVIN))
    # pi_i k_ij = pi_j k_ji, hop by hop.
    np.testing.assert_allclose(weight[:, None] * out, weight[::-1, None] * back, rtol=1e-12)
    # Every hop can be taken back: j is among i's targets as often as i among j's.
    pairs = np.zeros((128, 128), int)
    np.add.at(pairs, (np.arange(128)[:, None], lattice.target), 1)
    np.testing.assert_array_equal(pairs, pairs.T)


def test_occupations_follow_fermi() -> None:
    # Exclusion alone: the mean flux into the upper site is as the mean field says it is.
    network = _lattice(
        np.eye(3), [[0, 0, 0], [0.5, 0.5, 0.5]],
        [(0, 1, (0, 0, 0), 0.4), (0, 0, (1, 0, 0), 0.3), (1, 1, (0, 1, 0), 0.35)], [0.0, 0.1],
    )  # fmt: skip
    ions, repeat = 128, (4, 4, 8)
    filled, _ = occupancies(network, KELVIN, 1.0)
    result = simulate(network, KELVIN, ions, repeat, replicas=8, blocks=20)
    thermal = BOLTZMANN * KELVIN
    lower, upper = filled
    flux = 2 * (
        lower * (1 - lower) * np.exp(-0.3 / thermal)
        + upper * (1 - upper) * np.exp(-0.25 / thermal)
        + lower * (1 - upper) * np.exp(-0.4 / thermal)
    )
    hops = 1e13 * flux * 128 * result.time * 8
    assert result.hops == pytest.approx(hops, rel=0.02)


def test_the_same_seed_gives_the_same_bits() -> None:
    one, two, other = (
        simulate(_cubic(), KELVIN, 10, (3, 3, 3), seed=s, replicas=2, blocks=4) for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.tracer, two.tracer)
    assert one.hops != other.hops


def test_arrhenius_line_and_its_error() -> None:
    rng = np.random.default_rng(0)
    kelvin = np.array([700.0, 800, 900, 1000, 1200])
    truth = 1e14 * np.exp(-0.35 / (BOLTZMANN * kelvin))
    pulls, extrapolated = [], []
    exact = np.log10(1e14) - 0.35 / (BOLTZMANN * 300) / np.log(10)
    for _ in range(300):
        noisy = truth * (1 + 0.03 * rng.normal(size=5))
        fit = arrhenius_fit(kelvin, noisy, 0.03 * truth)
        energy, error = fit.activation_energy
        pulls.append((energy - 0.35) / error)
        value, spread = fit.log10_at(300.0)
        extrapolated.append((value - exact) / spread)
    for sample in (pulls, extrapolated):
        assert abs(np.mean(sample)) < 0.2
        assert np.std(sample) == pytest.approx(1.0, abs=0.12)
    with pytest.raises(MfalError, match="two temperatures"):
        arrhenius_fit(np.array([300.0]), np.array([1.0]), np.array([0.1]))


def test_refuses_a_full_lattice() -> None:
    with pytest.raises(MfalError, match="27 ions on 27 sites"):
        simulate(_cubic(), KELVIN, 27, (3, 3, 3))
