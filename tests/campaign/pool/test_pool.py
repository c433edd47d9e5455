"""Pools: sources read, each material once, fixed for a campaign, searched in pieces."""

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

from mfal.campaign.config import CampaignConfig, SpaceConfig
from mfal.campaign.pool import open_pool, prepare_pool
from mfal.campaign.pool.candidates import best_rows, shortlist
from mfal.campaign.pool.duplicates import Entry, find_duplicates
from mfal.campaign.pool.sources import materials_of, read_source
from mfal.campaign.pool.store import POOL_NAME, pool_facts, write_pool
from mfal.crystals.elements import SYMBOLS
from mfal.crystals.structures import structure_to_cif
from mfal.data import MaterialTable, save_json, to_pandas
from mfal.data.table import Material
from mfal.errors import MfalError, MfalWarning


def rock_salt(edge: float, anion: str, occupancy: float = 1.0) -> Structure:
    return Structure.from_spacegroup(
        225, Lattice.cubic(edge), [{"Li": occupancy}, anion], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )


HALIDES = {"F": 4.03, "Cl": 5.14, "Br": 5.50, "I": 6.01}


def pool_of(folder: Path, *sources: str, given=None, **space):
    config = CampaignConfig(pool=sources or ("given",), space=SpaceConfig(**space))
    facts = prepare_pool(folder, config, given)
    assert facts == pool_facts(folder / POOL_NAME)
    return open_pool(folder)


