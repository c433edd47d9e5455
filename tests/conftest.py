"""Settings that all tests share."""

import os
import shutil
import tempfile
from collections.abc import Iterator

import jax
import pytest
from hypothesis import HealthCheck, settings

# Examples are drawn from a fixed seed, so that a red run can be repeated; timing is no verdict.
settings.register_profile(
    "mfal",
    deadline=None,
    derandomize=True,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("mfal")

os.environ.setdefault("MPLBACKEND", "Agg")

COMPILED = "JAX_COMPILATION_CACHE_DIR"


def pytest_configure(config: pytest.Config) -> None:
    """Give all processes of one run one folder of compiled programs, empty at first."""
    if COMPILED not in os.environ:
        folder = tempfile.mkdtemp(prefix="mfal-tests-")
        os.environ[COMPILED] = folder
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    jax.config.update("jax_compilation_cache_dir", os.environ[COMPILED])
    shortest = float(os.environ.get("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", shortest)


@pytest.fixture(scope="module", autouse=True)
def _unoptimised(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compile the trainer without most optimisations, which saves a quarter of these tests' time.

    The slow tests run it as users do.
    """
    slow = "slow" in request.config.option.markexpr and "not" not in request.config.option.markexpr
    name = "jax_disable_most_optimizations"
    before = jax.config.values[name]
    if not slow and request.path.parent.name == "gflownet":
        jax.config.update(name, True)
    yield
    jax.config.update(name, before)
