"""What `mfal score` asks: one value for one crystal, other ions, and what is said of them."""

import warnings

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from mfal.cli.score_print import Printer
from mfal.crystals.checks import add_notes, notes_of
from mfal.crystals.structures import standard_setting
from mfal.data import load_embedded
from mfal.errors import MfalError, MfalWarning
from mfal.oracles.ladder import MapOptions, bvse_oracle
from mfal.oracles.scoring import score_structure, scoring_oracles
from mfal.oracles.types import Observation, Oracle
from tests.crystals.structure_files import rock_salt

# Of all crystal systems, ordered and not, some with an origin that symmetry leaves free.
TEN = (
    "kamaya2011",  # Li10GeP2S12, P4_2/nmc
    "mp-dielectric-3225",  # Li2PO2N, Cmc2_1
    "mp-dielectric-3263",  # Li3PO4, Pmn2_1
    "mp-dielectric-1708",  # Li4SiO4, P1
    "mp-dielectric-3047",  # Li7SbO6, R3
    "mp-dielectric-4046",  # LiTaO3, R3c
    "computed-Li7P3S11",  # P-1
    "mp-dielectric-1771",  # LiAsS2, Cc
    "mp-dielectric-2910",  # LiI, P6_3mc
    "LiCl",  # Fm-3m
)


def variants(structure):
    """The same crystal in other cells, with another origin, its atoms in another order."""
    rng = np.random.default_rng(0)
    skewed, moved = structure.copy(), structure.copy()
    skewed.make_supercell([[1, 0, 0], [1, 1, 0], [0, -1, 1]])
    moved.translate_sites(range(len(moved)), rng.random(3))
    turned = Structure.from_sites([structure[k] for k in rng.permutation(len(structure))])
    turned = Structure(
        Lattice(turned.lattice.matrix[[2, 0, 1]]),
        [site.species for site in turned],
        turned.frac_coords[:, [2, 0, 1]],
    )
    return [structure, structure.get_primitive_structure(), skewed, moved, turned]


@pytest.mark.parametrize("name", TEN)
def test_a_crystal_has_one_barrier_in_any_cell_origin_and_setting(name):
    table = load_embedded()
    structure = rock_salt() if name == "LiCl" else table.structure(table.index(name))
    _, barrier, _ = scoring_oracles()
    found = [
        score_structure(variant, (barrier,))["oracles"][0]["value"]
        for variant in variants(structure)
    ]
    assert max(found) - min(found) < 0.02


def test_standard_settings_keep_charges_and_notes():
    structure = rock_salt().get_primitive_structure()
    structure.add_oxidation_state_by_element({"Li": 1, "Cl": -1})
    add_notes(structure, ["a note"])
    standard = standard_setting(structure)
    assert len(standard) == 8
    assert {str(s) for s in standard.composition} == {"Li+", "Cl-"}
    assert notes_of(standard) == ("a note",)


def test_spreads_over_grid_and_decorations():
    """An ordered crystal has that of the grid, a mixed framework that of its occupations too."""
    oracles = scoring_oracles(decorations=2)
    (barrier,) = score_structure(rock_salt(), oracles[1:2])["oracles"]
    assert 0.0 <= barrier["uncertainty"] < 0.05
    assert "decorations" not in barrier
    mixed = rock_salt()
    mixed.replace_species({"Cl": {"Cl": 0.5, "Br": 0.5}})
    (answer,) = score_structure(mixed, oracles[1:2])["oracles"]
    assert len(answer["decorations"]) == 2
    (answer,) = score_structure(mixed, scoring_oracles(decorations=0)[1:2])["oracles"]
    assert "decorations" not in answer


# --- other ions -----------------------------------------------------------------------------------


def cubic(group, a, species, places):
    return Structure.from_spacegroup(group, Lattice.cubic(a), species, places)


