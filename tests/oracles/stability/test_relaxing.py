import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from mfal.oracles.stability.relaxing import relax_structures
from mfal.potentials.relax import RelaxSettings
from tests.potentials.analytic import argon, lennard_jones

ARGON = lennard_jones(0.0104, 3.4, 5.0)
TIGHT = RelaxSettings(force=1e-4, stress=2e-3)


def test_structures_come_back_with_their_symmetry():
    positions, cell, species = argon(1, 5.6)
    cube = Structure(Lattice(cell), species, positions, coords_are_cartesian=True)
    off = cube.copy()
    off.translate_sites([0], [0.004, 0, 0], frac_coords=False)  # within the tolerance
    mixed = Structure(Lattice.cubic(4), [{"Ar": 0.5}], [[0, 0, 0]])
    both = Structure(Lattice.cubic(4), ["Ar", "Ar"], [[0, 0, 0], [0, 0, 0]])
    seen = []
    answers = relax_structures([mixed, cube, off, both], ARGON, TIGHT, report=seen.append)
    assert [a.status.split(":")[0] for a in answers] == [
        "refused",
        "converged",
        "converged",
        "refused",
    ]
    assert "partial occupancies" in answers[0].status
    assert answers[0].structure == mixed
    assert np.isnan(answers[0].energy)
    for answer in answers[1:3]:
        assert (answer.space_group_before, answer.space_group_after) == (225, 225)
        assert answer.structure.get_space_group_info(1e-6)[1] == 225
        assert answer.volume_change < -0.15
        assert answer.stress <= 2e-3
    assert answers[1].energy == pytest.approx(answers[2].energy, abs=1e-5)
    assert answers[2].shift == pytest.approx(0.004 * np.sqrt(3) / 4, rel=0.02)
    assert max(seen) == 4


def test_species_and_order_are_kept():
    positions, cell, _ = argon(1, 5.3)
    structure = Structure(
        Lattice(cell), ["Ar", "Kr", "Ar", "Xe"], positions, coords_are_cartesian=True
    )
    (answer,) = relax_structures([structure], ARGON, keep_symmetry=False)
    assert answer.structure.species == structure.species
    assert answer.space_group_before == 123
