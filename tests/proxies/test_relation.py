"""What is learnt from rows that members have not seen, where there are hardly any."""

import jax.numpy as jnp
import numpy as np

from mfal.proxies.dataset import make_dataset
from mfal.proxies.relation import measure_reliability


def test_rows_that_every_member_saw_say_nothing_even_where_all_values_are_equal():
    """A fidelity that always answers the same is standardised to zeros."""
    crystal = np.arange(8, dtype=np.float32)[:, None]
    data = make_dataset(crystal, np.arange(8) % 2, np.where(np.arange(8) % 2, 1.0, 0.0), capacity=8)
    target = jnp.where(data.fidelity == 1, 0.5, 0.0)
    means = jnp.broadcast_to(jnp.array([-0.5, 0.0, 0.5])[:, None, None], (3, 8, 2))
    kept = jnp.ones((3, 8), bool)
    found = measure_reliability(means, jnp.ones_like(means), kept, target, data, jnp.ones(2))
    assert all(np.isfinite(leaf).all() for leaf in found)
    np.testing.assert_array_equal(found.pairs, 0.0)
    np.testing.assert_allclose(jnp.diagonal(found.correlation), 1.0, rtol=1e-6)
