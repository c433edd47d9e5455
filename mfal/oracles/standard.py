"""The three oracles that a campaign asks by default, cheapest first."""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mfal.errors import MfalError
from mfal.oracles.types import Observation, Oracle

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from mfal.oracles.framework import Framework
    from mfal.oracles.percolation import Percolation

__all__ = [
    "MapOptions",
    "bvse_oracle",
    "conductivity_oracle",
    "default_oracles",
    "score_files",
    "sendek_oracle",
]

SENDEK_COST = 0.05
BVSE_COST = 0.35
CONDUCTIVITY_COST = 1.0
"""CPU time of one evaluation in that of the conductivity, the median over the structures of
`experiments/benchmarks/oracles.py`, which measures it anew and prints it beside these."""

DEGENERATE = 0.01
"""eV; saddles of other energy as near as this to the one that decides a barrier are told of: the
choice between them is below the resolution of the grid."""

LARGEST_MAP = 20_000_000
"""Grid points beyond which a cell is refused: some 160,000 Å^3 at 0.2 Å."""


@dataclass(frozen=True)
class MapOptions:
    """How an energy map is made and read."""

    resolution: float = 0.2
    """Å, the largest distance of neighbouring grid points along an axis."""
    margin: float = 0.5
    """eV above the 3-D threshold up to which hops are listed: what lies higher carries less than
    1e-8 of the current at 300 K."""
    shallow: float = 0.02
    """eV; minima less deep belong to their neighbours (grid noise, less than kT)."""
    mobile: str = "Li"
    decorations: int = 0
    """Ordered frameworks to draw from a partly occupied one; the answer is their mean, with their
    spread as uncertainty. 0 weights each site by its occupancy instead."""

    def tag(self) -> str:
        """What of these options may change a value, for an oracle's version."""
        drawn = f"-{self.decorations}d" if self.decorations else ""
        margins = (self.margin, self.shallow)
        other = "" if margins == (0.5, 0.02) else f"-{self.margin:g}-{self.shallow:g}"
        return f"{self.mobile}-{self.resolution:g}{drawn}{other}"


class _Answer(NamedTuple):
    value: float
    uncertainty: float | None
    provenance: dict[str, Any]


def sendek_oracle(sampled: bool = False) -> Oracle:
    """Sendek's probability of being a superionic conductor, 0 to 1.

    Args:
      sampled: partly occupied sites by random occupations as in the paper, with the spread over
        them as uncertainty; otherwise by expectation, which is faster and has no noise.
    """

    def answer(structure: "Structure") -> _Answer:
        from mfal.oracles.sendek import (
            FEATURES,
            expected_features,
            probability,
            sampled_features,
        )

        provenance: dict[str, Any] = {"method": "Sendek logistic regression"}
        notes = []
        if sampled and not structure.is_ordered:
            drawn = sampled_features(structure)
            features, value, spread = drawn.features, drawn.probability, drawn.spread
            provenance |= {"draws": drawn.draws, "hard_sphere": round(drawn.hard_sphere, 1)}
        else:
            features, spread = expected_features(structure), None
            value = float(probability(features))
        if not structure.is_ordered:
            provenance["occupancy"] = "sampled" if sampled else "expectation"
        anions = _anion_elements(structure)
        if len(anions) > 1:
            notes.append(f"several anions ({', '.join(anions)}): only the first counts as one")
        provenance["features"] = dict(zip(FEATURES, map(float, features), strict=True))
        return _Answer(value, spread, provenance | {"warnings": notes})

    return Oracle(
        name="sendek",
        version="1-sampled" if sampled else "1",
        fidelity=0,
        cost=SENDEK_COST,
        unit="probability",
        higher_is_better=True,
        bounds=(0.0, 1.0),
        evaluate=_evaluate(answer),
    )


