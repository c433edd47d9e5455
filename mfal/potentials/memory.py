"""Memory that a process keeps from one program's run to the next."""

import ctypes
import functools
import sys

__all__ = ["keep_freed_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Names of parameters in glibc's <malloc.h>, mallopt(3)."""


@functools.cache
def keep_freed_memory() -> bool:
    """Ask glibc to keep what is freed, for the whole process; returns whether it does.

    A compiled program takes its scratch memory, some 50 MB for a crystal of 40 atoms, anew at each
    run. By default glibc maps so large a block afresh, and the system then clears it page by page,
    which takes as long as the energy and forces themselves. Kept, it is there at the next run; the
    process stays as large as it has once been. Only glibc's main arena can hold blocks beyond
    64 MB, so threads that have not yet taken memory are given that one: ask before JAX starts its
    own. Elsewhere than on Linux with glibc nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    wanted = {_MMAP_THRESHOLD: 1 << 30, _TRIM_THRESHOLD: (1 << 31) - 1, _ARENA_MAX: 1}
    told = [bool(mallopt(name, value)) for name, value in wanted.items()]
    return all(told)
