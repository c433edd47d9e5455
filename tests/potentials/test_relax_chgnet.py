"""Relaxation with CHGNet against what ASE finds with the chgnet package."""

import json
from pathlib import Path

import numpy as np
import pytest

from mfal.crystals.operations import find_operations
from mfal.potentials.chgnet import chgnet_potential
from mfal.potentials.relax import RelaxSettings, relax_crystals

ROWS = json.loads((Path(__file__).parent / "chgnet_minima.json").read_text())
TIGHT = RelaxSettings(force=0.01, stress=0.1)


def crystal(row):
    return tuple(np.array(row[name]) for name in ("positions", "cell", "species"))


def compare(rows, relaxed):
    for row, ours in zip(rows, relaxed, strict=True):
        volume = abs(np.linalg.det(ours.cell))
        print(
            f"{row['formula']:14} {1e3 * (ours.energy - row['energy']):7.2f} meV/atom "
            f"{volume / row['volume'] - 1:8.2%} {ours.steps:4} {row['steps']:4} {ours.status}"
        )
    assert {ours.status for ours in relaxed} == {"converged"}
    for row, ours in zip(rows, relaxed, strict=True):
        # Both stop within a tolerance of the minimum, and ours may keep what noise breaks there.
        assert ours.energy == pytest.approx(row["energy"], abs=2e-3), row["formula"]


@pytest.mark.slow
def test_minima_are_those_of_ase():
    assert len(ROWS) == 20
    crystals = [crystal(row) for row in ROWS]
    operations = [find_operations(*each) for each in crystals]
    compare(ROWS, relax_crystals(chgnet_potential(), crystals, operations, TIGHT))


def test_a_small_crystal_finds_the_minimum_of_ase():
    row = min(ROWS, key=lambda row: len(row["species"]))
    compare([row], relax_crystals(chgnet_potential(), [crystal(row)], settings=TIGHT))
