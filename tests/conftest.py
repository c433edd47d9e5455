"""Settings that all tests share."""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path

import jax
import jaxlib
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
SHORTEST = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
UNOPTIMISED = "JAX_DISABLE_MOST_OPTIMIZATIONS"
EMITTERS = "xla_cpu_use_fusion_emitters"


def pytest_configure(config: pytest.Config) -> None:
    """Settle how all processes of one run compile; those that tests start read the environment.

    They share a folder of compiled programs, empty at first. And XLA leaves out what takes long to
    compile, since these tests would compile for minutes what runs for seconds: most optimisations,
    and the newer of its two ways of emitting fused loops. Last digits depend on both, so they must
    be the same in all processes. The slow tests run programs as users do.
    """
    if COMPILED not in os.environ:
        folder = tempfile.mkdtemp(prefix="mfal-tests-")
        os.environ[COMPILED] = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ.setdefault(SHORTEST, "0.2")
    slow = "slow" in config.option.markexpr and "not" not in config.option.markexpr
    os.environ.setdefault(UNOPTIMISED, "0" if slow else "1")
    flags, unoptimised = os.environ.get("XLA_FLAGS", ""), os.environ[UNOPTIMISED] == "1"
    if unoptimised and EMITTERS not in flags and has_flag(EMITTERS):
        os.environ["XLA_FLAGS"] = f"{flags} --{EMITTERS}=false".lstrip()
    # JAX has read its own before.
    jax.config.update("jax_compilation_cache_dir", os.environ[COMPILED])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", float(os.environ[SHORTEST]))
    jax.config.update("jax_disable_most_optimizations", unoptimised)


def has_flag(name: str) -> bool:
    """Whether the installed XLA has a flag; it ends a process that gives it one that it hasn't."""
    for library in Path(jaxlib.__file__).parent.glob("libjax_common*"):
        with library.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as text:
            return text.find(name.encode()) >= 0
    return False


@pytest.fixture(scope="session", autouse=True)
def _space_group_of_rock_salt() -> Iterator[None]:
    """Hold Fm-3m: pymatgen forgets a space group that nobody holds.

    It would take a third of a second to make its operations for each of hundreds of crystals.
    """
    held = None
    if "pymatgen.core" in sys.modules:  # some test that runs has imported it
        from pymatgen.symmetry.groups import SpaceGroup

        held = SpaceGroup("Fm-3m")
    yield
    del held


@pytest.fixture(scope="module")
def optimised() -> Iterator[None]:
    """Optimise programs after all: for tests that run them for longer than that takes."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture
def heed_ctrl_c() -> Iterator[None]:
    """A suite that a script starts in the background ignores Ctrl-C, and so would its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
