"""How JAX is set up for the command line: compiled programs that are kept, and threads."""

import os

from mfal.cache import cache_folder

__all__ = ["use_compilation_cache", "use_one_thread"]

_ONE_THREAD = {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "NPROC": "1",  # threads of JAX's CPU client
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def use_one_thread() -> None:
    """Compute on one thread here, so that a campaign's decisions don't depend on a machine's cores.

    Sums that threads share are rounded otherwise for each number of them. The workers, who have one
    thread each, use the other cores. Call it before importing JAX. Variables that are set already
    win.
    """
    for name, value in _ONE_THREAD.items():
        os.environ.setdefault(name, value)


def use_compilation_cache() -> None:
    """Let JAX, here and in the workers, keep compiled programs, and share a device's memory.

    Call it before importing JAX.

    Variables that are set already win. A folder that can't be written costs time and nothing else.
    """
    folder = cache_folder() / "jax"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
        # Loading a program takes 7 ms, so what compiles in 20 isn't worth a file.
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.02")
    # The process that relaxes candidates may have the same device.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # XLA's own notes about programs it loads from the cache would land between our lines.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
