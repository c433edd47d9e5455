"""What precedent a crystal has: it is known, or exchanges of ions in a known one lead to it.

Crystals with a precedent are far likelier to exist than those drawn at random, and those whose
formula is known are seldom new. Which of these holds is looked up in a table, so that a trainer can
trace it.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from mfal.acquisition.formulas import same_formula, unit_rows
from mfal.crystals.types import NUM_ELEMENTS, Crystal

__all__ = ["NO_PRECEDENTS", "Precedents", "make_precedents", "precedent_of"]


class Precedents(NamedTuple):
    """Known crystals, and those that exchanges of ions in them lead to; a pytree."""

    composition: jax.Array
    """[T, 103] float32, of length one, or zero for padding."""
    space_group: jax.Array
    """[T] int32, 0 where it isn't told."""
    known: jax.Array
    """[T] bool, whether it is a known crystal."""


NO_PRECEDENTS = Precedents(
    np.zeros((1, NUM_ELEMENTS), np.float32),  # type: ignore[arg-type]
    np.zeros(1, np.int32),  # type: ignore[arg-type]
    np.zeros(1, bool),  # type: ignore[arg-type]
)


def make_precedents(
    composition: np.ndarray, space_group: np.ndarray, known: np.ndarray
) -> Precedents:
    """The table that `precedent_of` looks into.

    Args:
      composition: [T, 103], none all zero.
      space_group: [T], 0 where it isn't told.
      known: [T] bool, whether it is a known crystal; else one by an exchange in one.
    """
    chex.assert_shape(composition, (len(space_group), NUM_ELEMENTS))
    chex.assert_equal_shape([space_group, known])
    if not len(composition):
        return NO_PRECEDENTS
    return Precedents(
        unit_rows(composition),
        jnp.asarray(np.asarray(space_group), jnp.int32),
        jnp.asarray(np.asarray(known), bool),
    )


@jax.default_matmul_precision("highest")
def precedent_of(precedents: Precedents, crystal: Crystal) -> jax.Array:
    """[3] float32 of zeros and at most one 1, for one crystal without batch axes.

    The first stands for a known crystal: its formula in its space group, or in any where that isn't
    told. The second stands for an exchange in a known crystal, in its group. The third stands for
    the formula of either in another group.
    """
    same = same_formula(precedents.composition, crystal.composition)
    group = precedents.space_group
    here = same & ((group == crystal.space_group_number) | (group == 0))
    known, exchanged = jnp.any(here & precedents.known), jnp.any(here & ~precedents.known)
    found = jnp.stack([known, ~known & exchanged, ~known & ~exchanged & jnp.any(same)])
    return found.astype(jnp.float32)
