"""What the fidelities say about each other, and how far the spread of an ensemble is to be trusted.

The covariance between two fidelities at a crystal comes from surprises: the standardised errors of
held-out predictions, r_m = (y_m - mean_m) / sd_m. If the surprise at a cheap fidelity predicts the
surprise at the target fidelity, then asking the cheap one informs about the target, and by how
much; if it does not, the learned correlation goes to zero and with it the information. The members
of the ensemble only supply a prior for this correlation, worth a few pairs: ten members' sample
correlation has a standard error of a third, and a maximiser of information would feed on exactly
that error.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.scipy.stats import norm

from mfal.proxies.calibration import conformal_factor, held_out_score
from mfal.proxies.dataset import EXACT, Dataset

__all__ = [
    "Held",
    "Posterior",
    "Prediction",
    "Reliability",
    "fuse_correlations",
    "held_out",
    "measure_reliability",
    "paired_correlation",
    "posterior",
    "unknown_reliability",
]

# Pairs that the members' own correlation counts for, beside observed pairs of surprises.
_PRIOR_PAIRS = 4.0
# Surprises beyond this say that the noise is not Gaussian, not that the correlation is huge.
_MAX_SURPRISE = 3.0
# Held-out rows that the neutral factor of one counts for in the calibration.
_PRIOR_ROWS = 5.0
_SPREAD_GRID = jnp.geomspace(0.25, 6.0, 25)
_NOISE_GRID = jnp.geomspace(0.4, 4.0, 17)
_MAX_CORRELATION = 0.995
_LEVEL, _GAUSSIAN_INTERVAL = 0.9, 1.6448536


class Prediction(NamedTuple):
    """An ensemble's answer for one crystal, in the unit of each fidelity's score, calibrated."""

    members: jax.Array
    """[E, M], each member's mean at each fidelity."""
    noise: jax.Array
    """[M], standard deviation of an observation around the truth of its fidelity."""


class Reliability(NamedTuple):
    """What held-out rows tell about a fitted ensemble; M fidelities."""

    spread: jax.Array
    """[M], factor on the members' spread that makes held-out predictions calibrated."""
    noise: jax.Array
    """[M], factor on the predicted noise, likewise."""
    correlation: jax.Array
    """[M, M], learned posterior correlation between the fidelities of one crystal: positive
    semidefinite, ones on the diagonal; zero where a fidelity says nothing."""
    pairs: jax.Array
    """[M, M], number of crystals observed at both fidelities (held-out surprises)."""
    variance: jax.Array
    """[M], mean calibrated variance of the members over the data, in the scores' units squared."""
    interval: jax.Array
    """[M], multiple of the predicted standard deviation (spread and noise together) that covers
    90 % of held-out observations: 1.645 were they Gaussian."""
    score: jax.Array
    """[M], nats: mean log density of the held-out observations, in the scores' units; zero where
    there is none. Comparable between two fits whose members left out the same rows."""


class Held(NamedTuple):
    """Predictions for the rows of a data set, made without any answer about the row's crystal."""

    mean: jax.Array
    """[N, M], in the unit of each fidelity's score."""
    std: jax.Array
    """[N, M], of an answer: spread and noise together, calibrated."""


class Posterior(NamedTuple):
    """Gaussian belief about one crystal at all fidelities."""

    mean: jax.Array
    """[M]."""
    covariance: jax.Array
    """[M, M], of the true values (no observation noise)."""
    noise: jax.Array
    """[M], standard deviation of an observation around the truth."""


def unknown_reliability(num_fidelities: int) -> Reliability:
    """Before any data: neutral factors, no correlation."""
    shape = (num_fidelities, num_fidelities)
    ones = jnp.ones(num_fidelities)
    eye = jnp.eye(num_fidelities)
    interval = _GAUSSIAN_INTERVAL * ones
    return Reliability(ones, ones, eye, jnp.zeros(shape), ones, interval, 0 * ones)


