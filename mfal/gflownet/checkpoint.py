"""Checkpoints of the whole training state with orbax; a resumed run goes on bit for bit."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
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
    plain = _without_keys(like)
    wanted = _shapes(plain)
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            stored = _shapes(checkpointer.metadata(path).item_metadata.tree)
            wrong = sorted(n for n in wanted | stored if wanted.get(n) != stored.get(n))
            if wrong:
                raise MfalError(
                    f"checkpoint {folder} doesn't fit this trainer ({wrong[0]}: stored "
                    f"{stored.get(wrong[0])}, expected {wanted.get(wrong[0])})",
                    "use the configuration and environment it was written with",
                )
            blank = jax.tree.map(ocp.utils.to_shape_dtype_struct, plain)
            plain = checkpointer.restore(path, blank)
    except (AttributeError, FileNotFoundError, KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise MfalError(
            f"{folder} holds no readable checkpoint ({reason})", "give the folder that `save` wrote"
        ) from None
    # Bound to no device, so that it suits a trainer on one device or on a mesh of any.
    plain = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), plain)
    key = jax.random.wrap_key_data(plain["key"], impl=jax.random.key_impl(like.key))
    fields = {**plain, "key": key}
    return TrainState(**fields)


def _without_keys(state: TrainState) -> dict[str, Any]:
    """The state with its key as plain numbers, which every storage format knows."""
    return {**state._asdict(), "key": jax.random.key_data(state.key)}


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Shape of each array by its path."""
    found = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in found
        if hasattr(leaf, "shape")
    }
