import numpy as np
import pytest

from mfal.errors import MfalError
from mfal.oracles.hopping.conductivity import conductivity, powder_average, slowest_axis
from mfal.oracles.hopping.kmc_lattice import ion_repulsion
from mfal.oracles.hopping.network import HopNetwork
from mfal.oracles.hopping.simulated import KmcOptions, kmc_conductivity, supercell

QUICK = KmcOptions(attempts=1_000_000)


def _network(saddles: tuple[float, float, float], upper: float = 0.1) -> HopNetwork:
    """Two sites in a cell of 4 Å, one `upper` eV above the other; saddles along the axes, eV."""
    hops = []
    for axis, saddle in zip(np.eye(3, dtype=int), saddles, strict=True):
        hops += [(0, 0, *axis, saddle + 0.05), (1, 1, *axis, saddle + 0.15)]
    hops += [(0, 1, 0, 0, 0, 0.3), (1, 0, 1, 1, 1, 0.35)]
    rows = np.array(hops)
    return HopNetwork(
        4.0 * np.eye(3),
        np.array([[0, 0, 0], [0.5, 0.5, 0.5]]),
        np.array([0.0, upper]),
        rows[:, :2].astype(int),
        rows[:, 2:5].astype(int),
        rows[:, 5],
    )


@pytest.mark.parametrize("measure", [slowest_axis, powder_average])
@pytest.mark.parametrize("kelvin", [300.0, 700.0])
def test_few_ions_without_repulsion_conduct_as_the_network_says(measure, kelvin) -> None:  # type: ignore[no-untyped-def]
    # Barriers from 0.3 to 0.6 eV: no straight line in 1/T from the hot runs down to 300 K.
    network = _network((0.65, 0.5, 0.5))
    found = kmc_conductivity(network, 0.02, kelvin, options=QUICK, measure=measure)
    exact = conductivity(network, found.ions / found.sites * 2, kelvin, exclusion=True)
    assert found.error < 0.2
    assert abs(found.log10 - np.log10(measure(exact.principal))) < 3 * found.error
    assert len(found.temperatures) == (1 if kelvin == 700.0 else 4)


def test_errors_are_the_scatter_over_seeds() -> None:
    network = _network((0.5, 0.5, 0.5))
    exact = np.log10(conductivity(network, 0.04, 300.0, exclusion=True).principal.min())
    runs = [
        kmc_conductivity(network, 0.04, options=KmcOptions(attempts=400_000, seed=seed))
        for seed in range(12)
    ]
    pulls = np.array([(run.log10 - exact) / run.error for run in runs])
    assert 0.4 < np.sqrt((pulls**2).mean()) < 1.8


def test_repulsion_of_crowded_ions_shows() -> None:
    # Half of the sites filled, neighbours at 2.3 Å: an ion mostly has to pass between two others.
    network = _network((0.4, 0.4, 0.4), upper=0.0)._replace(lattice=2.65 * np.eye(3))
    free, crowded = (
        kmc_conductivity(network, 1.0, 800.0, repulsion, options=QUICK)
        for repulsion in (None, ion_repulsion())
    )
    assert crowded.log10 < free.log10 - 3 * np.hypot(free.error, crowded.error)
    assert crowded.results[0].haven_ratio[0] > 0


def test_full_sites_keep_their_vacancies() -> None:
    network = _network((0.4, 0.4, 0.4))
    found = kmc_conductivity(network, 2.0, 800.0, least_vacancy=0.01, options=QUICK)
    assert supercell(network) == (4, 4, 4)
    assert (found.ions, found.sites) == (127, 128)


def test_a_cage_does_not_conduct_and_a_stuck_ion_is_told_of() -> None:
    network = _network((0.4, 0.4, 0.4))
    cage = network._replace(
        hop=network.hop[-2:-1], winding=network.winding[-2:-1], saddle_energy=np.array([0.3])
    )
    assert kmc_conductivity(cage, 1.0).log10 == -np.inf
    stuck = network._replace(saddle_energy=network.saddle_energy + 6.0)
    stuck.saddle_energy[-2] = 0.3
    with pytest.raises(MfalError, match="no ion gets about in 1e\\+06 attempts"):
        kmc_conductivity(stuck, 1.0, options=QUICK)


def test_the_same_seed_gives_the_same_bits() -> None:
    network = _network((0.5, 0.5, 0.5))
    one, two, other = (
        kmc_conductivity(network, 1.0, options=KmcOptions(attempts=400_000, seed=seed)).log10
        for seed in (1, 1, 2)
    )
    assert one == two
    assert one != other
