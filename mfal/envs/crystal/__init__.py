"""Crystals as a GFlowNet environment: space group, composition and lattice, valid by construction.

A trajectory chooses crystal system, point symmetry and space group; then elements and their counts
until it finishes the composition; then the free lattice parameters, angles first. Composition
first, a direct choice of the group, and elements in any order are options of the spec.

Masks are exact (`mfal.envs.crystal.tables`): an action is legal if and only if some crystal that
obeys the whole spec can still be reached. Terminal densities are with respect to counting measure
on species, counts and groups times Lebesgue measure on the free lattice parameters in Å and
degrees.

Where elements come in any order, an element takes three actions: the species, its count, and the
species again, which merges it into the composition. Undoing then names the element to take out;
a count alone would not, where two elements have the same.
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
