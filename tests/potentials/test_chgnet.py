import numpy as np
import pytest

from mfal.data import load_embedded
from mfal.potentials import GPA, chgnet_potential, evaluate_crystals


def test_answers_are_those_of_chgnet_where_it_is_installed():
    model = pytest.importorskip("chgnet.model").CHGNet.load(use_device="cpu", verbose=False)
    ordered = [s for s in load_embedded().structures() if s is not None and s.is_ordered]
    structures = sorted(ordered, key=len)[:3]
    crystals = [(s.cart_coords, s.lattice.matrix, s.atomic_numbers) for s in structures]
    for structure, ours in zip(
        structures, evaluate_crystals(chgnet_potential(), crystals), strict=True
    ):
        theirs = model.predict_structure(structure.copy().remove_oxidation_states())
        assert ours.energy / len(structure) == pytest.approx(float(theirs["e"]), abs=1e-5)
        assert np.allclose(ours.forces, theirs["f"], atol=1e-4)
        assert np.allclose(ours.stress * GPA, theirs["s"], atol=1e-3)
        assert np.allclose(ours.magnetic_moments, theirs["m"], atol=1e-4)
