"""What a candidate counts as."""

import pytest
from pymatgen.core import Lattice, Structure

from mfal.campaign.ledger.crystals import plain_structure
from mfal.campaign.standing import repeated, standing_of


@pytest.mark.parametrize(
    ("detail", "limit", "standing"),
    [
        ({}, 0.1, "new"),
        ({"relaxation": {"hull_distance_ev_per_atom": None}}, 0.1, "new"),
        ({"relaxation": {"hull_distance_ev_per_atom": 0.1}}, 0.1, "new"),
        ({"relaxation": {"hull_distance_ev_per_atom": 0.11}}, 0.1, "unstable"),
        ({"relaxation": {"hull_distance_ev_per_atom": 0.11}}, None, "new"),
        ({"relaxation": {"hull_distance_ev_per_atom": 0.2}, "known_as": "LiF, x"}, 0.1, "known"),
        ({"pool": "pool:a"}, 0.1, "pool"),
        ({"pool": "pool:a", "relaxation": {"hull_distance_ev_per_atom": 0.2}}, 0.1, "unstable"),
        ({"pool": "pool:a", "known_as": "LiF, x"}, 0.1, "known"),
    ],
)
def test_known_goes_before_unstable(detail, limit, standing):
    assert standing_of([{}, detail], limit) == standing


def test_a_crystal_counts_once_in_whatever_cell_it_comes():
    caesium_chloride = Structure(Lattice.cubic(3.0), ["Li+", "F-"], [[0, 0, 0], [0.5] * 3])
    rock_salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.0), ["Li+", "F-"], [[0, 0, 0], [0.5] * 3]
    )
    larger = caesium_chloride * (1, 1, 2)
    larger.apply_strain(0.02)
    rows = [("a", caesium_chloride), ("b", rock_salt), ("c", larger), ("d", rock_salt)]
    crystals = [(name, "LiF", plain_structure(structure)) for name, structure in rows]
    assert repeated([*crystals, ("e", "LiF", None)]) == {"c": "a", "d": "b"}
