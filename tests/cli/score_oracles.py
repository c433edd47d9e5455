"""Oracles for tests of `mfal score`: quick, slow, and one that takes its process along."""

import os
import time

import numpy as np

from mfal.oracles.dynamics.displacements import Displacements
from mfal.oracles.dynamics.estimates import simulated_conductivity
from mfal.oracles.dynamics.options import DynamicsOptions
from mfal.oracles.progress import report_progress
from mfal.oracles.stability import CompetingPhase, hull_oracle
from mfal.oracles.types import Observation, Oracle
from tests.potentials.analytic import lennard_jones


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


def simulated():
    """A limit, as from dynamics in which nothing moved, that tells how far it is."""

    def evaluate(structures):
        found = []
        for _ in structures:
            for done in (0, 1, 2):
                report_progress("moving", done, 2)
            options = DynamicsOptions()
            still = np.full((40, 3), 0.1)
            shown = Displacements(np.linspace(0, 5, 40), still, {17: still.sum(1)}, 0, 20, 10.0)
            answer = simulated_conductivity({1000.0: [shown]}, 500.0, options)
            protocol = {**vars(options), "temperatures": [1000.0]}
            record = {**answer.record, "protocol": protocol, "temperature": 1000.0}
            found.append(Observation(answer.log10, answer.error, "ok", 0.0, record))
        return found

    return Oracle("dynamics", "1", 0, 1.0, "log10 S/cm", True, (-4.0, 2.0), evaluate)


def argon_hull():
    """The hull distance of solid argon by Lennard-Jones, against a phase far below."""
    phases = (CompetingPhase("Ar", {"Ar": 1.0}, -1.0, 225, 37.0, "test", "Ar"),)
    return hull_oracle(lennard_jones(0.0104, 3.4, 5.0), phases, version="1-argon")
