import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from mfal.proxies.marginal import log_marginal


@pytest.mark.parametrize("size", [6, 150])  # of one block, of several that don't fill the last
def test_density_and_gradient_are_scipys_and_the_differentiated_factorisations(size):
    rng = np.random.default_rng(0)
    root = rng.normal(size=(size, size))
    y = rng.normal(size=size)

    def plain(covariance, y):
        _, log_det = jnp.linalg.slogdet(covariance)
        return -0.5 * y @ jnp.linalg.solve(covariance, y) - 0.5 * log_det

    with jax.enable_x64(True):
        covariance = jnp.asarray(root @ root.T + np.eye(size))
        value, slopes = jax.jit(jax.value_and_grad(log_marginal, (0, 1)))(
            covariance, jnp.asarray(y)
        )
        expected = jax.jit(jax.grad(plain, (0, 1)))(covariance, jnp.asarray(y))
    density = multivariate_normal(np.zeros(size), np.asarray(covariance)).logpdf(y)
    np.testing.assert_allclose(value, density + size / 2 * np.log(2 * np.pi))
    for one, other in zip(slopes, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
