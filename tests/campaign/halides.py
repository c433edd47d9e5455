"""A campaign over rock salts of lithium halides: real parts, and next to nothing to compile."""

from functools import cache

import jax.numpy as jnp
import numpy as np
from pymatgen.core import Lattice, Structure

from mfal.campaign.options import from_mapping
from mfal.campaign.problem import make_problem
from mfal.crystals.elements import SYMBOLS
from mfal.crystals.types import Crystal
from mfal.envs import discrete_environment

__all__ = ["CONFIG", "PROBLEM"]

CONFIG = from_mapping(
    {
        "budget": 180.0,
        "rounds": 2,
        "initial": 5,
        "realisations": 1,
        "relax": False,
        "baseline": "none",
        "oracles": ["toy_oracles:three"],
        "proxy": {"model": "own_proxies:three_lines", "capacity": 64},
        "sampler": {"steps": 20, "batch": 8, "width": 16, "samples": 16},
    }
)
HALOGENS = ("F", "Cl", "Br")
PLACES = jnp.array([SYMBOLS.index(symbol) for symbol in HALOGENS])


@cache
def known():
    """Primitive cells: rock salts and antifluorites, edges of the cubic cells in Å."""
    salts = {"F": 4.03, "Cl": 5.14, "Br": 5.50}
    oxides = {"O": 4.62, "S": 5.71}
    found = [
        (f"Li{x}", Structure(face_centred(a), ["Li", x], [[0, 0, 0], [0.5, 0.5, 0.5]]))
        for x, a in salts.items()
    ]
    places = [[0, 0, 0], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]]
    return found + [
        (f"Li2{x}", Structure(face_centred(a), [x, "Li", "Li"], places)) for x, a in oxides.items()
    ]


def face_centred(edge: float) -> Lattice:
    return Lattice(edge / 2 * (np.ones((3, 3)) - np.eye(3)))


def halides(config):
    """Rock salts of six lithium and six halide ions: compiles in no time."""
    environment = discrete_environment(
        jnp.zeros(3, jnp.int32),
        action_mask=lambda counts: jnp.full(3, counts.sum() < 6),
        step=lambda counts, k: counts.at[k].add(1),
        parent_mask=lambda counts: counts > 0,
        undo=lambda counts, k: counts.at[k].add(-1),
        max_steps=6,
    )

    def to_crystal(counts):
        composition = jnp.zeros(len(SYMBOLS)).at[PLACES].set(counts.astype(jnp.float32))
        composition = composition.at[SYMBOLS.index("Li")].set(6.0)
        edge = 4.0 + jnp.array([0.0, 1.1, 1.5]) @ counts / 6
        return Crystal(
            composition, jnp.int32(225), jnp.append(jnp.full(3, edge), jnp.full(3, 90.0))
        )

    return make_problem(config.space, config.oracles)._replace(
        environment=environment,
        to_crystal=to_crystal,
        oxidation_states=lambda counts: {"Li": 1.0} | dict.fromkeys(HALOGENS, -1.0),
        known=known,
    )


PROBLEM = halides(CONFIG)
