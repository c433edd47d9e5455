import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import multivariate_normal

from mfal.proxies.marginal import log_marginal


def test_density_and_gradient_are_scipys_and_the_differentiated_factorisations():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    y = rng.normal(size=6)

    def plain(covariance, y):
        _, log_det = jnp.linalg.slogdet(covariance)
        return -0.5 * y @ jnp.linalg.solve(covariance, y) - 0.5 * log_det

    with jax.enable_x64(True):
        covariance = jnp.asarray(root @ root.T + np.eye(6))
        value, slopes = jax.value_and_grad(log_marginal, (0, 1))(covariance, jnp.asarray(y))
        expected = jax.grad(plain, (0, 1))(covariance, jnp.asarray(y))
    density = multivariate_normal(np.zeros(6), np.asarray(covariance)).logpdf(y)
    np.testing.assert_allclose(value, density + 3 * np.log(2 * np.pi))
    for one, other in zip(slopes, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
