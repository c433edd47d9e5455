from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.common import VolumetricData

from mfal.errors import MfalError
from mfal.oracles.bond_valence.volumetric import write_cube


@pytest.fixture
def crystal() -> Structure:
    lattice = Lattice.from_parameters(3, 4, 5, 80, 95, 100)
    return Structure(lattice, [{"Li": 0.5}, "O"], [[0.1, 0.2, 0.3], [0.6, 0.5, 0.9]])


def _map() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(4, 5, 7))


def test_cube_is_read_back_by_pymatgen(tmp_path: Path, crystal: Structure) -> None:
    energy = _map()
    write_cube(tmp_path / "map.cube", energy, crystal)
    read = VolumetricData.from_cube(str(tmp_path / "map.cube"))
    np.testing.assert_allclose(read.data["total"], energy, rtol=1e-4)
    np.testing.assert_allclose(read.structure.lattice.matrix, crystal.lattice.matrix, atol=1e-4)
    np.testing.assert_allclose(read.structure.cart_coords, crystal.cart_coords, atol=1e-4)


def test_unwritable(tmp_path: Path, crystal: Structure) -> None:
    with pytest.raises(MfalError, match="choose a folder"):
        write_cube(tmp_path / "absent" / "map.cube", _map(), crystal)