def posterior(prediction: Prediction, reliability: Reliability) -> Posterior:
    """Mean and covariance over fidelities at one crystal.

    Variances are the members' own. Correlations are the learned ones, weakened where a fidelity is
    already better known than usual in comparison with the target: d_m C_mj d_j off the diagonal,
    with d_m = min(1, sqrt((v_m / v_target) / (mean v_m / mean v_target))). This keeps positive
    definiteness (D C D + I - D^2) and the slope of the target on the cheap fidelity, instead of its
    correlation, where the cheap one has been pinned down.
    """
    chex.assert_rank(prediction.members, 2)
    chex.assert_shape(prediction.noise, (prediction.members.shape[1],))
    mean = jnp.mean(prediction.members, axis=0)
    variance = jnp.var(prediction.members, axis=0, ddof=1) + 1e-12
    relative = (variance / variance[-1]) / (reliability.variance / reliability.variance[-1])
    weak = jnp.minimum(1.0, jnp.sqrt(relative)).at[-1].set(1.0)
    eye = jnp.eye(len(mean))
    correlation = jnp.outer(weak, weak) * reliability.correlation * (1 - eye) + eye
    std = jnp.sqrt(variance)
    return Posterior(mean, correlation * jnp.outer(std, std), prediction.noise)


@jax.default_matmul_precision("highest")
def measure_reliability(
    means: jax.Array,
    noises: jax.Array,
    kept: jax.Array,
    target: jax.Array,
    data: Dataset,
    value_scale: jax.Array,
) -> Reliability:
    """Calibration and correlations from the rows that members have not seen.

    Args:
      means: [E, N, M], standardised member means at all rows and fidelities.
      noises: [E, N, M], standardised noise levels.
      kept: [E, N] bool, rows that the member saw.
      target: [N], standardised values.
      data: the rows.
      value_scale: [M], units of the standardised values.
    """
    chex.assert_equal_shape([means, noises])
    chex.assert_shape(kept, means.shape[:2])
    chex.assert_shape([target, data.value], (means.shape[1],))
    num_fidelities = means.shape[-1]
    of_row = jax.nn.one_hot(data.fidelity, num_fidelities)
    own_mean = jnp.einsum("enm,nm->en", means, of_row)
    own_noise = jnp.einsum("enm,nm->en", noises, of_row)
    out = ~kept
    count = jnp.sum(out, axis=0)
    held = jnp.sum(out * own_mean, axis=0) / jnp.maximum(count, 1)
    scatter = jnp.sum(out * (own_mean - held) ** 2, axis=0)
    noise_var = jnp.sum(out * own_noise**2, axis=0) / jnp.maximum(count, 1)
    exact = data.valid & (data.censoring == EXACT)
    usable = exact & (count >= 2)
    # Few members left a row out, so its variance is noisy: shrink it to its fidelity's mean.
    dof = jnp.maximum(count - 1, 0)
    in_fidelity = of_row * usable[:, None]
    pooled = (in_fidelity.T @ scatter) / jnp.maximum(in_fidelity.T @ dof, 1)
    variance = (scatter + 4 * (of_row @ pooled)) / (dof + 4)
    variance = variance * (1 + 1 / jnp.maximum(count, 1))
    error = target - held

    spread, noise = jax.vmap(_calibrate, in_axes=(1, None, None, None))(
        in_fidelity, error, variance, noise_var
    )
    total = jnp.sqrt((of_row @ spread) ** 2 * variance + (of_row @ noise) ** 2 * noise_var)
    # A row that no member left out has no spread: it must not become 0 / 0, though it is masked.
    total = jnp.maximum(total, 1e-9)
    surprise = jnp.clip(error / total, -_MAX_SURPRISE, _MAX_SURPRISE)
    observed, pairs = paired_correlation(surprise, in_fidelity, data.material)

    score = jax.vmap(held_out_score, in_axes=(None, None, None, 1))(
        error, jnp.zeros_like(error), total, in_fidelity > 0
    )

    deviation = (means - jnp.mean(means, axis=0)) * data.valid[:, None]
    scatters = jnp.einsum("enm,enk->mk", deviation, deviation)
    scale = jnp.sqrt(jnp.diagonal(scatters)) + 1e-12
    own = scatters / jnp.outer(scale, scale)
    spread_var = spread**2 * value_scale**2
    rows = jnp.maximum(jnp.sum(data.valid), 1) * (means.shape[0] - 1)
    return Reliability(
        spread=spread,
        noise=noise,
        correlation=fuse_correlations(own, observed, pairs),
        pairs=pairs,
        variance=spread_var * jnp.diagonal(scatters) / rows + 1e-12,
        interval=jax.vmap(conformal_factor, in_axes=(None, 1, None))(
            error / total, in_fidelity > 0, _LEVEL
        ),
        score=jnp.where(jnp.any(in_fidelity > 0, axis=0), score - jnp.log(value_scale), 0.0),
    )


