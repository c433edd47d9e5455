"""Look-ahead tables on disk, by a hash of what they depend on."""

import hashlib
import os
import tempfile
import zipfile
import zlib
from dataclasses import fields
from functools import lru_cache
from pathlib import Path

import numpy as np

from mfal.cache import cache_folder
from mfal.crystals.groups import WYCKOFF_FREEDOM, WYCKOFF_MULTIPLICITY
from mfal.envs.crystal import automata
from mfal.envs.crystal import spec as language
from mfal.envs.crystal import tables as builder
from mfal.envs.crystal.spec import CrystalSpec
from mfal.envs.crystal.tables import CompositionTables, build_tables

__all__ = ["cached_tables"]

# Fields of the spec that the tables don't depend on, beyond what `group_allowed` tells.
_IRRELEVANT = {
    "groups",
    "wyckoff",
    "min_length",
    "max_length",
    "max_aspect",
    "min_angle",
    "max_angle",
    "min_cell_factor",
    "packing",
    "volume_per_atom",
}


def cached_tables(spec: CrystalSpec, group_allowed: np.ndarray) -> CompositionTables:
    """`build_tables`, or what an earlier call of it left on disk.

    A damaged file is built anew; a folder that can't be written costs only the time to build.
    """
    path = cache_folder() / "tables" / f"{_digest(spec, group_allowed)}.npz"
    try:
        with np.load(path) as stored:
            return CompositionTables(**{name: stored[name] for name in CompositionTables._fields})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        tables = build_tables(spec, group_allowed)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written aside and renamed: another process never reads half a file.
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            np.savez(file, **tables._asdict())
        os.replace(file.name, path)
    except OSError:
        pass
    return tables


@lru_cache(maxsize=1)
def _code() -> bytes:
    """What the tables depend on besides the spec: the programs that make them, and symmetry."""
    sources = [Path(str(module.__file__)).read_bytes() for module in (automata, builder, language)]
    return b"".join([*sources, WYCKOFF_MULTIPLICITY.tobytes(), WYCKOFF_FREEDOM.tobytes()])


def _digest(spec: CrystalSpec, group_allowed: np.ndarray) -> str:
    relevant = {f.name: getattr(spec, f.name) for f in fields(spec) if f.name not in _IRRELEVANT}
    text = repr(sorted(relevant.items())).encode()
    return hashlib.sha256(_code() + text + group_allowed.tobytes()).hexdigest()[:32]
