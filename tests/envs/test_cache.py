"""Tables on disk: found again, rebuilt when damaged, never in the way."""

import numpy as np
import pytest

from mfal.envs.crystal import cache
from mfal.envs.crystal.spec import CrystalSpec

SPEC = CrystalSpec(("Li", "O"), max_atoms=8, max_atoms_per_element=6)
GROUPS = np.ones(230, bool)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MFAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tables"


def built(monkeypatch):
    """Counts how often tables are made."""
    calls = []
    original = cache.build_tables
    monkeypatch.setattr(cache, "build_tables", lambda *args: calls.append(1) or original(*args))
    return calls


def test_read_back_the_same(folder, monkeypatch):
    calls = built(monkeypatch)
    first = cache.cached_tables(SPEC, GROUPS)
    again = cache.cached_tables(SPEC, GROUPS)
    assert len(calls) == 1
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
    assert len(list(folder.iterdir())) == 1


def test_what_matters_is_in_the_key(folder, monkeypatch):
    calls = built(monkeypatch)
    cache.cached_tables(SPEC, GROUPS)
    cache.cached_tables(CrystalSpec(("Li", "O"), max_atoms=8, max_atoms_per_element=5), GROUPS)
    cache.cached_tables(SPEC, np.arange(230) > 3)
    # The lattice has no part in the tables.
    cache.cached_tables(
        CrystalSpec(("Li", "O"), max_atoms=8, max_atoms_per_element=6, max_length=20.0), GROUPS
    )
    assert len(calls) == 3


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_damaged_files_are_rebuilt(folder, monkeypatch, damage):
    right = cache.cached_tables(SPEC, GROUPS)
    (file,) = folder.iterdir()
    content = file.read_bytes()
    # Cut short in the middle, or a flipped byte, which the archive's checksum gives away.
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 0xFF
    file.write_bytes(damage if damage is not None else bytes(flipped))
    calls = built(monkeypatch)
    found = cache.cached_tables(SPEC, GROUPS)
    assert calls
    np.testing.assert_array_equal(found.options, right.options)
    assert len(calls) == 1
    cache.cached_tables(SPEC, GROUPS)
    assert len(calls) == 1


def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MFAL_CACHE", str(tmp_path / "file"))
    assert cache.cached_tables(SPEC, GROUPS).options.any()
