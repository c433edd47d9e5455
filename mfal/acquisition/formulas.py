"""Scores of formulas: a search wants the best of many formulas, not one formula over and over.

A polymorph of a formula that has answered improves on the best only where it is better than that
formula's own best. Formulas are looked up in a table, so that a trainer can trace it.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from mfal.crystals.types import NUM_ELEMENTS

__all__ = ["FormulaScores", "make_formula_scores", "same_formula", "score_of_formula", "unit_rows"]

_SAME = 2e-6
"""Two compositions are the same where the cosine of the angle between them is this close to one.
float32 resolves 1e-7; the nearest two of neutral ternaries with at most 36 atoms, LiM10X21 and
LiM11X23, differ by 8.5e-6."""


class FormulaScores(NamedTuple):
    """The best scores of formulas; a pytree."""

    composition: jax.Array
    """[T, 103] float32, of length one, or zero for padding."""
    score: jax.Array
    """[T] float32"""


def make_formula_scores(composition: np.ndarray, score: np.ndarray) -> FormulaScores:
    """The table that `score_of_formula` looks into.

    Args:
      composition: [T, 103], all zero in rows that don't count.
      score: [T]
    """
    chex.assert_shape(composition, (len(score), NUM_ELEMENTS))
    return FormulaScores(unit_rows(composition), jnp.asarray(score, jnp.float32))


@jax.default_matmul_precision("highest")
def score_of_formula(scores: FormulaScores, composition: jax.Array) -> jax.Array:
    """The best score of the formula of a composition [103], []; minus infinity where none is."""
    same = same_formula(scores.composition, composition)
    return jnp.max(jnp.where(same, scores.score, -jnp.inf), initial=-jnp.inf)


def same_formula(unit: jax.Array, composition: jax.Array) -> jax.Array:
    """[T] bool, which rows [T, 103] of length one have the formula of a composition [103]."""
    length = jnp.linalg.norm(composition)
    return unit @ composition / jnp.maximum(length, 1e-6) > 1.0 - _SAME


def unit_rows(composition: np.ndarray) -> jax.Array:
    """Compositions [T, 103] divided by their lengths, float32; zeros stay."""
    length = np.linalg.norm(composition, axis=1, keepdims=True)
    return jnp.asarray(composition / np.where(length > 0, length, 1.0), jnp.float32)
