"""Arrangements relaxed by CHGNet, and the lowest of them."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Species, Structure

from mfal.crystals.structures import space_group_number
from mfal.errors import MfalError
from mfal.oracles.stability.arrangements import SETTINGS, lowest_arrangement

IONS = [Species("Li", 1), Species("I", -1)]


def rock_salt(edge):
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(edge), IONS, [[0, 0, 0], [0.5] * 3])


def caesium_chloride(edge):
    return Structure(Lattice.cubic(edge), IONS, [[0, 0, 0], [0.5] * 3])


@pytest.fixture(scope="module")
def found():
    """Caesium chloride's structure, atoms on top of one another, and rock salt 5 % too long."""
    broken = Structure(Lattice.cubic(4.0), IONS, [[0, 0, 0], [0, 0, 0.001]])
    return lowest_arrangement([caesium_chloride(3.8), broken, rock_salt(6.3)])


def test_the_ground_state_of_the_material_is_found_in_the_cell_that_was_given(found):
    assert found.lowest == 2
    assert found.statuses[0] == found.statuses[2] == "converged"
    assert found.converged
    assert found.survived
    assert space_group_number(found.structure) == 225
    assert [str(site.specie) for site in found.structure] == ["Li+"] * 4 + ["I-"] * 4
    # What the chgnet package relaxes rock salt to (tests/potentials/chgnet_minima.json).
    edge = found.structure.lattice.a
    np.testing.assert_allclose(found.structure.lattice.matrix, edge * np.eye(3), atol=1e-6)
    assert edge == pytest.approx((4 * 54.3268) ** (1 / 3), rel=4e-3)
    assert found.energy == pytest.approx(-3.074226, abs=2e-3)
    assert found.volume_change == pytest.approx((edge / 6.3) ** 3 - 1, rel=1e-6)


def test_the_record_tells_what_became_of_all(found):
    record = found.record()
    assert record["statuses"][1].startswith(("refused", "exploded"))
    assert record["energies_ev_per_atom"][1] is None
    assert record["energy_spread_ev_per_atom"] == pytest.approx(
        found.energies[0] - found.energies[2]
    )
    assert 0.02 < record["energy_spread_ev_per_atom"] < 0.5
    assert record["cell_before"] == pytest.approx([6.3] * 3 + [90.0] * 3)
    assert record["shift_angstrom"] == pytest.approx(0.0, abs=1e-3)
    assert (record["space_group_before"], record["space_group_after"]) == (225, 225)


def test_no_arrangement_that_comes_through_is_an_error():
    with pytest.raises(MfalError, match="no arrangement of atoms came through"):
        lowest_arrangement([Structure(Lattice.cubic(4.0), [{"Li": 0.5}], [[0, 0, 0]])])


def test_what_uses_up_its_steps_counts_with_the_energy_that_it_has_come_to(found):
    early = lowest_arrangement([rock_salt(6.3)], settings=SETTINGS._replace(steps=2))
    assert early.statuses == ("steps used up",)
    assert not early.converged
    assert found.energy < early.energy < found.energy + 0.1
