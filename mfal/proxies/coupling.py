"""What a crystal's own answers say of its other answers: the same-crystal term.

A model of features predicts each fidelity's answer from the triple. Two answers about the same
crystal have more in common than the triple tells, since they see the same atoms. How much is
learned from crystals that have answered several times: with r_m = (y_m - mean_m) / std_m, predicted
without any answer about that crystal, the correlations C_mk of these surprises make

    y_i ~ N(mean_i, D_i C D_i),    D_i = diag(std_i),

the belief about one crystal's answers at all fidelities, and its own cheap answers count by
conditioning, once: the prediction that is conditioned has not seen them. A fidelity whose surprises
say nothing of the target's has no correlation, and its answers move nothing.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.proxies.dataset import EXACT, Dataset
from mfal.proxies.relation import Held, fuse_correlations, paired_correlation

__all__ = ["Crystals", "condition", "couple", "crystals_of", "log_density_of_target"]

_MAX_SURPRISE = 3.0
"""Surprises beyond this say that the errors are not Gaussian, not that they are related."""
_LEAST = 1e-9
"""Share of a variance below which nothing is left to learn."""
_LEAST_LOG_DENSITY = -12.5
"""Of one standardised answer, so that a single outlier doesn't decide between beliefs."""


class Crystals(NamedTuple):
    """The crystals of a data set with their answers; C of them, M fidelities."""

    rows: np.ndarray
    """[C], a row of each in the data set."""
    answered: np.ndarray
    """[C, M] bool, where there is an exact answer."""
    value: np.ndarray
    """[C, M], the answers; zero where there is none."""


@jax.jit
def couple(held: Held, data: Dataset) -> tuple[jax.Array, jax.Array]:
    """Correlations [M, M] between the surprises of a crystal's answers, and the pairs behind each.

    They are held down by a few pairs of no correlation and freed of what chance would show, so that
    a useless fidelity comes out at zero.

    Args:
      held: predictions for the data's rows, made without any answer about the row's crystal.
      data: the answers.
    """
    levels = held.mean.shape[1]
    own = jnp.arange(len(data.value)), data.fidelity
    usable = data.valid & (data.censoring == EXACT)
    surprise = jnp.clip(
        (data.value - held.mean[own]) / held.std[own], -_MAX_SURPRISE, _MAX_SURPRISE
    )
    of_level = jax.nn.one_hot(data.fidelity, levels) * usable[:, None]
    observed, pairs = paired_correlation(surprise, of_level, data.material)
    return fuse_correlations(jnp.eye(levels), observed, pairs), pairs


def crystals_of(data: Dataset, levels: int) -> Crystals:
    """The crystals that a data set holds answers about; on the host."""
    use = np.asarray(data.valid) & (np.asarray(data.censoring) == EXACT)
    rows = np.flatnonzero(use)
    _, first, number = np.unique(
        np.asarray(data.material)[rows], return_index=True, return_inverse=True
    )
    value = np.zeros((len(first), levels))
    answered = np.zeros((len(first), levels), bool)
    value[number, np.asarray(data.fidelity)[rows]] = np.asarray(data.value)[rows]
    answered[number, np.asarray(data.fidelity)[rows]] = True
    return Crystals(rows[first], answered, value)


def condition(
    mean: np.ndarray, covariance: np.ndarray, answered: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of each crystal's answers given some of them, exact Gaussian algebra.

    Args:
      mean: [C, M].
      covariance: [C, M, M], of the answers.
      answered: [C, M] bool.
      value: [C, M], the answers where there are any.
    """
    mean, covariance = np.array(mean, float), np.array(covariance, float)
    start = np.diagonal(covariance, axis1=1, axis2=2).copy()
    for m in range(mean.shape[1]):  # one answer after the other is the same as all at once
        variance = covariance[:, m, m]
        new = answered[:, m] & (variance > _LEAST * start[:, m])
        gain = np.where(
            new[:, None], covariance[:, :, m] / np.where(new, variance, 1.0)[:, None], 0
        )
        mean += gain * (value[:, m] - mean[:, m])[:, None]
        covariance -= gain[:, :, None] * covariance[:, None, m, :]
    return mean, covariance


def log_density_of_target(
    mean: np.ndarray, covariance: np.ndarray, crystals: Crystals
) -> np.ndarray:
    """Log density, nats, of each target answer given the same crystal's cheap ones, [answers].

    Args:
      mean: [C, M], predicted without any answer about the crystal.
      covariance: [C, M, M].
      crystals: with their answers; those without the target's are passed over.
    """
    at_target = crystals.answered[:, -1]
    cheap = crystals.answered.copy()
    cheap[:, -1] = False
    mean, covariance = condition(mean, covariance, cheap, crystals.value)
    std = np.sqrt(np.maximum(covariance[at_target, -1, -1], 1e-18))
    z = (crystals.value[at_target, -1] - mean[at_target, -1]) / std
    return np.maximum(-0.5 * z**2, _LEAST_LOG_DENSITY) - np.log(std) - 0.5 * np.log(2 * np.pi)
