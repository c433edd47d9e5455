"""Bond-valence site energies of a mobile ion: maps, and the barriers in them."""

from typing import TYPE_CHECKING

from mfal.lazy import lazily

if TYPE_CHECKING:
    from mfal.oracles.bond_valence.decorations import sample_decoration
    from mfal.oracles.bond_valence.framework import Framework, framework_of, site_charges
    from mfal.oracles.bond_valence.percolation import Percolation, percolate
    from mfal.oracles.bond_valence.site_energy import symmetric_map
    from mfal.oracles.bond_valence.symmetry import Grid, symmetric_grid
    from mfal.oracles.bond_valence.volumetric import write_cube

__all__ = [
    "Framework",
    "Grid",
    "Percolation",
    "framework_of",
    "percolate",
    "sample_decoration",
    "site_charges",
    "symmetric_grid",
    "symmetric_map",
    "write_cube",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "decorations": "sample_decoration",
        "framework": "Framework framework_of site_charges",
        "percolation": "Percolation percolate",
        "site_energy": "symmetric_map",
        "symmetry": "Grid symmetric_grid",
        "volumetric": "write_cube",
    },
)
