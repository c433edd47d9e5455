"""Who runs the queries: the processes of this machine, or a cluster.

Calls and answers travel to a cluster as pickles, as its library sends them: name only clusters
that you trust. What a user names here is run as it is, like an oracle.
"""

import contextlib
import runpy
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mfal.campaign.config import WORKERS, CampaignConfig
from mfal.campaign.workers.executors import WorkerPool
from mfal.campaign.workers.isolation import ONE_THREAD, SEEING
from mfal.errors import MfalError
from mfal.references import make

__all__ = ["environment_of", "open_executor"]

_DASK_PORT = 8786
"""Where `dask scheduler` listens unless told otherwise."""


@contextlib.contextmanager
def open_executor(config: CampaignConfig, *, patience: float = 10.0) -> Iterator[Executor]:
    """The executor that a configuration names, for as long as the context lasts.

    Args:
      config: of the campaign.
      patience: seconds that a scheduler may take to answer.

    Raises:
      MfalError: where it can't be had.
    """
    name = config.execution.executor
    if name == "local":
        with _stopped(_pool(config)) as pool:
            yield pool
    elif name.startswith("dask://"):
        with _dask(name, patience) as executor:
            yield executor
    elif name.startswith("parsl:"):
        with _parsl(Path(name.removeprefix("parsl:"))) as executor:
            yield executor
    else:
        made = make(name, "executor")
        if not isinstance(made, Executor):
            raise MfalError(
                f"executor {name}: {type(made).__name__} is no concurrent.futures.Executor",
                "give a function that returns one",
            )
        with _stopped(made) as executor:
            yield executor


@contextlib.contextmanager
def _stopped(executor: Executor) -> Iterator[Executor]:
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


def _pool(config: CampaignConfig) -> WorkerPool:
    execution = config.execution
    return WorkerPool(
        execution.workers,
        timeout=execution.timeout,
        retries=execution.retries,
        memory=execution.memory,
        environment=environment_of(config),
    )


def environment_of(config: CampaignConfig) -> dict[str, str]:
    """Of the processes that answer queries."""
    return SEEING if config.execution.device == WORKERS else ONE_THREAD


@contextlib.contextmanager
def _dask(name: str, patience: float) -> Iterator[Executor]:
    distributed = _import("distributed", "dask", name)
    parts = urlsplit(name)
    try:
        host, port = parts.hostname, parts.port or _DASK_PORT
    except ValueError:
        host, port = None, _DASK_PORT
    if not host or parts.path.strip("/") or parts.query:
        raise MfalError(f"executor {name}", "write dask://HOST or dask://HOST:PORT")
    host = f"[{host}]" if ":" in host else host
    try:
        client = distributed.Client(f"tcp://{host}:{port}", timeout=patience)
    except (OSError, TimeoutError) as error:
        raise MfalError(
            f"executor {name}: no Dask scheduler answers ({type(error).__name__})",
            "start one with `dask scheduler`, and workers with `dask worker`",
        ) from None
    with client:
        # Impure: a query that is asked again must run again, not find its old failure.
        executor = client.get_executor(pure=False)
        try:
            yield executor
        finally:
            executor.shutdown(wait=False)


@contextlib.contextmanager
def _parsl(path: Path) -> Iterator[Executor]:
    name = f"executor parsl:{path}"
    parsl = _import("parsl", "parsl", f"parsl:{path}")
    from parsl.concurrent import ParslPoolExecutor

    if not path.is_file():
        raise MfalError(f"{name}: no such file", "give a Python file that sets `config`")
    try:
        config = runpy.run_path(str(path)).get("config")
    except Exception as error:  # it is the user's program
        raise MfalError(f"{name}: {type(error).__name__}: {error}", "mend the file") from None
    if not isinstance(config, parsl.Config):
        raise MfalError(f"{name} sets no `config`", "set config = parsl.Config(...)")
    executor = ParslPoolExecutor(config)
    try:
        yield executor
    finally:
        executor.shutdown(wait=False)  # what still runs is asked again by the next start


def _import(module: str, extra: str, name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError:
        raise MfalError(
            f"executor {name}: {module} is not installed", f"pip install 'mfal[{extra}]'"
        ) from None
