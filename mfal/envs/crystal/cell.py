"""Lattice parameters one by one, each within the interval that still leads to a valid cell.

Angles come first, then lengths. Each parameter x is low + value * (high - low), with value in
[0, 1] and [low, high] all that is feasible given the parameters before it, so cells are valid by
construction and log |dx / dvalue| = log(high - low).

Angles must close a cell that is not too flat: det = 1 - ca^2 - cb^2 - cg^2 + 2 ca cb cg >= f^2,
where ca, cb, cg are the cosines and f the spec's least volume over a b c. The set of such cosines
is convex (det^(1/3) is concave on positive semidefinite matrices), and so is its part within the
spec's range of angles: what is left for each next angle is an interval, found in closed form.
Lengths must bring the volume into its range, and stay within an aspect ratio of each other; in
logarithms all of this is linear, so again an interval is left.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mfal.crystals.lattice import FREE_PARAMETERS, TIED_ANGLE, TIED_LENGTH
from mfal.envs.crystal.spec import CrystalSpec

__all__ = ["CellLimits", "cell_limits", "fill_tied", "interval", "parameter_order"]

MIN_WIDTH = 1e-4
"""Least width of an interval, Å or degrees: below it the density would be lost in rounding. Where
the exact interval is narrower, the parameter may overstep it by this much."""


class CellLimits(NamedTuple):
    """A spec's ranges, and which lattice systems they admit."""

    length: tuple[float, float]
    """Å."""
    cos: tuple[float, float]
    """Cosines of the largest and the smallest angle."""
    factor: float
    """Least volume over a b c."""
    aspect: float
    """Greatest ratio of two lengths."""
    admitted: np.ndarray
    """[7] bool, lattice systems that have a valid cell."""


def cell_limits(spec: CrystalSpec) -> CellLimits:
    """Limits in the form that `interval` takes.

    >>> cell_limits(CrystalSpec(min_angle=60, max_angle=100)).admitted.tolist()
    [True, True, True, True, False, False, True]
    """
    low, high = (float(np.cos(np.deg2rad(x))) for x in (spec.max_angle, spec.min_angle))
    limits = CellLimits(
        (spec.min_length, spec.max_length),
        (low, high),
        spec.min_cell_factor,
        spec.max_aspect,
        np.ones(7, bool),
    )
    right = spec.min_angle <= 90 <= spec.max_angle
    # Hexagonal axes: gamma = 120 degrees, volume over a b c sin(120 degrees).
    hexagonal = right and spec.max_angle >= 120 and np.sqrt(0.75) >= spec.min_cell_factor
    triclinic = np.subtract(*reversed(_first_angle(np, limits))) > 0
    admitted = np.array([triclinic, right, right, right, hexagonal, hexagonal, right])
    return limits._replace(admitted=admitted)


def parameter_order() -> np.ndarray:
    """Free parameters in the order in which they are set: [7, 7] int32 by lattice system.

    0 a to 5 gamma, angles first; 6 after the last.
    """
    order = np.full((7, 7), 6, np.int32)
    for system, free in enumerate(FREE_PARAMETERS):
        chosen = [i for i in (3, 4, 5, 0, 1, 2) if free[i]]
        order[system, : len(chosen)] = chosen
    return order


def fill_tied(system: jax.Array, lattice: jax.Array) -> jax.Array:
    """The whole lattice [6], with what symmetry ties, from the free parameters of a system []."""
    lengths = lattice[jnp.asarray(TIED_LENGTH, jnp.int32)[system]]
    fixed = jnp.asarray(TIED_ANGLE, jnp.float32)[system]
    return jnp.concatenate([lengths, jnp.where(jnp.isnan(fixed), lattice[3:], fixed)])


