"""Maps of energies and densities as files for viewers."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mfal.errors import MfalError

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["write_cube"]


def write_cube(
    path: Path | str,
    values: np.ndarray,
    structure: "Structure",
    comment: str = "bond-valence site energy, eV",
) -> None:
    """Writes a map as a Gaussian cube file, read by VESTA, Ovito, VMD and others.

    Args:
      path: of the file.
      values: [n1, n2, n3], point (i, j, k) at fractions (i/n1, j/n2, k/n3) of the cell.
      structure: whose cell it is; a shared site is drawn as its most frequent species.
      comment: what the values are, in ASCII.

    Raises:
      MfalError: when the file can't be written.
    """
    from pymatgen.core import Structure
    from pymatgen.io.common import VolumetricData

    symbols = [max(site.species.items(), key=lambda item: item[1])[0].symbol for site in structure]
    drawn = Structure(structure.lattice, symbols, structure.frac_coords)
    try:
        VolumetricData(drawn, {"total": np.asarray(values, float)}).to_cube(
            str(path), comment=comment
        )
    except OSError as error:
        raise MfalError(
            f"{path}: {error.strerror}", "choose a folder that can be written"
        ) from None
