"""What is known is recognised, whatever cell it comes in."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from mfal.data import known_crystals, load_embedded, open_table, save_json
from mfal.data.rows import material_from_structure
from mfal.data.table import MaterialTable
from mfal.errors import MfalError


def test_each_kind_of_known_crystal_is_recognised():
    table, known = load_embedded(), known_crystals()
    ordered = [
        i
        for i in range(len(table))
        if (s := table.structure(i)) is not None and s.is_ordered and len(s) <= 12
    ]
    for i in ordered[::6]:
        structure = table.structure(i)
        # Another cell, another scale, atoms shaken by some hundredths of an Å.
        changed = structure.get_primitive_structure()
        changed.apply_strain(0.03)
        changed.perturb(0.02, seed=0)
        name = known.name_of(changed)
        assert name.startswith(f"{structure.composition.element_composition.reduced_formula}, ")


def test_another_structure_of_a_known_formula_is_new_and_so_is_another_formula():
    known = known_crystals()
    caesium_chloride = Structure(Lattice.cubic(2.6), ["Li", "F"], [[0, 0, 0], [0.5] * 3])
    assert known.name_of(caesium_chloride) == ""
    rock_salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.0), ["Li", "F"], [[0, 0, 0], [0.5] * 3]
    )
    assert known.name_of(rock_salt).startswith("LiF, ")
    exchanged = rock_salt.copy()
    exchanged.replace_species({"F": "I"})
    assert known.name_of(exchanged) in ("", *(f"LiI, {i}" for i in load_embedded().ids))


def test_a_row_without_atoms_counts_by_formula():
    """The 41-set tells formulas and ids alone."""
    table = open_table("set41")
    formula = table.formulas[table.index("mp-28567")]
    anything = Structure(
        Lattice.cubic(8.0), ["Li", "Bi", *["F"] * 4], np.linspace(0, 0.9, 18).reshape(6, 3)
    )
    assert anything.composition.reduced_formula == formula
    assert known_crystals().name_of(anything) == f"{formula}, mp-28567"


def test_a_table_of_ones_own_extends_the_list(tmp_path):
    perovskite = Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(3.9), ["Li", "Y", "S"], [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0]]
    )
    assert known_crystals().name_of(perovskite) == ""
    row = material_from_structure("mine-1", perovskite, source="here", licence="mine")
    save_json(MaterialTable.from_rows([row]), tmp_path / "mine.json")
    assert known_crystals([str(tmp_path / "mine.json")]).name_of(perovskite) == "LiYS3, mine-1"


def test_a_table_that_is_not_there_is_named():
    with pytest.raises(MfalError, match="nowhere"):
        known_crystals(["nowhere"])
