"""Checkpoints of the whole training state with orbax; a resumed run goes on bit for bit."""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from mfal.errors import MfalError
from mfal.gflownet.config import TrainState

__all__ = ["restore", "save"]


def save(folder: str | Path, state: TrainState, *, overwrite: bool = False) -> None:
    """Write parameters, optimiser, replay buffer, data and keys into a new folder.

    Raises:
      MfalError: if the folder exists (unless `overwrite`) or can't be written.
    """
    path = Path(folder).absolute()
    if path.exists() and not overwrite:
        raise MfalError(f"checkpoint {folder} exists", "choose another folder or overwrite=True")
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(path, _without_keys(state), force=overwrite)
    except OSError as error:
        raise MfalError(f"checkpoint {folder}: {error.strerror}", "choose another folder") from None


def restore(folder: str | Path, like: TrainState) -> TrainState:
    """Read a state.

    Args:
      folder: from `save`.
      like: a state of the same trainer, such as its `init` gives; only shapes and types are used.

    Raises:
      MfalError: if there is no checkpoint, or it belongs to another configuration.
    """
    path = Path(folder).absolute()
    if not path.is_dir():
        raise MfalError(f"no checkpoint in {folder}", "give the folder that `save` wrote")
    blank = jax.tree.map(ocp.utils.to_shape_dtype_struct, _without_keys(like))
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            plain = checkpointer.restore(path, blank)
    except (ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise MfalError(
            f"checkpoint {folder} doesn't fit this trainer ({reason})",
            "use the configuration and environment it was written with",
        ) from None
    key = jax.random.wrap_key_data(plain["key"], impl=jax.random.key_impl(like.key))
    fields = {**plain, "key": key}
    return TrainState(**fields)


def _without_keys(state: TrainState) -> dict[str, Any]:
    """The state with its key as plain numbers, which every storage format knows."""
    return {**state._asdict(), "key": jax.random.key_data(state.key)}
