"""Wall and CPU time of a call. Imported by the benchmarks beside it."""

import time
from collections.abc import Callable
from typing import Any

__all__ = ["timed"]


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float, float]:
    """Result, wall seconds, CPU seconds of all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function(*arguments)
    return result, time.perf_counter() - wall, time.process_time() - cpu
