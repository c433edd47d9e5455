"""What the oracle of imaginary modes takes on."""

import numpy as np
from pymatgen.core import Lattice, Species, Structure

from mfal.oracles.stability.vibrations import vibrations_oracle

IONS = [Species("Li", 1), Species("I", -1)]


def test_what_would_take_minutes_is_refused():
    places = np.random.default_rng(0).random((200, 3))
    crowd = Structure(Lattice.cubic(15.0), IONS * 100, places)
    (answer,) = vibrations_oracle().evaluate([crowd])
    assert not answer.ok
    assert "its vibrations take 200 atoms" in answer.status
