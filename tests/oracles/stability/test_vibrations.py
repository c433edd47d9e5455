"""Imaginary modes by CHGNet, of a minimum and of a saddle."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Species, Structure

from mfal.oracles.stability.vibrations import vibrations_oracle

IONS = [Species("Li", 1), Species("I", -1)]


@pytest.mark.slow
def test_rock_salt_is_a_minimum_and_caesium_chlorides_structure_is_none():
    """Lithium iodide; edges as CHGNet relaxes them."""
    rock_salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(6.02), IONS, [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    other = Structure(Lattice.cubic(3.7), IONS, [[0, 0, 0], [0.5, 0.5, 0.5]])
    minimum, saddle = vibrations_oracle().evaluate([rock_salt, other])
    assert minimum.ok
    assert minimum.value == 0
    assert minimum.provenance["lowest_thz"] > -0.1
    assert saddle.value > 0
    assert saddle.provenance["lowest_thz"] < -0.5


def test_what_would_take_minutes_is_refused():
    places = np.random.default_rng(0).random((200, 3))
    crowd = Structure(Lattice.cubic(15.0), IONS * 100, places)
    (answer,) = vibrations_oracle().evaluate([crowd])
    assert not answer.ok
    assert "its vibrations take 200 atoms" in answer.status
