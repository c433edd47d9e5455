"""How near two ions may come before a structure is no structure."""

from collections.abc import Sequence

import numpy as np

from mfal.crystals.elements import ionic_radius

__all__ = ["least_distances"]

# Shares of the sum of ionic radii. Known bonds are at 0.82 or more of it (C-O in carbonates, P-O,
# S-O), neighbouring anions at 0.78 or more (O-O in carbonates).
_BOND = 0.75
_ANIONS = 0.70
# Å between cations, whose radii say nothing of how near they come; with hydrogen among them.
_CATIONS = 1.8
_PROTONS = 1.2


def least_distances(species: Sequence[tuple[str, float]]) -> np.ndarray:
    """Distances below which pairs of ions are rejected, [S, S] float64, Å.

    Args:
      species: (symbol, charge) of each kind of ion.

    >>> least_distances([("Li", 1), ("O", -2)]).round(2)
    array([[1.8 , 1.62],
           [1.62, 1.96]])
    """
    least = np.zeros((len(species), len(species)))
    for i, (a, p) in enumerate(species):
        for j, (b, q) in enumerate(species):
            radii = ionic_radius(a, p) + ionic_radius(b, q)
            if p * q < 0:
                least[i, j] = _BOND * radii
            elif p < 0:
                least[i, j] = _ANIONS * radii
            else:
                least[i, j] = _PROTONS if "H" in (a, b) else _CATIONS
    return least
