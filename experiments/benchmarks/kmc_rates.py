"""Hops per second of kinetic Monte Carlo, and of kmcpy's on the same lattice.

Imported by `oracles.py`.
"""

import contextlib
import tempfile

import numpy as np
from timing import timed

__all__ = ["monte_carlo", "peer_monte_carlo"]


def monte_carlo() -> dict[str, float]:
    """Hops per second on two cores: one vacancy, and a half-filled lattice."""
    from mfal.oracles.hopping.kmc import KmcResult, simulate
    from mfal.oracles.hopping.network import HopNetwork

    network = HopNetwork(
        np.eye(3), np.zeros((1, 3)), np.zeros(1), np.zeros((3, 2), np.int64),
        np.eye(3, dtype=np.int64), np.full(3, 0.3),
    )  # fmt: skip

    def run(ions: int, attempts: int) -> KmcResult:
        return simulate(
            network, 1000.0, ions, (10, 10, 10), replicas=4, blocks=10, attempts_per_ion=attempts
        )

    rates = {}
    for name, ions, attempts in (("one vacancy", 999, 400_000), ("half filled", 500, 4000)):
        run(ions, 10)
        result, wall, cpu = timed(run, ions, attempts)
        rates[name] = result.hops / wall
        print(
            f"KMC, {name}: {result.hops / wall / 1e6:.1f} Mhop/s wall, "
            f"{result.hops / cpu / 1e6:.1f} a CPU s (equilibration not counted as hops)"
        )
    return rates


def peer_monte_carlo(hops: int = 2000) -> dict[str, float]:
    """Hops per second of kmcpy on the same lattice, barriers and fillings; one core, no output."""
    try:
        from kmcpy.event import Event, EventLib
        from kmcpy.models import LocalBarrierModel
        from kmcpy.simulator.config import Configuration
        from kmcpy.simulator.kmc import KMC
        from kmcpy.simulator.state import State
    except ImportError:
        print("KMC: kmcpy is not installed, no comparison (pip install kmcpy)")
        return {}
    from pymatgen.core import Lattice, Structure

    side = 10
    index = np.arange(side**3).reshape(side, side, side)
    events = EventLib()
    for axis in range(3):
        for one, two in zip(index.ravel(), np.roll(index, -1, axis).ravel(), strict=True):
            events.add_event(Event((int(one), int(two)), ()))
    events.generate_event_dependencies()
    places = np.stack(np.unravel_index(index.ravel(), index.shape), axis=-1) / side
    cell = Structure(Lattice.cubic(side), ["Li"] * side**3, places)
    rates = {}
    for name, ions in (("one vacancy", side**3 - 1), ("half filled", side**3 // 2)):
        empty = np.ones(side**3, int)
        empty[np.random.default_rng(0).permutation(side**3)[:ions]] = 0
        settings = Configuration(
            structure_file="none", event_file="none", supercell_shape=(side, side, side),
            temperature=1000.0, attempt_frequency=1e13, equilibration_passes=0,
            kmc_passes=hops // side**3, random_seed=0, mobile_ion_specie="Li", name="benchmark",
        )  # fmt: skip
        state = State(empty.tolist())
        model = LocalBarrierModel.constant_barrier(300.0)
        run = KMC(cell, model, events, settings, state)
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            run.run()  # compiles
            state.step = 0
            _, wall, cpu = timed(run.run)
        rates[name] = state.step / wall
        print(f"kmcpy, {name}: {state.step / wall:.0f} hop/s wall, {state.step / cpu:.0f} a CPU s")
    return rates
