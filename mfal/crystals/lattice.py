"""Geometry of unit cells, and which lattice parameters a lattice system leaves free.

A lattice is a b c in Å and alpha beta gamma in degrees, last axis 6, any leading batch axes. The
functions work on NumPy and JAX arrays alike and keep the precision they are given.
"""

from typing import Any

import numpy as np

__all__ = [
    "FREE_PARAMETERS",
    "PARAMETER_NAMES",
    "TIED_ANGLE",
    "TIED_LENGTH",
    "cell_factor",
    "cell_matrix",
    "cell_volume",
    "is_consistent",
]

PARAMETER_NAMES = ("a", "b", "c", "alpha", "beta", "gamma")

FREE_PARAMETERS: np.ndarray = np.array(
    [
        [1, 1, 1, 1, 1, 1],
        [1, 1, 1, 0, 1, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 0, 1, 0, 0, 0],
        [1, 0, 1, 0, 0, 0],
        [1, 0, 1, 0, 0, 0],
        [1, 0, 0, 0, 0, 0],
    ],
    bool,
)
"""[7, 6], by lattice system (`groups.LATTICE_SYSTEM_NAMES`): parameters that symmetry leaves free,
in the conventional cell (hexagonal axes for the rhombohedral system, unique axis b)."""

TIED_LENGTH: np.ndarray = np.array(
    [[0, 1, 2], [0, 1, 2], [0, 1, 2], [0, 0, 2], [0, 0, 2], [0, 0, 2], [0, 0, 0]], np.int8
)
"""[7, 3], by lattice system: the free length (0 a, 1 b, 2 c) that each of a, b, c equals."""

TIED_ANGLE: np.ndarray = np.array(
    [[np.nan] * 3, [90, np.nan, 90], [90] * 3, [90] * 3, [90, 90, 120], [90, 90, 120], [90] * 3],
    np.float32,
)
"""[7, 3], by lattice system: alpha, beta, gamma in degrees where symmetry fixes them, else NaN."""


def cell_factor(lattice: Any) -> Any:
    """Volume of the cell over a b c, [...]; 0 where the angles can't close a cell.

    sqrt(1 - cos^2 alpha - cos^2 beta - cos^2 gamma + 2 cos alpha cos beta cos gamma).
    """
    xp, lattice = _namespace(lattice)
    ca, cb, cg = _cosines(xp, lattice)
    return xp.sqrt(xp.maximum(1 - ca**2 - cb**2 - cg**2 + 2 * ca * cb * cg, 0))


def cell_volume(lattice: Any) -> Any:
    """Volume of [..., 6] lattices, [...] in Å^3."""
    _, lattice = _namespace(lattice)
    return lattice[..., 0] * lattice[..., 1] * lattice[..., 2] * cell_factor(lattice)


def cell_matrix(lattice: Any) -> Any:
    """Cell vectors as rows a, b, c, [..., 3, 3] in Å: a along x, b in the xy plane, c up.

    Raises nothing: inconsistent angles give NaN in the last entry.
    """
    xp, lattice = _namespace(lattice)
    a, b, c = (lattice[..., i] for i in range(3))
    cos_alpha, cos_beta, cos_gamma = _cosines(xp, lattice)
    sin_gamma = xp.sin(xp.deg2rad(lattice[..., 5]))
    y = (cos_alpha - cos_beta * cos_gamma) / sin_gamma
    z = xp.sqrt(1 - cos_beta**2 - y**2)
    zero = xp.zeros_like(a)
    rows = [
        xp.stack([a, zero, zero], -1),
        xp.stack([b * cos_gamma, b * sin_gamma, zero], -1),
        xp.stack([c * cos_beta, c * y, c * z], -1),
    ]
    return xp.stack(rows, -2)


def is_consistent(lattice: Any) -> Any:
    """Whether [..., 6] lattices are real cells, [...] bool.

    Lengths and angles positive, and the Gram matrix positive definite, which for angles below 180
    degrees means a positive determinant (its leading minors are positive by themselves).
    """
    xp, lattice = _namespace(lattice)
    angles = lattice[..., 3:]
    return xp.all(lattice > 0, axis=-1) & xp.all(angles < 180, axis=-1) & (cell_factor(lattice) > 0)


def _namespace(lattice: Any) -> tuple[Any, Any]:
    if not hasattr(lattice, "__array_namespace__"):
        lattice = np.asarray(lattice, float)
    return lattice.__array_namespace__(), lattice


def _cosines(xp: Any, lattice: Any) -> tuple[Any, Any, Any]:
    # A right angle's cosine is made exactly zero: rounding must not leave a slightly oblique cell.
    angles = lattice[..., 3:]
    cosines = xp.where(angles == 90, 0, xp.cos(xp.deg2rad(angles)))
    return cosines[..., 0], cosines[..., 1], cosines[..., 2]
