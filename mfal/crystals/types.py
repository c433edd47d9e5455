"""The triple that the learner sees in place of a crystal."""

from typing import NamedTuple

import jax

__all__ = ["NUM_ELEMENTS", "Crystal"]

NUM_ELEMENTS = 103
"""Length of a composition array: hydrogen to lawrencium, index Z - 1."""


class Crystal(NamedTuple):
    """Composition, space group and lattice of a conventional cell: what an environment samples.

    Any number of leading batch axes, the same in all three fields. The triple does not fix the
    atoms: `mfal.crystals.realise` draws structures that it stands for.
    """

    composition: jax.Array
    """[..., 103] float32, atoms of each element in the conventional cell, by Z - 1."""
    space_group_number: jax.Array
    """[...] int32, 1 to 230."""
    lattice: jax.Array
    """[..., 6] float32, a b c in Å and alpha beta gamma in degrees, of the conventional cell
    (hexagonal axes for the rhombohedral groups, unique axis b for the monoclinic ones)."""
