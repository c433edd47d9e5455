"""Nequix behind the value of a potential, with weights drawn at random."""

import jax
import numpy as np
import pytest

from mfal.errors import MfalError
from mfal.potentials.evaluation import evaluate_crystals

CONFIG = {
    "atomic_numbers": [3, 8, 9],
    "hidden_irreps": "4x0e + 4x1o",
    "lmax": 1,
    "cutoff": 5.0,
    "n_layers": 2,
    "radial_basis_size": 4,
    "radial_mlp_size": 8,
    "radial_mlp_layers": 2,
    "radial_polynomial_p": 6.0,
    "mlp_init_scale": 4.0,
    "index_weights": True,
    "layer_norm": True,
    "shift": 0.1,
    "scale": 1.3,
    "avg_n_neighbors": 20.0,
}


def test_a_missing_package_or_file_is_named(tmp_path):
    from mfal.potentials.nequix import nequix_potential

    with pytest.raises(MfalError, match=r"[Nn]equix"):
        nequix_potential(tmp_path / "none.nqx")


def test_energies_forces_and_stress_are_those_of_nequix(tmp_path):
    model_module = pytest.importorskip("nequix.model", reason="nequix isn't installed")
    import jraph
    from ase.build import bulk
    from ase.neighborlist import neighbor_list

    from mfal.potentials.nequix import nequix_potential

    options = {k: v for k, v in CONFIG.items() if k != "atomic_numbers"}
    model = model_module.Nequix(jax.random.key(0), n_species=3, **options)
    model_module.save_model(str(tmp_path / "random.nqx"), model, CONFIG)
    potential = nequix_potential(tmp_path / "random.nqx")
    atoms = bulk("LiF", "rocksalt", 4.0)
    atoms.rattle(0.1, seed=1)
    i, j, shifts = neighbor_list("ijS", atoms, 5.0)
    graph = jraph.GraphsTuple(
        n_node=np.array([len(atoms)]),
        n_edge=np.array([len(i)]),
        nodes={"species": np.array([0, 2]), "positions": atoms.positions.astype(np.float32)},
        edges={"shifts": shifts.astype(np.float32)},
        globals={"cell": np.array(atoms.cell, np.float32)[None]},
        senders=j,
        receivers=i,
    )
    # The last graph of a batch counts as padding.
    padded = jraph.pad_with_graphs(graph, len(atoms) + 1, len(i) + 1, 2)
    energy, forces, stress = model(padded)
    (found,) = evaluate_crystals(
        potential, [(np.array(atoms.positions), np.array(atoms.cell), np.array(atoms.numbers))]
    )
    assert found.energy == pytest.approx(float(energy[0]), abs=1e-4)
    np.testing.assert_allclose(found.forces, forces[:2], atol=1e-4)
    np.testing.assert_allclose(found.stress, stress[0], atol=1e-5)
    with pytest.raises(MfalError, match="no element of number \\[11\\]"):
        potential.neighbours(np.zeros((1, 3)), np.eye(3) * 4, np.array([11]))
