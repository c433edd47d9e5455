"""Specs with a name."""

import numpy as np

from mfal.envs.crystal.spec import LITHIUM_CONDUCTOR_STATES, CrystalSpec

__all__ = ["production_like_spec"]


def production_like_spec() -> CrystalSpec:
    """A space as large as Crystal-GFN's production setting, for comparing speed.

    22 elements, 1 to 5 of them in a crystal, 1 to 80 atoms, 1 to 16 of an element, 113 space
    groups over all crystal systems (arXiv:2310.04925; its own choice of elements and groups is not
    copied, and charge neutrality and Wyckoff positions are enforced here).

    >>> spec = production_like_spec()
    >>> len(spec.elements), spec.max_atoms, len(spec.groups)
    (22, 80, 113)
    """
    return CrystalSpec(
        elements=dict(LITHIUM_CONDUCTOR_STATES[:22]),
        required=(),
        element_limits=(1, 5),
        min_atoms=1,
        max_atoms=80,
        max_atoms_per_element=16,
        groups=tuple(np.linspace(1, 230, 113).round().astype(int).tolist()),
    )