def bvse_oracle(options: MapOptions = MapOptions(resolution=0.3)) -> Oracle:
    """The 3-D migration barrier of the bond-valence site energy, eV; infinite in a cage.

    It counts from the lowest site of the network that percolates, not from the lowest of the map,
    which may lie in a pocket that no ion leaves: on OBELiX that ranks conductivities better (rho
    0.59 for 0.53, `experiments/oracles_vs_experiment.py`). The record holds both.

    The grid is coarser than the conductivity's by default: at 0.3 Å barriers are within 0.01 to
    0.03 eV of their limit (`experiments/benchmarks/oracles.py` prints the table), far less than
    what the potential itself is in error.
    """

    def answer(structure: "Structure") -> _Answer:
        def barrier(variant: "Structure") -> _Answer:
            framework, _, found = _map(variant, options)
            return _Answer(float(found.own_barrier[2]), None, _record(framework, options, found))

        return _averaged(barrier, structure, options)

    return Oracle(
        name="bvse",
        version=f"1-{options.tag()}",
        fidelity=1,
        cost=BVSE_COST,
        unit="eV",
        higher_is_better=False,
        bounds=(0.0, 5.0),
        evaluate=_evaluate(answer),
    )


def conductivity_oracle(
    options: MapOptions = MapOptions(resolution=0.15),
    temperature: float = 300.0,
    exclusion: bool = False,
) -> Oracle:
    """log10 of a powder's conductivity in S/cm from the exact solution of the hop network.

    The tensor is averaged as of a dense polycrystal, which is what is mostly measured: crystals
    that conduct along one axis only block each other.

    The grid is fine by default, as all sites and saddles count here, and exponentially: log10 sigma
    at 300 K moves by 0.1 to 0.3 between grid origins at 0.3 Å, by less than 0.05 at 0.15 Å.

    Args:
      options: of the energy map.
      temperature: K.
      exclusion: whether ions exclude each other from sites, see `mfal.oracles.network`.
    """

    def network_answer(structure: "Structure") -> _Answer:
        from mfal.oracles.conductivity import conductivity
        from mfal.oracles.network import ATTEMPT_FREQUENCY, hop_network

        framework, shape, found = _map(structure, options)
        network = hop_network(found, framework.lattice, shape, shallow=options.shallow)
        result = conductivity(network, framework.mobile_count, temperature, exclusion)
        provenance = _record(framework, options, found) | {
            "method": "hop network of bond-valence site energies, Nernst-Einstein",
            "temperature": temperature,
            "attempt_frequency": ATTEMPT_FREQUENCY,
            "exclusion": exclusion,
            "activation_energy": _finite(result.activation_energy),
            "log10_mean": _finite(result.log10_mean),
            "principal": [float(x) for x in result.principal],
            "mobile_ions": framework.mobile_count,
            "hops": len(network.hop),
            "sites": len(network.site_energy),
        }
        return _Answer(result.log10_powder, None, provenance)

    def answer(structure: "Structure") -> _Answer:
        return _averaged(network_answer, structure, options)

    return Oracle(
        name="conductivity",
        version=f"1-{options.tag()}-{temperature:g}" + ("-exclusion" if exclusion else ""),
        fidelity=2,
        cost=CONDUCTIVITY_COST,
        unit="log10 S/cm",
        higher_is_better=True,
        bounds=(-20.0, 2.0),
        evaluate=_evaluate(answer),
    )


def default_oracles() -> tuple[Oracle, ...]:
    """Sendek's probability, the migration barrier, the conductivity at 300 K."""
    return sendek_oracle(), bvse_oracle(), conductivity_oracle()


def score_files(
    paths: Sequence[str], oracles: Sequence[Oracle] | None = None
) -> list[dict[str, Any]]:
    """Scores structure files, one row for each pair of a file and an oracle.

    A row holds file, formula, oracle, version, value, uncertainty, unit, status and seconds; a file
    that can't be read gives failed rows.
    """
    from mfal.crystals.structures import read_structure

    rows = []
    for path in paths:
        structure, problem = None, ""
        try:
            structure = read_structure(path)
        except MfalError as error:
            problem = f"failed: {error}"
        for oracle in oracles if oracles is not None else default_oracles():
            if structure is None:
                observation = Observation(math.nan, None, problem, 0.0, {})
            else:
                observation = oracle.evaluate([structure])[0]
            rows.append(
                {
                    "file": str(path),
                    "formula": structure.composition.reduced_formula if structure else "",
                    "oracle": oracle.name,
                    "version": oracle.version,
                    "value": observation.value,
                    "uncertainty": observation.uncertainty,
                    "unit": oracle.unit,
                    "status": observation.status,
                    "seconds": observation.seconds,
                }
            )
    return rows


