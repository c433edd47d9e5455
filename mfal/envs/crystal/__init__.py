"""Crystals as a GFlowNet environment: space group, composition and lattice, valid by construction.

A trajectory chooses crystal system, point symmetry and space group; then elements and their counts
until it finishes the composition; then the free lattice parameters, angles first.

Masks are exact (`mfal.envs.crystal.tables`): an action is legal if and only if some crystal that
obeys the whole spec can still be reached. Terminal densities are with respect to counting measure
on species, counts and groups times Lebesgue measure on the free lattice parameters in Å and
degrees.
"""

from mfal.envs.crystal.convert import from_crystal, species_of, to_crystal
from mfal.envs.crystal.environment import crystal_environment
from mfal.envs.crystal.sites import sites_of
from mfal.envs.crystal.spec import CrystalSpec
from mfal.envs.crystal.state import CrystalState

__all__ = [
    "CrystalSpec",
    "CrystalState",
    "crystal_environment",
    "from_crystal",
    "sites_of",
    "species_of",
    "to_crystal",
]
