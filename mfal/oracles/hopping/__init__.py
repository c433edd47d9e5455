"""Networks of sites and hops: exact diffusion and kinetic Monte Carlo."""

from typing import TYPE_CHECKING

from mfal.lazy import lazily

if TYPE_CHECKING:
    from mfal.oracles.hopping.conductivity import powder_average, slowest_axis
    from mfal.oracles.hopping.kmc import ArrheniusFit, KmcResult, arrhenius_fit, simulate
    from mfal.oracles.hopping.kmc_lattice import Repulsion, ion_repulsion
    from mfal.oracles.hopping.network import (
        HopNetwork,
        activation_energy,
        diffusion_tensor,
        hop_network,
        merge_shallow,
        mobility_tensor,
        occupancies,
        open_dimensions,
    )
    from mfal.oracles.hopping.simulated import KmcConductivity, KmcOptions, kmc_conductivity
    from mfal.oracles.hopping.sites import SiteNetwork, site_network

__all__ = [
    "ArrheniusFit",
    "HopNetwork",
    "KmcConductivity",
    "KmcOptions",
    "KmcResult",
    "Repulsion",
    "SiteNetwork",
    "activation_energy",
    "arrhenius_fit",
    "diffusion_tensor",
    "hop_network",
    "ion_repulsion",
    "kmc_conductivity",
    "merge_shallow",
    "mobility_tensor",
    "occupancies",
    "open_dimensions",
    "powder_average",
    "simulate",
    "site_network",
    "slowest_axis",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "conductivity": "powder_average slowest_axis",
        "kmc": "ArrheniusFit KmcResult arrhenius_fit simulate",
        "kmc_lattice": "Repulsion ion_repulsion",
        "network": (
            "HopNetwork activation_energy diffusion_tensor hop_network merge_shallow "
            "mobility_tensor occupancies open_dimensions"
        ),
        "simulated": "KmcConductivity KmcOptions kmc_conductivity",
        "sites": "SiteNetwork site_network",
    },
)