def bare(identifier: str, n: int, edge: float) -> Material:
    """A row without atoms: Li2O and n - 1 LiCl."""
    contents = {"Li": n + 1, "O": 1} | ({"Cl": n - 1} if n > 1 else {})
    formula = "".join(f"{symbol}{number}" for symbol, number in contents.items())
    return Material(identifier, formula, contents, 221, (edge,) * 3 + (90.0,) * 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files as people have them: two formats, a folder within, a broken one, a stranger."""
    inner = tmp_path / "mine" / "more"
    inner.mkdir(parents=True)
    (inner.parent / "a.cif").write_text(structure_to_cif(rock_salt(4.03, "F")))
    (inner.parent / "half.cif").write_text(structure_to_cif(rock_salt(5.5, "Br", 0.5)))
    rock_salt(5.14, "Cl").to(filename=str(inner / "POSCAR"))
    # The same again, in the primitive cell and a little larger.
    small = rock_salt(5.20, "Cl").get_primitive_structure()
    (inner / "again.cif").write_text(structure_to_cif(small, symprec=None))
    (inner / "broken.cif").write_text("data_x\n_cell_length_a what\n")
    (inner / "notes.txt").write_text("LiCl looks nice")
    return inner.parent


def test_a_folder_of_files(folder: Path, tmp_path: Path) -> None:
    with pytest.warns(MfalWarning, match=r"left out: .*broken.cif"):
        pool = pool_of(tmp_path / "campaign", str(folder))
    assert (len(pool), pool.facts.with_atoms, pool.facts.duplicates) == (3, 3, 1)
    records = {record.pool_name: record for record in map(pool.record, range(3))}
    assert set(records) == {"a.cif", "half.cif", "more/POSCAR"}
    half = records["half.cif"]
    # Disorder, atoms and origin stay.
    assert half.composition == {"Li": 2, "Br": 4}
    assert half.space_group == 225
    atoms = Structure.from_dict(json.loads(half.structure))
    assert not atoms.is_ordered
    assert atoms.properties["material"] == "half.cif"
    assert "half.cif" in half.source
    (kept,) = (record for record in records.values() if record.formula == "LiCl")
    assert kept.source.endswith("also more/again.cif")


def test_tables_of_all_kinds_hold_the_same(tmp_path: Path) -> None:
    structures = [rock_salt(a, x) for x, a in HALIDES.items()]
    for structure, anion in zip(structures, HALIDES, strict=True):
        structure.properties["material"] = f"Li{anion}"
    table = MaterialTable.from_rows(materials_of(structures))
    save_json(table, tmp_path / "table.json")
    to_pandas(table).to_csv(tmp_path / "table.csv", index=False)
    mine = pd.DataFrame({"id": table.ids, "cif": [structure_to_cif(s) for s in structures]})
    mine.to_csv(tmp_path / "mine.csv", index=False)
    for number, source in enumerate(("table.json", "table.csv", "mine.csv")):
        pool = pool_of(tmp_path / str(number), str(tmp_path / source))
        assert pool.facts.with_atoms == 4
        for row, structure in enumerate(structures):
            record = pool.record(row)
            assert record.pool_name == structure.properties["material"]
            assert record.lattice[0] == pytest.approx(structure.lattice.a, abs=1e-4)
            assert len(Structure.from_dict(json.loads(record.structure))) == 8
    frame = pd.DataFrame({"id": table.ids, "structure": structures})
    assert pool_of(tmp_path / "frame", given=frame).record(3).formula == "LiI"
    # All at once: each material is asked once.
    three = [str(tmp_path / name) for name in ("table.json", "table.csv", "mine.csv")]
    assert pool_of(tmp_path / "all", *three).facts.duplicates == 8


def test_rows_without_atoms(tmp_path: Path) -> None:
    rows = [bare("a", 1, 4.0), bare("b", 1, 4.01), bare("c", 1, 4.3), bare("d", 8, 8.0)]
    rows.append(Material("e", "Li2O", {"Li": 2, "O": 1}))
    rows.append(bare("f", 1, 4.0)._replace(composition={"Li": 0.5, "O": 1.0}))
    pool = pool_of(tmp_path, given=MaterialTable.from_rows(rows))
    assert [pool.record(i).pool_name for i in range(len(pool))] == ["a", "c", "d"]
    assert pool.facts.duplicates == 1
    assert sum(pool.facts.left_out.values()) == 2
    assert pool.record(0).structure is None
    assert pool.record(0).oxidation_states == {"Li": 1.0, "O": -2.0}


def test_restrictions_come_before_anything_else(tmp_path: Path) -> None:
    structures = [rock_salt(a, x) for x, a in HALIDES.items()]
    pool = pool_of(tmp_path, given=structures, banned=("F",), max_atoms=8, anions=("F", "Cl", "I"))
    assert [pool.record(i).formula for i in range(len(pool))] == ["LiCl", "LiI"]
    assert pool.facts.left_out == {"by --banned": 1, "by --anions": 1}
    with pytest.raises(MfalError, match=r"holds no candidate .*4 by --elements"):
        pool_of(tmp_path / "none", given=structures, elements=("Li", "O"))
    assert not (tmp_path / "none" / POOL_NAME).exists()


@pytest.mark.parametrize("source", ["nowhere", "mp:Li,wide=3", "optimade:x", "*.nothing"])
def test_what_is_no_source_is_said(source: str) -> None:
    with pytest.raises(MfalError):
        list(read_source(source))


def test_elements_and_groups_beyond_the_generators(tmp_path: Path) -> None:
    """Lanthanides, group 5, partial sites: a pool's crystals need not be in the sampler's space."""
    odd = Structure.from_spacegroup(
        5, Lattice.monoclinic(7, 5, 6, 101), ["Li", "Yb", "Te"],
        [[0.1, 0.2, 0.3], [0.4, 0.1, 0.7], [0.8, 0.6, 0.2]],
    )  # fmt: skip
    pool = pool_of(tmp_path, given=[odd])
    assert pool.record(0).space_group == 5
    np.testing.assert_allclose(pool.crystals(slice(0, 1)).composition.sum(), 12)


def test_polymorphs_are_not_duplicates_and_time_is_bounded() -> None:
    compared = []

    def entry(row: int, structure: Structure) -> Entry:
        def atoms() -> Structure:
            compared.append(row)
            return structure

        volume = structure.volume / len(structure)
        return Entry(row, 225, structure.lattice.parameters, volume, atoms)

    caesium = Structure(Lattice.cubic(3.15), ["Li", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    pair = [entry(0, rock_salt(5.14, "Cl")), entry(1, caesium), entry(2, rock_salt(5.10, "Cl"))]
    assert find_duplicates(pair) == {2: 0}
    # Cells of different volumes are no candidates for a match at all.
    compared.clear()
    many = [entry(i, rock_salt(4 * 1.1**i, "Cl")) for i in range(8)]
    assert find_duplicates(many) == {}
    assert not compared


def test_the_best_of_a_pool_in_pieces(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [bare(f"r{i}", 1 + i % 30, 4.0 + 10 * rng.random()) for i in range(700)]
    pool = pool_of(tmp_path, given=MaterialTable.from_rows(rows))
    crystals = pool.crystals(np.arange(len(pool)))
    sizes = set()

    def judge(some):
        sizes.add(len(some.lattice))
        first = np.asarray(some.lattice[:, 0])
        return np.stack([first, -np.asarray(some.composition[:, SYMBOLS.index("Li")])], 1)

    best = best_rows(pool, judge, 20, chunk=256)
    assert sizes == {256}
    merit = judge(crystals)
    for k, found in enumerate(best):
        order = np.lexsort((np.arange(len(pool)), -merit[:, k]))
        np.testing.assert_array_equal(found, order[:20])

    # A round's shortlist: in turns by both merits, nothing twice, nothing that was asked.
    first = shortlist(pool, judge, 12, lambda hashes: set(), 0)
    assert len(first) == 12
    asked = {(record.hash, fidelity) for record, fidelity in first}

    def among(hashes):
        return {pair for pair in asked if pair[0] in set(hashes)}

    second = shortlist(pool, judge, 12, among, 0)
    assert not asked & {(record.hash, fidelity) for record, fidelity in second}
    formulas = [record.formula for record, _ in first]
    assert max(map(formulas.count, formulas)) <= 8


def test_the_same_sources_make_the_same_pool(tmp_path: Path) -> None:
    structures = [rock_salt(a, x) for x, a in HALIDES.items()]
    first = pool_of(tmp_path / "a", given=structures).facts
    assert pool_of(tmp_path / "b", given=structures).facts == first
    assert pool_of(tmp_path / "c", given=structures[:3]).facts.fingerprint != first.fingerprint
    (tmp_path / "a" / POOL_NAME).write_bytes(b"torn")
    with pytest.raises(MfalError, match="restore it"):
        open_pool(tmp_path / "a")


def test_a_broken_write_leaves_nothing_behind(tmp_path: Path) -> None:
    def stream():
        yield bare("a", 1, 4.0)
        raise MfalError("the server is gone")

    with pytest.raises(MfalError, match="gone"):
        write_pool(tmp_path / POOL_NAME, [("one", stream())], SpaceConfig())
    assert list(tmp_path.iterdir()) == []


def test_no_warning_for_what_is_well(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", MfalWarning)
        pool_of(tmp_path, given=[rock_salt(4.03, "F")])
