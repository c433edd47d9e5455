import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from mfal.crystals.elements import atomic_number
from mfal.crystals.groups import WYCKOFF_MULTIPLICITY
from mfal.crystals.realisation import realise
from mfal.crystals.structures import (
    crystal_from_structure,
    element_charges,
    shortest_distances,
    space_group_number,
)
from mfal.crystals.templates import arrangement_of, template
from mfal.crystals.types import NUM_ELEMENTS, Crystal
from mfal.errors import MfalError

build = Structure.from_spacegroup
KNOWN = {
    "LiCl": build("Fm-3m", Lattice.cubic(5.14), ["Li", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "Li2O": build("Fm-3m", Lattice.cubic(4.62), ["Li", "O"], [[0.25] * 3, [0, 0, 0]]),
    "Li3N": build(
        "P6/mmm",
        Lattice.hexagonal(3.648, 3.875),
        ["Li", "Li", "N"],
        [[0, 0, 0.5], [1 / 3, 2 / 3, 0], [0, 0, 0]],
    ),
    "LiCoO2": build(
        "R-3m",
        Lattice.hexagonal(2.816, 14.05),
        ["Li", "Co", "O"],
        [[0, 0, 0.5], [0, 0, 0], [0, 0, 0.2605]],
    ),
    "LiNbO3": build(
        "R3c",
        Lattice.hexagonal(5.148, 13.863),
        ["Li", "Nb", "O"],
        [[0, 0, 0.2787], [0, 0, 0], [0.0492, 0.3446, 0.0647]],
    ),
}


def olivine(metal="Fe", lattice=(10.33, 6.01, 4.69)):
    return build(
        "Pnma",
        Lattice.orthorhombic(*lattice),
        ["Li", metal, "P", "O", "O", "O"],
        [
            [0, 0, 0],
            [0.282, 0.25, 0.975],
            [0.095, 0.25, 0.418],
            [0.097, 0.25, 0.743],
            [0.457, 0.25, 0.206],
            [0.166, 0.046, 0.285],
        ],
    )


def triple(composition, number, lattice):
    counts = np.zeros(NUM_ELEMENTS, np.float32)
    for symbol, n in composition.items():
        counts[atomic_number(symbol) - 1] = n
    return Crystal(counts, np.int32(number), np.array(lattice, np.float32))


OLIVINE = triple({"Li": 4, "Fe": 4, "P": 4, "O": 16}, 62, [10.33, 6.01, 4.69, 90, 90, 90])
CHARGES = {"Li": 1, "Fe": 2, "P": 5, "O": -2}


@pytest.mark.parametrize("name", KNOWN)
def test_known_crystals_are_recovered_from_their_triples(name):
    structure = KNOWN[name]
    result = realise(
        crystal_from_structure(structure), element_charges(structure), seed=0, count=3, max_tries=32
    )
    best = result.structures[0].copy().remove_oxidation_states()
    assert StructureMatcher(scale=False).fit(best, structure)


def test_every_structure_keeps_composition_group_cell_and_distances():
    result = realise(OLIVINE, CHARGES, seed=1, count=4, max_tries=32)
    assert len(result.structures) == 4
    for structure, group in zip(result.structures, result.space_groups, strict=True):
        assert structure.composition.get_el_amt_dict() == {"Li": 4, "Fe": 4, "P": 4, "O": 16}
        assert structure.charge == pytest.approx(0)
        assert structure.lattice.parameters == pytest.approx([10.33, 6.01, 4.69, 90, 90, 90])
        assert space_group_number(structure) == group
        # 62 or a group that has as many operations
        assert WYCKOFF_MULTIPLICITY[group - 1].max() >= WYCKOFF_MULTIPLICITY[61].max()
        distances = shortest_distances(structure)
        assert distances["O", "P"] > 1.3
        assert distances["Li", "O"] > 1.6
        assert distances["O", "O"] > 1.9
    assert (np.diff(result.energies / 1 + 2 * result.instabilities**2) >= -1e-6).all()
    assert result.tried == 32
    assert sum(result.rejected.values()) + 4 == 32
    assert len(result.routes) == len(result.energies) == len(result.instabilities) == 4


def test_same_seed_same_structures():
    one = realise(OLIVINE, CHARGES, seed=5, count=2, max_tries=16)
    two = realise(OLIVINE, CHARGES, seed=5, count=2, max_tries=16)
    assert one.structures == two.structures
    assert one.rejected == two.rejected
    other = realise(OLIVINE, CHARGES, seed=6, count=2, max_tries=16)
    assert one.structures != other.structures


def test_input_may_be_jax_arrays():
    import jax.numpy as jnp

    crystal = Crystal(*map(jnp.asarray, OLIVINE))
    assert realise(crystal, CHARGES, seed=5, count=1, max_tries=16).structures


def test_template_is_found_and_said():
    prototype = olivine("Mn", (10.45, 6.10, 4.75))
    result = realise(
        OLIVINE,
        CHARGES,
        seed=0,
        count=2,
        max_tries=8,
        templates=[template(prototype, name="LiMnPO4")],
    )
    assert result.routes[0] == "template: LiMnPO4"
    expected = prototype.copy()
    expected.replace_species({"Mn": "Fe"})
    found = result.structures[0].copy().remove_oxidation_states()
    assert StructureMatcher(stol=0.15).fit(found, expected)


def test_known_wyckoff_positions_are_filled():
    # olivine: Li on 4a, Fe and P on 4c, O on 4c twice and 8d
    sites = [("Li", "a"), ("Fe", "c"), ("P", "c"), ("O", "c"), ("O", "c"), ("O", "d")]
    result = realise(OLIVINE, CHARGES, seed=0, count=1, max_tries=64, sites=sites)
    found = result.structures[0].copy().remove_oxidation_states()
    _, _, symbols, arrangement = arrangement_of(found)
    filled = sorted((symbols[o.species], "abcd"[o.position]) for o in arrangement)
    # 4b is 4a from another origin
    assert [(s, "a" if x == "b" else x) for s, x in filled] == sorted(sites)
    assert StructureMatcher(scale=False).fit(found, olivine())


@pytest.mark.parametrize(
    ("sites", "message"),
    [
        ([("Li", "a")], "hold 0 O, the composition 16"),
        ([("Li", "z")], "position 'z'"),
        ([("Na", "a")], "Na on position"),
        ([("Li", "a"), ("Fe", "a"), ("P", "c"), ("O", "d"), ("O", "d")], "filled twice"),
    ],
)
def test_bad_sites_end_in_a_clear_error(sites, message):
    with pytest.raises(MfalError, match=message):
        realise(OLIVINE, CHARGES, seed=0, sites=sites)


def test_impossible_contents_give_nothing_and_say_why():
    # no position of Fm-3m holds three atoms
    impossible = triple({"Li": 4, "Cl": 3}, 225, [5.1, 5.1, 5.1, 90, 90, 90])
    result = realise(impossible, {"Li": 1, "Cl": -1}, seed=0)
    assert result.structures == []
    assert result.rejected == {"no Wyckoff assignment": 1}
    # a cell so small that no positions are far enough from each other
    crushed = triple({"Li": 4, "Cl": 4}, 225, [2.5, 2.5, 2.5, 90, 90, 90])
    assert realise(crushed, {"Li": 1, "Cl": -1}, seed=0).tried == 0


def test_atoms_too_close_are_rejected_and_counted():
    crowded = triple({"Li": 4, "Cl": 4}, 1, [3.4, 3.5, 3.6, 80, 85, 95])
    result = realise(crowded, {"Li": 1, "Cl": -1}, seed=0, max_tries=4)
    assert result.structures == []
    assert sum(result.rejected.values()) == result.tried == 4
    assert result.rejected["atoms too close"] > 0


@pytest.mark.parametrize(
    ("crystal", "charges", "message"),
    [
        (OLIVINE, {"Li": 1, "Fe": 2, "P": 5}, "no oxidation state for O"),
        (OLIVINE, CHARGES | {"Fe": 0}, "no oxidation state for Fe"),
        (
            triple({"Li": 0.5, "Cl": 0.5}, 225, [5.1] * 3 + [90] * 3),
            {"Li": 1, "Cl": -1},
            "fractions",
        ),
        (triple({}, 225, [5.1] * 3 + [90] * 3), {}, "fractions"),
        (OLIVINE._replace(space_group_number=np.int32(231)), CHARGES, "space group 231"),
        (OLIVINE._replace(lattice=np.array([5, 5, 5, 20, 20, 150.0])), CHARGES, "no cell"),
        (OLIVINE._replace(lattice=np.full(6, np.nan)), CHARGES, "no cell"),
    ],
)
def test_bad_triples_end_in_a_clear_error(crystal, charges, message):
    with pytest.raises(MfalError, match=message):
        realise(crystal, charges, seed=0)


def test_stretched_cells_are_no_compounds() -> None:
    """Rock-salt LiF with edges 15 % too long: every ion is under-bonded."""
    lattice = np.array([4.03, 4.03, 4.03, 90, 90, 90], np.float32)
    composition = np.zeros(103, np.float32)
    composition[[2, 8]] = 4
    found = {}
    for stretch in (1.0, 1.15):
        cell = lattice * np.array([stretch] * 3 + [1] * 3, np.float32)
        crystal = Crystal(composition, np.int32(225), cell)  # type: ignore[arg-type]
        found[stretch] = realise(crystal, {"Li": 1, "F": -1}, seed=0, count=1, max_tries=8)
    assert len(found[1.0].structures) == 1
    assert not found[1.15].structures
    assert found[1.15].rejected["valences out of balance"] > 0
