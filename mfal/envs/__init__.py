"""GFlowNet environments as pure functions."""

from mfal.envs.crystal import (
    CrystalSpec,
    CrystalState,
    crystal_environment,
    from_crystal,
    sites_of,
    species_of,
    to_crystal,
)
from mfal.envs.fidelity import FidelityState, with_fidelity
from mfal.envs.hypergrid import HypergridReward, HypergridSpec, HypergridState, hypergrid
from mfal.envs.types import Action, Environment, Features, Stage

__all__ = [
    "Action",
    "CrystalSpec",
    "CrystalState",
    "Environment",
    "Features",
    "FidelityState",
    "HypergridReward",
    "HypergridSpec",
    "HypergridState",
    "Stage",
    "crystal_environment",
    "from_crystal",
    "hypergrid",
    "sites_of",
    "species_of",
    "to_crystal",
    "with_fidelity",
]
