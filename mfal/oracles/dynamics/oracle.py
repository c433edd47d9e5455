"""Molecular dynamics as an oracle."""

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfal.errors import MfalError
from mfal.oracles.answering import answer_each
from mfal.oracles.bond_valence.maps import Estimate
from mfal.oracles.dynamics.options import DynamicsOptions
from mfal.oracles.types import Beforehand, Oracle

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from pymatgen.core import Structure

    from mfal.oracles.dynamics.cells import SimulatedCells
    from mfal.oracles.dynamics.displacements import Displacements
    from mfal.oracles.dynamics.running import CellRun
    from mfal.potentials.types import Potential

__all__ = ["dynamics", "dynamics_kept_in", "dynamics_oracle", "simulate_together"]

DYNAMICS_COST = 300.0
"""CPU seconds of one evaluation: what a cell of some forty atoms takes at the default length."""

DEFAULT = DynamicsOptions()
UNKNOWN = "unknown"
"""Version of a potential of which nothing can be kept, as it might be another the next time."""


def dynamics() -> Oracle:
    """`dynamics_oracle` by default, for the command line: `--oracles mfal.oracles:dynamics`."""
    return dynamics_oracle()


def dynamics_oracle(
    options: DynamicsOptions = DEFAULT,
    potential: "Potential | Calculator | None" = None,
    *,
    fidelity: int = 5,
    cost: float = DYNAMICS_COST,
) -> Oracle:
    """log10 of the conductivity in S/cm by molecular dynamics of all atoms.

    The crystal is relaxed, repeated until it is wide enough, brought to temperature by a Langevin
    thermostat, and simulated; the diffusion coefficient of the mobile ions comes from their mean
    square displacement (`mfal.oracles.dynamics.displacements`), the conductivity from it by Nernst
    and Einstein with Haven's ratio one. With one temperature the answer is the conductivity there,
    which ranks crystals; with three or more it is that at 300 K by Arrhenius' law. Partly occupied
    crystals are simulated as several ordered cells, whose displacements are taken together.

    Where fewer than ten hops were seen, or the framework flows, the answer is an upper limit: the
    value is the limit, `censoring` in the record is "below", `state` says why. Learners take it as
    the limit that it is.

    What was simulated is kept in the cache folder (`mfal.cache`) step by step: a run that was
    killed goes on where it was, with the same bits, and a question asked again costs its analysis.

    Args:
      options: the protocol.
      potential: an interatomic potential (`mfal.potentials`) or any ASE calculator; CHGNet's
        embedded weights by default. Runs by a calculator are not kept, as nothing tells one from
        another; `from_calculator` with a version makes a potential whose runs are.
      fidelity: rank among a campaign's oracles.
      cost: CPU seconds of one question.
    """
    used = _potential(potential)

    def answer(structure: "Structure") -> Estimate:
        if used.version != UNKNOWN:
            folder = dynamics_kept_in(structure, used, options)
            estimate = _simulated(structure, used, options, folder)
            estimate.provenance["kept"] = folder.name
            return estimate
        with tempfile.TemporaryDirectory() as passing:
            return _simulated(structure, used, options, Path(passing))

    name = "dynamics"
    version = f"4-{used.name}-{used.version}-{options.tag()}"
    return Oracle(
        name=name,
        version=version,
        fidelity=fidelity,
        cost=cost,
        unit="log10 S/cm",
        higher_is_better=True,
        bounds=(-20.0, 2.0) if options.several else (-4.0, 2.0),
        evaluate=answer_each(answer, name, version),
        beforehand=(
            None if used.version == UNKNOWN else Beforehand(simulate_together, (used, options))
        ),
    )


def dynamics_kept_in(
    structure: "Structure", potential: "Potential", options: DynamicsOptions
) -> Path:
    """The folder of what an oracle with these options keeps of a structure; it need not exist."""
    from mfal.oracles.dynamics.store import dynamics_folder

    return dynamics_folder(_key(structure, potential, options))


def _potential(given: "Potential | Calculator | None") -> "Potential":
    from mfal.potentials import Potential, chgnet_potential, from_calculator

    if given is None:
        return chgnet_potential()
    return given if isinstance(given, Potential) else from_calculator(given)


def _key(structure: "Structure", potential: "Potential", options: DynamicsOptions) -> list[Any]:
    """What the cells and runs of one crystal depend on: all but temperatures and lengths."""
    sites = [
        [
            sorted([specie.symbol, round(amount, 4)] for specie, amount in site.species.items()),
            [round(float(x), 6) for x in site.frac_coords],
        ]
        for site in structure
    ]
    matrix = [[round(float(x), 6) for x in row] for row in structure.lattice.matrix]
    fixed = {
        name: value
        for name, value in vars(options).items()
        if name not in ("temperatures", "target", "length", "ion_time")
    }
    return [2, potential.name, potential.version, matrix, sites, fixed]


