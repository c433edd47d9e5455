"""What the policy sees of a crystal under way."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mfal.envs.crystal.sites import make_site_rules
from mfal.envs.crystal.state import CrystalState, Static
from mfal.envs.types import Features

__all__ = ["make_features"]

CHARGE_TOKENS = 32
"""Charges beyond this look alike to the policy."""


def make_features(static: Static) -> tuple[Callable[[CrystalState], Features], int]:
    """What the policy sees.

    Tokens: what is due, the symmetry, each element with its count, the pending one, atoms and
    charge so far. Dense: the lattice so far, the size and charge of the composition, and the
    orbits on each Wyckoff position.
    """
    none, max_count, max_atoms = static.num_species, static.max_count, static.spec.max_atoms
    num_due, rules = 14, make_site_rules(static)
    sizes = [
        num_due,
        7,
        static.num_points,
        230,
        len(static.totals) if static.totals_ahead else 0,
        none * max_count,
        none,
        max_atoms + 1,
        2 * CHARGE_TOKENS + 1,
    ]
    offsets = np.cumsum([0, *sizes]).tolist()
    vocabulary = offsets[-1]

    def features(state: CrystalState) -> Features:
        atoms = jnp.sum(state.counts, dtype=jnp.int32)
        charge = jnp.sum(static.charge[state.species, state.counts], dtype=jnp.int32)
        parameter = static.parameter_order[static.lattice_system[state.group], state.placed]
        counting = (state.pending < none).astype(jnp.int32)
        # 0 system, 1 point, 2 group, 3 element, 4 count, 6 to 11 lattice, 12 end, 13 site; 5 is
        # left out, so that policies trained before read the same tokens.
        at_symmetry = jnp.where(state.system < 0, 0, jnp.where(state.point < 0, 1, 2))
        in_composition = ~state.finished & (state.group >= 0)
        due = jnp.where(
            in_composition,
            3 + counting,
            jnp.where(
                state.group < 0, at_symmetry, jnp.where(rules.done(state), 6 + parameter, 13)
            ),
        )

        def token(offset: int, value: jax.Array, known: jax.Array) -> jax.Array:
            return jnp.where(known, offset + value, vocabulary).astype(jnp.int32)[None]

        element = state.species * max_count + state.counts - 1
        tokens = [
            token(offsets[0], due, jnp.bool_(True)),
            token(offsets[3], state.group, state.group >= 0),
            jnp.where(state.species < none, offsets[5] + element, vocabulary).astype(jnp.int32),
            token(offsets[6], state.pending, state.pending < none),
            token(offsets[7], atoms, jnp.bool_(True)),
            token(
                offsets[8],
                jnp.clip(charge, -CHARGE_TOKENS, CHARGE_TOKENS) + CHARGE_TOKENS,
                jnp.bool_(True),
            ),
        ]
        tokens.append(token(offsets[1], state.system, state.system >= 0))
        tokens.append(token(offsets[2], state.point, state.point >= 0))
        if static.totals_ahead:
            tokens.append(token(offsets[4], state.total, state.total >= 0))
        lengths = state.lattice[:3] / 10
        angles = jnp.where(state.lattice[3:] > 0, (state.lattice[3:] - 90) / 45, 0)
        size, balance = atoms.astype(jnp.float32), charge.astype(jnp.float32)
        volume = jnp.log1p(static.ion_volume(state))
        sums = [size / max_atoms, balance / CHARGE_TOKENS, volume / 5]
        parts = [lengths, angles, jnp.stack(sums)]
        if state.sites is not None:
            parts.append(jnp.log1p(state.sites.reshape(-1).astype(jnp.float32)))
        dense = jnp.concatenate(parts).astype(jnp.float32)
        return Features(jnp.concatenate(tokens), dense)

    return features, vocabulary
