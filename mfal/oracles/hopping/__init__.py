"""Networks of sites and hops: exact diffusion and kinetic Monte Carlo."""

from typing import TYPE_CHECKING

from mfal.lazy import lazily

if TYPE_CHECKING:
    from mfal.oracles.hopping.kmc import ArrheniusFit, KmcResult, arrhenius_fit, simulate
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

__all__ = [
    "ArrheniusFit",
    "HopNetwork",
    "KmcResult",
    "activation_energy",
    "arrhenius_fit",
    "diffusion_tensor",
    "hop_network",
    "merge_shallow",
    "mobility_tensor",
    "occupancies",
    "open_dimensions",
    "simulate",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "kmc": "ArrheniusFit KmcResult arrhenius_fit simulate",
        "network": (
            "HopNetwork activation_energy diffusion_tensor hop_network merge_shallow "
            "mobility_tensor occupancies open_dimensions"
        ),
    },
)