def simulate_together(
    asked: "Sequence[tuple[Structure, tuple[Potential, DynamicsOptions]]]",
) -> list[float]:
    """Simulates what oracles will be asked about, in batches (`simulate_cells`), and keeps it.

    Args:
      asked: structures, each with the potential and the options of its oracle.

    Returns:
      Steps times atoms that were computed for each, of a failed one perhaps too few.
    """
    from mfal.oracles.dynamics.running import CellRun, simulate_cells
    from mfal.oracles.dynamics.store import locked, steps_done

    def steps(runs: "list[CellRun]") -> int:
        return sum(steps_done(run.folder) * len(run.crystal[2]) for run in runs)

    of_folder: dict[Path, int] = {}
    for number, (structure, (potential, options)) in enumerate(asked):
        with contextlib.suppress(MfalError):  # no place to keep it, which the answer will say
            of_folder.setdefault(dynamics_kept_in(structure, potential, options), number)
    planned: dict[int, list[CellRun]] = {}
    with contextlib.ExitStack() as stack:
        for folder, number in sorted(of_folder.items()):  # in one order, lest two wait in a ring
            structure, (potential, options) = asked[number]
            with contextlib.suppress(Exception):  # the oracle's own answer says what failed
                stack.enter_context(locked(folder))
                planned[number] = _planned(structure, potential, options, folder)[1]
        before = {number: steps(runs) for number, runs in planned.items()}
        potentials: dict[str, Potential] = {}
        together: dict[str, list[CellRun]] = {}
        for number, runs in planned.items():
            potential = asked[number][1][0]
            name = f"{potential.name} {potential.version}"
            potentials[name] = potential
            together.setdefault(name, []).extend(runs)
        for name, runs in together.items():
            simulate_cells(potentials[name], runs)
        work = {number: steps(runs) - before[number] for number, runs in planned.items()}
    return [float(work.get(number, 0)) for number in range(len(asked))]


def _planned(
    structure: "Structure", potential: "Potential", options: DynamicsOptions, folder: Path
) -> "tuple[SimulatedCells, list[CellRun]]":
    """The cells of a structure, found anew where the folder has none, and their runs."""
    from mfal.oracles.dynamics.cells import SimulatedCells, simulated_cells
    from mfal.oracles.dynamics.running import CellRun
    from mfal.oracles.dynamics.store import read_json, run_folder, write_json
    from mfal.oracles.progress import report_progress

    start = read_json(folder / "start.json")
    if start is None:
        report_progress(f"{structure.composition.reduced_formula}: relaxing", 0, 1)
        start = simulated_cells(structure, potential, options).to_json()
        write_json(folder / "start.json", start)
    made = SimulatedCells.from_json(start)
    runs = [
        CellRun(cell, kelvin, options, run_folder(folder, k, kelvin))
        for kelvin in sorted(set(options.temperatures))
        for k, cell in enumerate(made.cells)
    ]
    return made, runs


def _simulated(
    structure: "Structure", potential: "Potential", options: DynamicsOptions, folder: Path
) -> Estimate:
    import numpy as np

    from mfal.oracles.dynamics.estimates import simulated_conductivity
    from mfal.oracles.dynamics.running import run_plan, simulate_cell
    from mfal.oracles.dynamics.store import locked
    from mfal.oracles.progress import report_progress

    name = structure.composition.reduced_formula
    shown: dict[float, list[Displacements]] = {}
    with locked(folder):
        made, runs = _planned(structure, potential, options, folder)
        notes = []
        for number, one in enumerate(runs):
            kelvin, species = one.temperature, one.crystal[2]
            plan = run_plan(species, options)

            def report(done: int, total: int, hops: int, run: Any = (number, kelvin, plan)) -> None:
                at, kelvin, plan = run
                stage = "warming up to" if done < plan.equilibration else "moving at"
                took, whole = (1e-3 * plan.timestep * n for n in (done, total))
                note = f"{took:.1f} of {whole:.1f} ps, {hops} hop{'' if hops == 1 else 's'}"
                if len(runs) > 1:
                    note += f", run {at + 1} of {len(runs)}"
                what = f"{name}: {stage} {kelvin:g} K"
                report_progress(what, at * total + done, len(runs) * total, note)

            run = simulate_cell(potential, one, report)
            mean = float(run.temperature.mean())
            if abs(mean / kelvin - 1) > 0.05:
                notes.append(f"the run at {kelvin:g} K was at {mean:.0f} K in the mean")
            shown.setdefault(kelvin, []).append(_displacements(run, species, options))
    volume = float(np.mean([abs(np.linalg.det(cell)) for _, cell, _ in made.cells]))
    found = simulated_conductivity(shown, volume, options)
    provenance = {
        "method": "molecular dynamics, Nernst-Einstein",
        "potential": f"{potential.name} {potential.version}",
        "temperature": options.target if options.several else options.temperatures[0],
        "protocol": {**vars(options), "temperatures": list(options.temperatures)},
        **made.record,
        **found.record,
        "warnings": [*made.record["warnings"], *notes, *found.record["warnings"]],
    }
    return Estimate(found.log10, found.error, provenance)


def _displacements(run: Any, species: Any, options: DynamicsOptions) -> "Displacements":
    from mfal.crystals.elements import ATOMIC_MASS, atomic_number
    from mfal.oracles.dynamics.displacements import measure_displacements

    masses = ATOMIC_MASS[species - 1]
    mobile = atomic_number(options.mobile)
    return measure_displacements(run.positions, species, masses, mobile, run.interval)