def _evaluate(
    answer: Callable[["Structure"], _Answer],
) -> Callable[[Sequence["Structure"]], list[Observation]]:
    """Wraps a function of one structure: times it, and turns what it raises into an observation."""

    def evaluate(structures: Sequence["Structure"]) -> list[Observation]:
        observations = []
        for structure in structures:
            start = time.perf_counter()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    value, uncertainty, provenance = answer(structure)
                status = "ok"
                if math.isnan(value):
                    status = "failed: no number came out; report this structure"
            except Exception as error:  # an oracle never raises: the failure is its answer
                value, uncertainty, provenance = math.nan, None, {}
                said = " ".join(str(error).split())
                if isinstance(error, MfalError):
                    status = f"failed: {said}"
                else:
                    status = (
                        f"failed: {type(error).__name__}: {said}; check the structure, "
                        "and report it if it is sound"
                    )
            seconds = time.perf_counter() - start
            observations.append(Observation(value, uncertainty, status, seconds, provenance))
        return observations

    return evaluate


def _averaged(
    answer: Callable[["Structure"], _Answer], structure: "Structure", options: MapOptions
) -> _Answer:
    """The answer, or the mean over decorations of a partly occupied framework."""
    from mfal.oracles.decorations import sample_decoration

    partial = any(
        specie.symbol != options.mobile and amount < 1.0 - 1e-6
        for site in structure
        for specie, amount in site.species.items()
    )
    if not options.decorations or not partial:
        return answer(structure)
    drawn = [
        answer(sample_decoration(structure, seed, options.mobile))
        for seed in range(options.decorations)
    ]
    values = np.array([one.value for one in drawn])
    spread = float(values.std()) if np.isfinite(values).all() else None
    provenance = drawn[0].provenance | {
        "occupancy": f"{options.decorations} decorations",
        "values": [_finite(float(value)) for value in values],
    }
    return _Answer(float(values.mean()), spread, provenance)


def _map(
    structure: "Structure", options: MapOptions
) -> tuple["Framework", tuple[int, int, int], "Percolation"]:
    """Framework, grid and what the sweep found."""
    from mfal.oracles.bvse import grid_shape, symmetric_map
    from mfal.oracles.framework import framework_of
    from mfal.oracles.percolation import percolate
    from mfal.oracles.symmetry import symmetric_grid

    framework = framework_of(structure, options.mobile)
    shape = grid_shape(framework.lattice, options.resolution)
    if math.prod(shape) > LARGEST_MAP:
        raise MfalError(
            f"{structure.composition.reduced_formula}: a map of {math.prod(shape)} points",
            "give a smaller cell, or a coarser resolution",
        )
    grid = symmetric_grid(framework, options.resolution)
    return framework, grid.shape, percolate(symmetric_map(framework, grid), options.margin)


def _record(framework: "Framework", options: MapOptions, found: "Percolation") -> dict[str, Any]:
    """What every answer from an energy map says of how it was made."""
    notes = list(framework.warnings)
    for dimension, barrier in enumerate(found.barrier, start=1):
        if not np.isfinite(barrier):
            notes.append(f"no {dimension}-D path below 10 eV")
            break
    near = np.abs(found.saddle_energy - found.threshold[2]) < DEGENERATE
    levels = len(np.unique(np.round(found.saddle_energy[near], 3)))
    if levels > 1:
        notes.append(f"{levels} saddles within {DEGENERATE} eV of the one that decides")
    return {
        "method": "bond-valence site energy, percolation",
        "resolution": options.resolution,
        "mobile": options.mobile,
        "barriers": [_finite(float(x)) for x in found.barrier],
        "own_barriers": [_finite(float(x)) for x in found.own_barrier],
        "sites": len(found.site),
        "warnings": notes,
    }


def _finite(value: float) -> float | str:
    """JSON has no infinities."""
    return value if math.isfinite(value) else str(value)


def _anion_elements(structure: "Structure") -> list[str]:
    """Elements that are commonly anions, most electronegative first."""
    from mfal.crystals.elements import ELECTRONEGATIVITY, atomic_number

    usual = {"N", "O", "F", "S", "Cl", "Se", "Br", "Te", "I"}
    found = [e.symbol for e in structure.composition.elements if e.symbol in usual]
    return sorted(found, key=lambda s: -ELECTRONEGATIVITY[atomic_number(s) - 1])