SODIUM = {
    "Na3SbS4": cubic("I-43m", 7.16, ["Na+", "Sb5+", "S2-"], [[0, 0.5, 0.5], [0] * 3, [0.186] * 3]),
    "Na3PS4": cubic("I-43m", 6.9965, ["Na+", "P5+", "S2-"], [[0, 0.5, 0.5], [0] * 3, [0.167] * 3]),
    "Na3OBr": cubic("Pm-3m", 4.567, ["Na+", "O2-", "Br-"], [[0.5, 0, 0], [0] * 3, [0.5] * 3]),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "Na3OBr")) for name in SODIUM]
)
def test_sodium_barriers_agree_with_bvlain(name):
    """Their grid and their bisection are their own: a few hundredths of an eV between them."""
    bvlain = pytest.importorskip("bvlain")
    structure = SODIUM[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = bvlain.Lain(verbose=False)
        peer.read_structure(structure.copy(), oxi_check=False)
        peer.bvse_distribution(mobile_ion="Na1+", r_cut=10.0, resolution=0.15, k=50)
        theirs = peer.percolation_barriers(encut=10.0)
    (ours,) = bvse_oracle(MapOptions(resolution=0.15, mobile="Na")).evaluate([structure])
    expected = [theirs[f"E_{dimension}D"] for dimension in (1, 2, 3)]
    np.testing.assert_allclose(ours.provenance["barriers"], expected, atol=0.03)


@pytest.mark.parametrize(
    ("ion", "asked", "said"),
    [
        ("Na", ["bvse", "conductivity"], "Sendek's regression was made for lithium"),
        ("Ag", ["bvse", "conductivity"], "Sendek's regression was made for lithium"),
        ("Mg", ["bvse"], "the conductivity for ions of one charge"),
    ],
)
def test_what_cannot_be_asked_of_an_ion_is_said(ion, asked, said):
    with pytest.warns(MfalWarning, match=said):
        oracles = scoring_oracles(ion)
    assert [oracle.name for oracle in oracles] == asked
    assert all(ion in oracle.version for oracle in oracles)


def test_other_ions_are_scored():
    with pytest.warns(MfalWarning):
        oracles = scoring_oracles("Mg")
    # MgF2 in the rutile structure: a = 4.621, c = 3.052 Å
    rutile = Structure.from_spacegroup(
        "P4_2/mnm", Lattice.tetragonal(4.621, 3.052), ["Mg", "F"], [[0, 0, 0], [0.303, 0.303, 0]]
    )
    (answer,) = score_structure(rutile, oracles)["oracles"]
    assert answer["status"] == "ok"
    assert 0.0 < answer["barriers"]["1-D"] < 5.0
    (missing,) = score_structure(rock_salt(), oracles)["oracles"]
    assert "no Mg in LiCl" in missing["status"]


@pytest.mark.parametrize("ion", ["Xx", "O", ""])
def test_what_is_no_ion_is_refused(ion):
    with pytest.raises(MfalError, match="give one of Ag"):
        scoring_oracles(ion)


def test_what_simulations_bound_is_printed_as_a_limit(capsys):
    # As dynamics answer: a change of volume on relaxing, but nothing of shifts and space groups.
    found = {
        "temperature": 1000.0,
        "censoring": "below",
        "volume_change": 0.02,
        "warnings": ["no hop in 5 ps"],
    }

    def evaluate(structures):
        return [Observation(-3.0, None, "ok", 0.0, found) for _ in structures]

    oracle = Oracle("dynamics", "1", 5, 1.0, "log10 S/cm", True, (-4.0, 2.0), evaluate)
    result = {"file": "LiF.cif"} | score_structure(rock_salt(), (oracle,))
    with Printer(as_json=False, files=1) as printer:
        printer.show([result])
    said = " ".join(capsys.readouterr().out.split())
    assert "< -3" in said
    assert "below 1.0e-03 S/cm at 1000 K" in said
    assert "no hop in 5 ps" in said
