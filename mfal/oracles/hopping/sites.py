"""From a structure to the network of its sites that hold one ion each, for the oracles."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mfal.errors import MfalError
from mfal.oracles.bond_valence.maps import MapOptions, map_record, read_map
from mfal.oracles.hopping.network import BOLTZMANN, HopNetwork, hop_network, open_dimensions

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["LEAST_VACANCY", "LOCALISED", "SiteNetwork", "site_network"]

LOCALISED = 4.0
"""kT; a site is a place that an ion leaves over at least so much. Rates nu0 exp(-E / kT) hold
where the barrier is well above kT (Hänggi, Talkner & Borkovec, Rev. Mod. Phys. 62, 251 (1990),
doi:10.1103/RevModPhys.62.251); lower ones are not hops but motion within a site. At 300 K it is
0.103 eV: of 235 compounds of OBELiX one has a lower 3-D barrier (0.100 eV)."""

LEAST_VACANCY = 0.01
"""Share of empty sites assumed where the ions fill the sites that the map has, or outnumber them.
What doping and disorder leave there is not known; from 1e-4 to 0.1 the rank correlation with
experiment moves by 0.01 (`experiments/oracles_vs_experiment.py`)."""


class SiteNetwork(NamedTuple):
    """Sites of one cell, and how many ions share them."""

    network: HopNetwork
    ions: float
    """Mobile ions in the cell."""
    record: dict[str, Any]
    """What a provenance says of the map and the sites."""


def site_network(structure: "Structure", options: MapOptions, temperature: float) -> SiteNetwork:
    """Sites and hops of a structure; no hop is over less than `LOCALISED` kT.

    Args:
      structure: ordered or weighed by occupancies.
      options: of the energy map.
      temperature: K, at which a site has to hold an ion.

    Raises:
      MfalError: where ions cross the cell in two or three dimensions without a barrier, so that
        there are no sites, or where the map can't be made.
    """
    framework, grid, found = read_map(structure, options)
    depth = max(options.shallow, LOCALISED * BOLTZMANN * temperature)
    network = hop_network(found, framework.lattice, grid.shape, shallow=depth)
    free = open_dimensions(network, depth)
    if free >= 2:
        raise MfalError(
            f"{structure.composition.reduced_formula}: no localised sites; ions cross the cell in "
            f"{free} dimensions over less than {depth:.2f} eV",
            "hopping does not describe this framework: check that it is stable, or simulate it by "
            "molecular dynamics",
        )
    ends = network.site_energy[network.hop].max(axis=1)
    network = network._replace(saddle_energy=np.maximum(network.saddle_energy, ends + depth))
    record = map_record(framework, grid, options, found)
    if free:
        record["warnings"].append(f"channels without barriers above {depth:.2f} eV")
    count, sites = framework.mobile_count, len(network.site_energy)
    record |= {
        "least_barrier": depth,
        "mobile_ions": count,
        "hops": len(network.hop),
        "sites": sites,
    }
    return SiteNetwork(network, count, record)
