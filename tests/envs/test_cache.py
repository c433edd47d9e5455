"""Tables on disk: found again, rebuilt when damaged, never in the way."""

import numpy as np
import pytest

from mfal.envs.crystal.cache import cached_tables
from mfal.envs.crystal.spec import CrystalSpec

SPEC = CrystalSpec(("Li", "O"), max_atoms=8, max_atoms_per_element=6)
GROUPS = np.ones(230, bool)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MFAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tables"


def written(folder):
    """Names of the files with the moments at which they were made."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_read_back_the_same(folder):
    first = cached_tables(SPEC, GROUPS)
    made = written(folder)
    assert len(made) == 1
    again = cached_tables(SPEC, GROUPS)
    assert written(folder) == made
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


def test_what_matters_is_in_the_key(folder):
    cached_tables(SPEC, GROUPS)
    cached_tables(CrystalSpec(("Li", "O"), max_atoms=8, max_atoms_per_element=5), GROUPS)
    cached_tables(SPEC, np.arange(230) > 3)
    made = written(folder)
    assert len(made) == 3
    # The lattice has no part in the tables.
    cached_tables(
        CrystalSpec(("Li", "O"), max_atoms=8, max_atoms_per_element=6, max_length=20.0), GROUPS
    )
    assert written(folder) == made


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_damaged_files_are_rebuilt(folder, damage):
    right = cached_tables(SPEC, GROUPS)
    (file,) = folder.iterdir()
    content = file.read_bytes()
    # Cut short in the middle, or a flipped byte, which the archive's checksum gives away.
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 0xFF
    file.write_bytes(damage if damage is not None else bytes(flipped))
    damaged = written(folder)
    np.testing.assert_array_equal(cached_tables(SPEC, GROUPS).options, right.options)
    repaired = written(folder)
    assert repaired.keys() == damaged.keys()
    assert repaired != damaged
    cached_tables(SPEC, GROUPS)
    assert written(folder) == repaired


def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MFAL_CACHE", str(tmp_path / "file"))
    assert cached_tables(SPEC, GROUPS).options.any()
