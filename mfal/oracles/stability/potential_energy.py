"""Energies from an interatomic potential through ASE: formation energies, and tables for windows.

Any ASE calculator will do. Energies of one calculator compare with each other only, so competing
phases and elements must be computed with the same one: `energies_from_calculator` builds such a
table from structures, `entry_from_calculator` the candidate's entry beside it.

`load_calculator("chgnet")` loads CHGNet (Deng et al., Nat. Mach. Intell. 5, 1031 (2023),
doi:10.1038/s42256-023-00716-3), whose weights come with its package, trained on the Materials
Project's corrected energies. It needs the extra `mlip`.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pymatgen.core import Composition, Structure
from pymatgen.entries.computed_entries import ComputedEntry
from pymatgen.io.ase import AseAtomsAdaptor

from mfal.errors import MfalError
from mfal.oracles.stability.energies import Energies
from mfal.oracles.types import Observation, Oracle

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

__all__ = [
    "RelaxationConfig",
    "Relaxed",
    "energies_from_calculator",
    "entry_from_calculator",
    "formation_energy_oracle",
    "load_calculator",
    "reference_energies",
    "relax_with",
]

SHORTEST = 0.5
"""Å; nearer atoms mean a broken structure, or a relaxation that has collapsed."""


class RelaxationConfig(NamedTuple):
    """How structures are relaxed before their energy is taken."""

    max_steps: int = 200
    """Steps of the optimiser; 0 takes the energy as the structure stands."""
    force: float = 0.05
    """eV/Å, largest force at which it stops."""
    cell: bool = True
    """Whether the cell relaxes with the atoms."""


DEFAULT = RelaxationConfig()


class Relaxed(NamedTuple):
    """A structure at rest."""

    structure: Structure
    energy: float
    """Total energy, eV."""
    force: float
    """Largest force left on an atom, eV/Å."""
    steps: int
    converged: bool


def load_calculator(name: str) -> "Calculator":
    """An ASE calculator by name: "chgnet", or "emt" and "lj", which are ASE's own toys.

    Raises:
      MfalError: an unknown name, or a package that isn't installed.
    """
    loaders: dict[str, Callable[[], Any]] = {"chgnet": _chgnet, "emt": _emt, "lj": _lennard_jones}
    if name not in loaders:
        raise MfalError(f"{name}: no such calculator", f"use one of {', '.join(loaders)}")
    try:
        return loaders[name]()
    except ImportError as error:
        raise MfalError(
            f"the calculator {name} isn't installed ({error.name})", "pip install 'mfal[mlip]'"
        ) from error


def relax_with(
    structure: Structure,
    calculator: "Calculator",
    config: RelaxationConfig = DEFAULT,
) -> Relaxed:
    """Relax an ordered structure, or take its energy as it stands.

    Raises:
      MfalError: partial occupancies, atoms that collapse, an energy that isn't finite, or an
        element that the calculator doesn't know.
    """
    formula = structure.composition.reduced_formula
    if not structure.is_ordered:
        raise MfalError(f"{formula}: partial occupancies", "order the cell first")
    atoms = AseAtomsAdaptor.get_atoms(structure.copy().remove_oxidation_states())
    atoms.calc = calculator
    steps = 0
    try:
        if config.max_steps:
            steps = _optimise(atoms, config)
        energy = float(atoms.get_potential_energy())
        force = float(abs(atoms.get_forces()).max())
    except MfalError:
        raise
    except Exception as error:  # calculators raise whatever they stumble over
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise MfalError(
            f"{formula}: {type(calculator).__name__} failed ({reason})",
            "check its elements, or use another calculator",
        ) from error
    relaxed = AseAtomsAdaptor.get_structure(atoms)
    if not math.isfinite(energy) or relaxed.get_neighbor_list(SHORTEST)[0].size:
        raise MfalError(
            f"{formula}: collapsed under {type(calculator).__name__}", "check the structure"
        )
    return Relaxed(relaxed, energy, force, steps, force <= config.force or not config.max_steps)


def entry_from_calculator(
    structure: Structure,
    calculator: "Calculator",
    config: RelaxationConfig = DEFAULT,
) -> ComputedEntry:
    """The energy of a structure as an entry for `mfal.oracles.stability.window`.

    Raises:
      MfalError: as in `relax_with`, or a relaxation that didn't converge.
    """
    relaxed = relax_with(structure, calculator, config)
    if not relaxed.converged:
        raise MfalError(
            f"{structure.composition.reduced_formula}: forces of {relaxed.force:.2f} eV/Å are left "
            f"after {relaxed.steps} steps",
            "allow more steps, or start from a better structure",
        )
    return ComputedEntry(
        relaxed.structure.composition, relaxed.energy, entry_id=type(calculator).__name__
    )


def energies_from_calculator(
    structures: Sequence[Structure],
    calculator: "Calculator",
    config: RelaxationConfig = DEFAULT,
    *,
    exhaustive: bool = False,
) -> Energies:
    """A table of energies of the given competing phases, elements among them.

    Args:
      structures: the competing phases; several of one formula may compete.
      calculator: the one and only source.
      config: how they are relaxed.
      exhaustive: whether these are all compounds of their elements.

    Raises:
      MfalError: the first structure that gives no energy.
    """
    entries = tuple(entry_from_calculator(s, calculator, config) for s in structures)
    return Energies(entries, type(calculator).__name__, exhaustive)


def reference_energies(energies: Energies) -> dict[str, float]:
    """Energy per atom, eV, of the most stable form of every element in a table."""
    found: dict[str, float] = {}
    for entry in energies.entries:
        if len(entry.composition) == 1:
            symbol = entry.composition.elements[0].symbol
            found[symbol] = min(found.get(symbol, math.inf), entry.energy_per_atom)
    return found


def formation_energy_oracle(
    calculator: "Calculator",
    references: Mapping[str, float],
    *,
    config: RelaxationConfig = DEFAULT,
    fidelity: int = 1,
    cost: float = 1.0,
    version: str = "1",
) -> Oracle:
    """The energy of formation from the elements, eV per atom.

    Args:
      calculator: any ASE calculator.
      references: energy per atom of the elements by the same calculator (`reference_energies`).
      config: how structures are relaxed.
      fidelity: the oracle's rank.
      cost: CPU s of one evaluation.
      version: of the calculator and its references; change it with them.
    """
    method = type(calculator).__name__

    def answer(structure: Structure) -> Observation:
        start = time.perf_counter()
        provenance: dict[str, Any] = {"method": method, **config._asdict()}
        try:
            _check_references(structure.composition, references, method)
            relaxed = relax_with(structure, calculator, config)
        except Exception as error:  # one structure's failure is its observation
            seconds = time.perf_counter() - start
            return Observation(math.nan, None, f"failed: {error}", seconds, provenance)
        provenance |= {
            "energy": relaxed.energy,
            "largest_force": relaxed.force,
            "steps": relaxed.steps,
            "converged": relaxed.converged,
        }
        composition = relaxed.structure.composition
        elements = sum(references[e.symbol] * amount for e, amount in composition.items())
        value = (relaxed.energy - elements) / composition.num_atoms
        return Observation(value, None, "ok", time.perf_counter() - start, provenance)

    def evaluate(structures: Sequence[Structure]) -> list[Observation]:
        return [answer(structure) for structure in structures]

    return Oracle(
        name="formation_energy",
        version=f"{version}:{method}",
        fidelity=fidelity,
        cost=cost,
        unit="eV/atom",
        higher_is_better=False,
        bounds=(-6.0, 2.0),
        evaluate=evaluate,
    )


def _check_references(
    composition: Composition, references: Mapping[str, float], method: str
) -> None:
    lacking = sorted({e.symbol for e in composition.elements} - set(references))
    if lacking:
        raise MfalError(
            f"{composition.reduced_formula}: no energy of the element {', '.join(lacking)} by "
            f"{method}",
            "add its structure to the references",
        )


def _optimise(atoms: Any, config: RelaxationConfig) -> int:
    from ase.filters import UnitCellFilter
    from ase.optimize import FIRE

    target = UnitCellFilter(atoms) if config.cell else atoms
    optimiser = FIRE(target, logfile=None)
    optimiser.run(fmax=config.force, steps=config.max_steps)
    return int(optimiser.nsteps)


def _chgnet() -> Any:
    from chgnet.model.dynamics import CHGNetCalculator

    return CHGNetCalculator(use_device="cpu")


def _emt() -> Any:
    from ase.calculators.emt import EMT

    return EMT()


def _lennard_jones() -> Any:
    from ase.calculators.lj import LennardJones

    return LennardJones()
