"""What a network sees of a crystal: composition, symmetry and lattice as numbers of order one.

`featurise` is pure JAX: symmetric in the order of elements by construction, differentiable in the
lattice and in the amounts. It sees only the triple (composition, space group, lattice), so it
leaves out everything that the atoms' positions decide: Wyckoff sites, coordination, bottlenecks,
bond lengths, disorder on a site, and which of several polymorphs of one group and cell is meant.
It also ignores density of defects, microstructure and temperature.

Amounts enter as fractions: two cells of one crystal, written with another multiple, differ in the
lattice lengths and the number of atoms only. Standardisation is the learner's (its state holds
it); here quantities are merely brought to convenient scales by logarithms and fixed units.
"""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from mfal.crystals import elements, groups
from mfal.crystals.lattice import cell_volume
from mfal.crystals.types import NUM_ELEMENTS, Crystal

__all__ = ["FEATURE_NAMES", "NUM_FEATURES", "featurise"]

_LITHIUM = elements.atomic_number("Li") - 1
_ANIONS = ("N", "O", "F", "P", "S", "Cl", "As", "Se", "Br", "Te", "I")
# Electronegativity range below the most electronegative element within which elements of _ANIONS
# count as anions: P is one in Li3P but not in Li3PS4 (chi 2.19 against 2.58), Cl is one beside S.
_ANION_WINDOW = 0.3


def _filled(column: np.ndarray) -> np.ndarray:
    """Unknown properties replaced by the median of the known ones."""
    return np.where(np.isnan(column), np.nanmedian(column), column)


def _periodic_columns() -> np.ndarray:
    """[103], column 1 to 18 of the periodic table; the f block counts as column 3.

    >>> [int(_periodic_columns()[elements.atomic_number(s) - 1]) for s in ("H", "He", "Ti", "La")]
    [1, 18, 4, 3]
    >>> [int(_periodic_columns()[elements.atomic_number(s) - 1]) for s in ("Lu", "Hf", "S", "Al")]
    [3, 4, 16, 13]
    """
    noble = (0, 2, 10, 18, 36, 54, 86, 118)
    columns = np.zeros(NUM_ELEMENTS)
    for z in range(1, NUM_ELEMENTS + 1):
        before = max(n for n in noble if n < z)
        after = min(n for n in noble if n >= z)
        # The s block counts from the noble gas before, the d and p blocks from the one after.
        from_after = 18 - (after - z)
        columns[z - 1] = z - before if z - before <= 2 and z != 2 else max(from_after, 3)
    return columns


def _common_radii() -> np.ndarray:
    """[103], Å: ionic radius, mean over the common oxidation states; NaN where there are none."""
    return np.array(
        [
            np.mean([elements.ionic_radius(symbol, q) for q in charges]) if charges else np.nan
            for symbol, charges in elements.OXIDATION_STATES.items()
        ]
    )


def _extreme_charges(pick: Callable[..., int]) -> np.ndarray:
    """[103], highest or lowest common oxidation state, 0 where there is none."""
    return np.array([pick(q, default=0) for q in elements.OXIDATION_STATES.values()], float)


_PROPERTIES: dict[str, np.ndarray] = {
    "log mass": np.log(_filled(elements.ATOMIC_MASS)),
    "electronegativity": _filled(elements.ELECTRONEGATIVITY),
    "covalent radius": _filled(elements.COVALENT_RADIUS),
    "ionic radius": _filled(_common_radii()),
    "period": elements.PRINCIPAL_QUANTUM_NUMBER.astype(float),
    "column": _periodic_columns(),
    "highest charge": _extreme_charges(max),
    "lowest charge": _extreme_charges(min),
}
_TABLE = np.stack(list(_PROPERTIES.values()), axis=1).astype(np.float32)
_IS_ANION = np.isin(np.array(elements.SYMBOLS), _ANIONS)
_NEGATIVITY = _TABLE[:, list(_PROPERTIES).index("electronegativity")]
_RADIUS = _TABLE[:, list(_PROPERTIES).index("covalent radius")]
_ORDER = groups.WYCKOFF_MULTIPLICITY.max(axis=1).astype(np.float32)


@jax.default_matmul_precision("highest")
def featurise(crystal: Crystal) -> jax.Array:
    """Features of one crystal, [NUM_FEATURES] float32, named by FEATURE_NAMES.

    Args:
      crystal: without batch axis; at least one atom, a consistent lattice.
    """
    return jnp.concatenate([jnp.atleast_1d(value) for _, value in _blocks(crystal)]).astype(
        jnp.float32
    )


