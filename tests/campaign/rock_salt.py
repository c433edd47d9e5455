"""A candidate without atoms, lithium iodide as rock salt, and a question about it."""

from mfal.campaign.ledger.records import CrystalRecord, crystal_hash
from mfal.campaign.workers.tasks import Task

__all__ = ["LATTICE", "TASK", "triple"]

LATTICE = (6.3, 6.3, 6.3, 90.0, 90.0, 90.0)


def triple(composition):
    return CrystalRecord(
        hash=crystal_hash(composition, 225, LATTICE),
        formula="LiI",
        composition=composition,
        space_group=225,
        lattice=LATTICE,
        oxidation_states={"Li": 1.0, "I": -1.0},
        source="sampled",
    )


TASK = Task(
    triple({"Li": 4, "I": 4}), ("toy_oracles:three",), "volume", structures=2, seed=1, relax=True
)
