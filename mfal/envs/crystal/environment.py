"""The environment of a spec."""

from functools import lru_cache

import jax

from mfal.envs.crystal.features import make_features
from mfal.envs.crystal.masks import make_masks
from mfal.envs.crystal.spec import CrystalSpec
from mfal.envs.crystal.state import Blocks, static_of
from mfal.envs.crystal.transitions import make_lattice_values, make_transitions
from mfal.envs.observe import observe_from
from mfal.envs.types import Environment, Stage

__all__ = ["crystal_environment"]


def crystal_environment(spec: CrystalSpec | None = None) -> Environment:
    """The environment of a spec; its states are `CrystalState`.

    The first call for a spec builds its look-ahead tables, or reads them from the cache folder.

    Raises:
      MfalError: when no crystal obeys the spec.

    >>> import jax.numpy as jnp
    >>> from mfal.envs import Action, to_crystal
    >>> spec = CrystalSpec(elements=("Li", "O"), groups=(225,), max_atoms=16)
    >>> env = crystal_environment(spec)
    >>> state = env.initial_state()
    >>> while not env.is_terminal(state):
    ...     index = jnp.argmax(env.action_mask(state)).astype(jnp.int32)
    ...     state = env.step(state, Action(index, jnp.float32(0.5)))
    >>> crystal = to_crystal(spec, state)
    >>> int(crystal.composition[2]), int(crystal.composition[7]), int(crystal.space_group_number)
    (8, 4, 225)
    """
    return _environment(spec or CrystalSpec())


@lru_cache(maxsize=8)
def _environment(spec: CrystalSpec) -> Environment:
    # The tables outlive whatever is being traced when they are first asked for.
    with jax.ensure_compile_time_eval():
        return _make_environment(spec)


def _make_environment(spec: CrystalSpec) -> Environment:
    static = static_of(spec)
    masks = make_masks(static)
    step, undo = make_transitions(static)
    recover_value, log_jacobian = make_lattice_values(static)
    features, vocabulary = make_features(static)
    stages = tuple(
        Stage(name, start, stop - start, continuous=name == "lattice")
        for name, start, stop in zip(Blocks._fields, static.blocks, static.blocks[1:], strict=False)
        if stop > start
    )
    sparse = jax.eval_shape(features, static.initial())
    return Environment(
        name="crystal",
        stages=stages,
        num_actions=static.blocks.end,
        max_steps=static.max_steps,
        vocabulary=vocabulary,
        num_dense=sparse.dense.shape[0],
        initial_state=static.initial,
        action_mask=masks.action,
        step=step,
        parent_mask=masks.parent,
        undo=undo,
        recover_value=recover_value,
        log_jacobian=log_jacobian,
        is_terminal=masks.terminal,
        features=features,
        observe=observe_from(features, vocabulary),
    )