def _blocks(crystal: Crystal) -> list[tuple[list[str], jax.Array]]:
    """Named pieces of the feature vector, in order."""
    chex.assert_shape(crystal.composition, (NUM_ELEMENTS,))
    chex.assert_shape(crystal.lattice, (6,))
    chex.assert_shape(crystal.space_group_number, ())
    amounts = jnp.maximum(crystal.composition, 0.0)
    atoms = jnp.maximum(jnp.sum(amounts), 1e-6)
    fraction = amounts / atoms
    present = fraction > 1e-6
    lithium = fraction[_LITHIUM]
    negativity = jnp.max(jnp.where(present, _NEGATIVITY, 0.0))
    is_anion = _IS_ANION & present & (negativity - _NEGATIVITY <= _ANION_WINDOW + 1e-6)
    anion = jnp.where(is_anion, fraction, 0.0)
    cation = jnp.where(is_anion, 0.0, fraction).at[_LITHIUM].set(0.0)
    cations, anions = jnp.sum(cation), jnp.sum(anion)

    mean = fraction @ _TABLE
    spread = jnp.sqrt(jnp.maximum(fraction @ (_TABLE - mean) ** 2, 1e-12))
    low = jnp.min(jnp.where(present[:, None], _TABLE, jnp.inf), axis=0)
    high = jnp.max(jnp.where(present[:, None], _TABLE, -jnp.inf), axis=0)
    # Where there is no cation beside lithium, lithium stands in: no fictitious element at zero.
    of_cations = (cation @ _TABLE + 1e-3 * _TABLE[_LITHIUM]) / (cations + 1e-3)
    of_anions = (anion @ _TABLE + 1e-3 * mean) / (anions + 1e-3)
    entropy = -jnp.sum(jnp.where(present, fraction * jnp.log(jnp.maximum(fraction, 1e-6)), 0.0))

    index = crystal.space_group_number - 1
    point_group = jax.nn.one_hot(_lookup(groups.POINT_GROUP, index), len(groups.POINT_GROUP_NAMES))
    system = jax.nn.one_hot(_lookup(groups.LATTICE_SYSTEM, index), len(groups.LATTICE_SYSTEM_NAMES))
    kind = jax.nn.one_hot(_lookup(groups.POINT_KIND, index), len(groups.POINT_KIND_NAMES))

    lengths, cosines = crystal.lattice[:3], jnp.cos(jnp.deg2rad(crystal.lattice[3:]))
    volume = jnp.maximum(cell_volume(crystal.lattice), 1e-3)
    shortest, longest = jnp.min(lengths), jnp.max(lengths)
    spheres = amounts @ (4 / 3 * jnp.pi * _RADIUS**3)
    geometry = {
        "log a": jnp.log(lengths[0]),
        "log b": jnp.log(lengths[1]),
        "log c": jnp.log(lengths[2]),
        "cos alpha": cosines[0],
        "cos beta": cosines[1],
        "cos gamma": cosines[2],
        "log longest / shortest": jnp.log(longest / shortest),
        "log volume": jnp.log(volume),
        "log atoms": jnp.log(atoms),
        "log volume per atom": jnp.log(volume / atoms),
        "log volume per anion": jnp.log(volume / (jnp.sum(anion) * atoms + 1e-3)),
        "Li density": 100 * lithium * atoms / volume,
        "log Li spacing": jnp.log(volume / (lithium * atoms + 1e-2)) / 3,
        "packing": spheres / volume,
    }
    chemistry = {
        "Li per anion": lithium / (anions + 1e-2),
        "cations per anion": cations / (anions + 1e-2),
        "anion fraction": anions,
        "mixing entropy": entropy,
        "elements": jnp.sum(present) / 4.0,
        "highest fraction beside Li": jnp.max(fraction.at[_LITHIUM].set(0.0)),
    }
    names = list(_PROPERTIES)
    return [
        ([f"fraction {s}" for s in elements.SYMBOLS], fraction),
        ([f"mean {n}" for n in names], mean),
        ([f"spread {n}" for n in names], spread),
        ([f"lowest {n}" for n in names], low),
        ([f"highest {n}" for n in names], high),
        ([f"cations' {n}" for n in names], of_cations),
        ([f"anions' {n}" for n in names], of_anions),
        (list(chemistry), jnp.stack(list(chemistry.values()))),
        ([f"point group {n}" for n in groups.POINT_GROUP_NAMES], point_group),
        ([f"system {n}" for n in groups.LATTICE_SYSTEM_NAMES], system),
        ([f"kind {n}" for n in groups.POINT_KIND_NAMES], kind),
        (["space group"], index / 230.0),
        (["log group order"], jnp.log(_lookup(_ORDER, index))),
        (list(geometry), jnp.stack(list(geometry.values()))),
    ]


def _lookup(table: np.ndarray, index: jax.Array) -> jax.Array:
    return jnp.asarray(table)[index]


def _names() -> tuple[str, ...]:
    """Names of the features, from an abstract evaluation: nothing is computed at import."""
    collected: list[str] = []

    def trace(crystal: Crystal) -> jax.Array:
        for names, value in _blocks(crystal):
            assert value.shape in ((), (len(names),)), names
            collected.extend(names)
        return jnp.zeros(())

    shapes: Any = (
        jax.ShapeDtypeStruct((NUM_ELEMENTS,), jnp.float32),
        jax.ShapeDtypeStruct((), jnp.int32),
        jax.ShapeDtypeStruct((6,), jnp.float32),
    )
    jax.eval_shape(trace, Crystal(*shapes))
    return tuple(collected)


FEATURE_NAMES: tuple[str, ...] = _names()
"""What each feature is; units: Å, Å^3, radians' cosines, Pauling's electronegativity, and Li
density in atoms per 100 Å^3."""

NUM_FEATURES = len(FEATURE_NAMES)
"""F."""