@jax.default_matmul_precision("highest")
def held_out(
    means: jax.Array,
    noises: jax.Array,
    kept: jax.Array,
    valid: jax.Array,
    reliability: Reliability,
) -> Held:
    """What the members that have not seen a row's crystal predict for it, in standard units.

    A row that all members saw gets the prediction of all.

    Args:
      means: [E, N, M], standardised member means at all rows and fidelities.
      noises: [E, N, M], standardised noise levels.
      kept: [E, N] bool, rows that the member saw.
      valid: [N] bool.
      reliability: the calibration that the same rows gave.
    """
    out = ~kept | jnp.all(kept, axis=0)
    count = jnp.sum(out, axis=0)[:, None]
    mean = jnp.einsum("en,enm->nm", out, means) / count
    scatter = jnp.einsum("en,enm->nm", out, (means - mean) ** 2)
    noise = jnp.einsum("en,enm->nm", out, noises**2) / count
    # As in `measure_reliability`: the variance of few members is shrunk to the mean of all rows.
    dof = jnp.maximum(count - 1, 0) * valid[:, None]
    pooled = jnp.sum(scatter * valid[:, None], axis=0) / jnp.maximum(jnp.sum(dof), 1)
    variance = (scatter + 4 * pooled) / (dof + 4) * (1 + 1 / count)
    total = reliability.spread**2 * variance + reliability.noise**2 * noise
    return Held(mean, jnp.sqrt(total))


def _calibrate(
    usable: jax.Array, error: jax.Array, variance: jax.Array, noise_var: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Factors on spread and noise of one fidelity that make held-out errors most likely."""

    def score(spread: jax.Array, noise: jax.Array) -> jax.Array:
        std = jnp.sqrt(spread**2 * variance + noise**2 * noise_var + 1e-12)
        fit = jnp.sum(usable * norm.logpdf(error, 0.0, std))
        return fit - _PRIOR_ROWS / 2 * (jnp.log(spread) ** 2 + jnp.log(noise) ** 2)

    scores = jax.vmap(jax.vmap(score, in_axes=(None, 0)), in_axes=(0, None))(
        _SPREAD_GRID, _NOISE_GRID
    )
    best = jnp.unravel_index(jnp.argmax(scores), scores.shape)
    return _SPREAD_GRID[best[0]], _NOISE_GRID[best[1]]


def paired_correlation(
    surprise: jax.Array, in_fidelity: jax.Array, material: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Correlation [M, M] of surprises over materials seen at both fidelities, and their number."""
    num = len(material)
    counts = jax.ops.segment_sum(in_fidelity, material, num)
    sums = jax.ops.segment_sum(in_fidelity * surprise[:, None], material, num)
    seen = (counts > 0).astype(jnp.float32)
    mean = sums / jnp.maximum(counts, 1)
    pairs = seen.T @ seen
    # Second moments about the mean surprise over the very pairs that enter.
    first = (mean.T @ seen) / jnp.maximum(pairs, 1)
    cross = mean.T @ mean / jnp.maximum(pairs, 1) - first * first.T
    square = (mean**2).T @ seen / jnp.maximum(pairs, 1) - first**2
    return cross / jnp.sqrt(jnp.maximum(square * square.T, 1e-12)), pairs


def fuse_correlations(own: jax.Array, observed: jax.Array, pairs: jax.Array) -> jax.Array:
    """Members' and observed correlation averaged by pairs in Fisher's z, less chance's share."""
    limit = _MAX_CORRELATION
    z_own = jnp.arctanh(jnp.clip(own, -limit, limit))
    z_observed = jnp.arctanh(jnp.clip(observed, -limit, limit))
    total = pairs + _PRIOR_PAIRS
    fused = jnp.tanh((_PRIOR_PAIRS * z_own + pairs * z_observed) / total)
    # The adjusted R^2: a useless fidelity has a squared sample correlation of 1/(n - 1) by chance.
    adjusted = jnp.maximum(1 - (1 - fused**2) * (total - 1) / (total - 2), 0.0)
    eye = jnp.eye(len(own))
    correlation = jnp.sign(fused) * jnp.sqrt(adjusted) * (1 - eye) + eye
    # Element by element shrinkage can leave the cone; clip the spectrum and restore the diagonal.
    values, vectors = jnp.linalg.eigh(correlation)
    inside = (vectors * jnp.maximum(values, 1e-4)) @ vectors.T
    scale = jnp.sqrt(jnp.diagonal(inside))
    return inside / jnp.outer(scale, scale)
