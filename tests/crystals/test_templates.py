import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from mfal.crystals.reading import read_structure
from mfal.crystals.relax import atoms
from mfal.crystals.structures import crystal_from_structure
from mfal.crystals.templates import arrangement_of, matching_arrangements, template
from mfal.errors import MfalError
from tests.shared_data import shared_data


def rebuild(structure):
    number, cell, symbols, arrangement = arrangement_of(structure)
    kinds, coordinates = atoms(number, arrangement)
    return number, Structure(Lattice(cell), [symbols[k] for k in kinds], coordinates)


def known():
    build = Structure.from_spacegroup
    return {
        "spinel": build(  # origin choice 2
            "Fd-3m", Lattice.cubic(8.24), ["Li", "Mn", "O"], [[1 / 8] * 3, [0.5] * 3, [0.2632] * 3]
        ),
        "olivine": build(
            "Pnma",
            Lattice.orthorhombic(10.33, 6.01, 4.69),
            ["Li", "Fe", "P", "O", "O", "O"],
            [
                [0, 0, 0],
                [0.282, 0.25, 0.975],
                [0.095, 0.25, 0.418],
                [0.097, 0.25, 0.743],
                [0.457, 0.25, 0.206],
                [0.166, 0.046, 0.285],
            ],
        ),
        "layered": build(
            "R-3m",
            Lattice.hexagonal(2.816, 14.05),
            ["Li", "Co", "O"],
            [[0, 0, 0.5], [0, 0, 0], [0, 0, 0.2605]],
        ),
        "niobate": build(
            "R3c",
            Lattice.hexagonal(5.148, 13.863),
            ["Li", "Nb", "O"],
            [[0, 0, 0.2787], [0, 0, 0], [0.0492, 0.3446, 0.0647]],
        ),
        "carbonate": build(
            "C2/c",
            Lattice.monoclinic(8.3593, 4.9725, 6.1975, 114.83),
            ["Li", "C", "O", "O"],
            [
                [0.1965, 0.4481, 0.8343],
                [0, 0.0657, 0.25],
                [0, 0.3216, 0.25],
                [0.1459, -0.0662, 0.3127],
            ],
        ),
        "aluminate": build(
            "P4_12_12",
            Lattice.tetragonal(5.169, 6.268),
            ["Li", "Al", "O"],
            [[0.8126, 0.8126, 0], [0.1759, 0.1759, 0], [0.3369, 0.2906, 0.7723]],
        ),
    }


@pytest.mark.parametrize("name", list(known()))
def test_wyckoff_description_gives_the_structure_back(name):
    structure = known()[name].get_primitive_structure()
    structure.translate_sites(range(len(structure)), [0.21, 0.34, 0.47])
    number, back = rebuild(structure)
    assert number == crystal_from_structure(structure).space_group_number
    assert StructureMatcher(ltol=0.01, stol=0.01, angle_tol=0.5, scale=False).fit(structure, back)


@pytest.mark.parametrize(
    "identifier", ["fwz", "9lo", "lkm", "5z0", "rr5", "47i", "4kt", "fft", "xas"]
)
def test_measured_structures_come_back(identifier):
    path = shared_data("obelix", "all_randomized_cifs", f"{identifier}.cif")
    structure = read_structure(path)
    back = rebuild(structure)[1]
    assert len(back) % len(structure) == 0 or len(structure) % len(back) == 0
    matcher = StructureMatcher(ltol=0.01, stol=0.01, angle_tol=0.5, scale=False)
    assert matcher.fit(structure, back)


def test_partly_occupied_templates_are_refused():
    structure = known()["layered"]
    structure.replace_species({"Co": {"Co": 0.5, "Al": 0.5}})
    with pytest.raises(MfalError, match="partly occupied"):
        template(structure)


def test_exchange_of_ions():
    prototypes = [template(known()[name], name=name) for name in ("layered", "olivine", "niobate")]
    assert prototypes[0].counts == (3, 3, 6)
    # LiMnPO4 goes into olivine only, each ion on the place of its like
    target = known()["olivine"]
    target.replace_species({"Fe": "Mn"})
    species = [("Li", 1.0), ("O", -2.0), ("P", 5.0), ("Mn", 2.0)]
    crystal = crystal_from_structure(target)
    found = list(matching_arrangements(crystal, species, prototypes))
    assert {name for name, _ in found} == {"olivine"}
    # the three cations have equal counts: six ways, the likest first
    assert len(found) == 6
    kinds, coordinates = atoms(62, found[0][1])
    built = Structure(target.lattice, [species[k][0] for k in kinds], coordinates)
    assert StructureMatcher(stol=0.05).fit(built, target)


def test_signs_of_charges_and_groups_must_agree():
    prototype = [template(known()["layered"])]
    crystal = crystal_from_structure(known()["layered"])
    assert list(matching_arrangements(crystal, [("Li", 1), ("Co", 3), ("O", -2)], prototype))
    # two anions of three ions cannot go where two cations were
    assert not list(matching_arrangements(crystal, [("Li", 1), ("Co", -1), ("O", -2)], prototype))
    other = crystal._replace(space_group_number=np.int32(160))
    assert not list(matching_arrangements(other, [("Li", 1), ("Co", 3), ("O", -2)], prototype))
