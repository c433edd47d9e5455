"""Oracles for tests of `mfal score`: quick, slow, and one that takes its process along."""

import os
import time

from mfal.oracles.types import Observation, Oracle


def _oracle(answer, name="atoms"):
    def evaluate(structures):
        return [Observation(answer(one), None, "ok", 0.0, {"warnings": []}) for one in structures]

    return Oracle(name, "1", 0, 1.0, "atoms", True, (0.0, 1e4), evaluate)


def atoms():
    """The number of atoms."""
    return _oracle(lambda structure: float(structure.composition.num_atoms))


def slow():
    """The same, in a third of a second."""

    def answer(structure):
        time.sleep(0.3)
        return float(structure.composition.num_atoms)

    return _oracle(answer)


def deadly():
    """The same, but bromides kill the process."""

    def answer(structure):
        if "Br" in structure.composition:
            os._exit(1)
        return float(structure.composition.num_atoms)

    return _oracle(answer)