def interval(
    limits: CellLimits,
    volume: tuple[jax.Array, jax.Array],
    system: jax.Array,
    lattice: jax.Array,
    parameter: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Low end and width of the feasible interval of one parameter.

    Args:
      limits: from `cell_limits`.
      volume: least and greatest volume of the cell, Å^3.
      system: [] int32, lattice system.
      lattice: [6] float32, the free parameters set so far; those not set yet are not read.
      parameter: [] int32, 0 a to 5 gamma, the one to be set.

    Returns:
      Low end and width, [] float32, Å or degrees; the width is at least MIN_WIDTH.
    """
    angle = _angle_interval(limits, system, lattice, parameter)
    length = _length_interval(limits, volume, system, lattice, parameter)
    low, high = (jnp.where(parameter >= 3, a, x) for a, x in zip(angle, length, strict=True))
    return low, jnp.maximum(high - low, MIN_WIDTH)


def _first_angle(xp, limits: CellLimits):  # type: ignore[no-untyped-def]
    """Cosines of alpha for which beta and gamma exist, with nothing else fixed.

    The best beta and gamma are equal, with the cosine t nearest to zero: then
    det = 1 - ca^2 - 2 t^2 (1 - ca).
    """
    low, high = limits.cos
    t2 = min(max(0.0, low), high) ** 2
    root = np.sqrt(max((1 - t2) ** 2 - limits.factor**2, 0.0))
    return xp.maximum(low, t2 - root), xp.minimum(high, t2 + root)


def _root(x: jax.Array) -> jax.Array:
    """Square root with a finite slope at zero; 1e-6 there, far below MIN_WIDTH as an angle."""
    return jnp.sqrt(jnp.maximum(x, 1e-12))


def _second_angle(limits: CellLimits, ca: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cosines of beta, given alpha's, for which a gamma exists."""
    low, high = limits.cos
    sin2 = 1 - ca**2
    # At the extreme of cb over all cg, cg = ca cb; within the range of cg the nearest will do.
    extreme = ca * _root(1 - limits.factor**2 / sin2)
    ends = []
    for sign in (-1, 1):
        cg = jnp.clip(sign * extreme, low, high)
        root = _root(sin2 * (1 - cg**2) - limits.factor**2)
        ends.append(jnp.clip(ca * cg + sign * root, low, high))
    return ends[0], ends[1]


def _angle_interval(
    limits: CellLimits, system: jax.Array, lattice: jax.Array, parameter: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Least and greatest value in degrees."""
    low, high = limits.cos
    ca, cb = (jnp.cos(jnp.deg2rad(lattice[i])) for i in (3, 4))
    # Gamma, given alpha and beta.
    root = _root((1 - ca**2) * (1 - cb**2) - limits.factor**2)
    third = (jnp.clip(ca * cb - root, low, high), jnp.clip(ca * cb + root, low, high))
    # The only free angle of the monoclinic cells: its sine is the volume over a b c.
    alone = math.sqrt(1 - limits.factor**2)
    only = (max(low, -alone), min(high, alone))
    second = _second_angle(limits, ca)
    first = [float(end) for end in _first_angle(np, limits)]
    cosines = []
    for end in range(2):
        beta = jnp.where(system == 0, second[end], only[end])
        cosines.append(
            jnp.where(parameter == 3, first[end], jnp.where(parameter == 4, beta, third[end]))
        )
    return jnp.rad2deg(jnp.arccos(cosines[1])), jnp.rad2deg(jnp.arccos(cosines[0]))


def _length_interval(
    limits: CellLimits,
    volume: tuple[jax.Array, jax.Array],
    system: jax.Array,
    lattice: jax.Array,
    parameter: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Least and greatest value in Å.

    With p axes of this length and k axes still to come, x^p y^k = volume / (factor * lengths
    before) must be met by some y between the spec's bounds, and no further from x and the lengths
    before than the aspect ratio r allows. Each bound on y is a constant, or r x, or x / r, so each
    gives one bound on x.
    """
    shortest, longest = limits.length
    axis = jnp.minimum(parameter, 2)
    tied = jnp.asarray(TIED_LENGTH, jnp.int32)[system]
    before = tied < axis
    # At least 1: keeps the unused branch finite, where an angle is set.
    power = jnp.maximum(jnp.sum(tied == axis), 1).astype(jnp.float32)
    after = jnp.maximum(3 - power - jnp.sum(before).astype(jnp.float32), 0)
    whole = fill_tied(system, lattice)
    lengths = jnp.where(before & (whole[:3] > 0), whole[:3], 1)
    # Those to come lie between these, by themselves and beside the lengths before.
    least = jnp.maximum(shortest, jnp.max(jnp.where(before, lengths, 0)) / limits.aspect)
    most = jnp.minimum(longest, jnp.min(jnp.where(before, lengths, jnp.inf)) * limits.aspect)
    cos = jnp.where(whole[3:] == 90, 0, jnp.cos(jnp.deg2rad(whole[3:])))
    determinant = 1 - jnp.sum(cos**2) + 2 * jnp.prod(cos)
    factor = jnp.sqrt(jnp.maximum(determinant, limits.factor**2))
    low, high = (v / (factor * jnp.prod(lengths)) for v in volume)
    stretch = limits.aspect**after
    lower = jnp.maximum(
        (low / most**after) ** (1 / power), (low / stretch) ** (1 / (power + after))
    )
    upper = jnp.minimum(
        (high / least**after) ** (1 / power), (high * stretch) ** (1 / (power + after))
    )
    return jnp.clip(lower, least, most), jnp.clip(upper, least, most)
