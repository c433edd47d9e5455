"""`mfal relax`: files in, relaxed CIFs and a table out."""

import json
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from mfal.cli import main

MINIMA = Path(__file__).parents[1] / "potentials" / "chgnet_minima.json"


def recorded() -> dict:
    """What ASE and chgnet made of Li4NCl (experiments/tables/chgnet_minima.py)."""
    return next(row for row in json.loads(MINIMA.read_text()) if row["formula"] == "Li4NCl")


@pytest.fixture(scope="module")
def stretched(tmp_path_factory):
    row = recorded()
    path = tmp_path_factory.mktemp("cifs") / "Li4NCl.cif"
    cell = np.array(row["cell"])
    fractions = np.array(row["positions"]) @ np.linalg.inv(cell)
    Structure(Lattice(1.03 * cell), row["species"], fractions).to(str(path))
    return path


def test_relaxed_files_and_what_became_of_them(stretched, tmp_path, capsys):
    broken = tmp_path / "broken.cif"
    broken.write_text("nothing")
    out = tmp_path / "relaxed"
    files = [str(broken), str(stretched.parent)]  # a folder stands for its files
    assert main(["relax", *files, "--out", str(out), "--json"]) == 1
    failed, good = json.loads(capsys.readouterr().out)
    assert "broken.cif" in failed["error"]
    assert good["status"] == "converged"
    assert good["space_group_before"] == good["space_group_after"] == 166
    assert good["energy_ev_per_atom"] == pytest.approx(recorded()["energy"], abs=2e-3)
    relaxed = Structure.from_file(good["cif"]).get_primitive_structure()
    assert relaxed.volume == pytest.approx(recorded()["volume"], rel=0.02)
    before = Structure.from_file(stretched).get_primitive_structure()
    change = 100 * (relaxed.volume / before.volume - 1)
    assert good["volume_change_percent"] == pytest.approx(change, abs=0.1)

    # In words, of the same file: another would be compiled for anew.
    assert main(["relax", str(stretched), "--out", str(tmp_path / "again")]) == 0
    text = capsys.readouterr().out
    assert "Li4NCl" in text
    assert "converged" in text
    assert (tmp_path / "again" / "Li4NCl.cif").exists()
