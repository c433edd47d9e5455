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

SENDEK_COST = 0.02
BVSE_COST = 0.3
CONDUCTIVITY_COST = 1.0
"""CPU time of one evaluation in that of the conductivity, the median over the structures of
`experiments/benchmarks/oracles.py`, which measures it anew and prints it beside these."""

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

    The grid is coarser than the conductivity's by default: barriers move by some hundredths of an
    eV between 0.3 and 0.2 Å, far less than what the potential itself is in error, and cost a third.
    """

    def answer(structure: "Structure") -> _Answer:
        framework, _, found = _map(structure, options)
        provenance = _record(framework, options, found)
        return _Answer(float(found.barrier[2]), None, provenance)

    return Oracle(
        name="bvse",
        version=f"1-{options.mobile}-{options.resolution:g}",
        fidelity=1,
        cost=BVSE_COST,
        unit="eV",
        higher_is_better=False,
        bounds=(0.0, 5.0),
        evaluate=_evaluate(answer),
    )


def conductivity_oracle(
    options: MapOptions = MapOptions(), temperature: float = 300.0, exclusion: bool = False
) -> Oracle:
    """log10 of the conductivity in S/cm from the exact solution of the hop network.

    Args:
      options: of the energy map.
      temperature: K.
      exclusion: whether ions exclude each other from sites, see `mfal.oracles.network`.
    """

    def answer(structure: "Structure") -> _Answer:
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
            "principal": [float(x) for x in result.principal],
            "mobile_ions": framework.mobile_count,
            "hops": len(network.hop),
            "sites": len(network.site_energy),
        }
        return _Answer(result.log10_mean, None, provenance)

    return Oracle(
        name="conductivity",
        version=f"1-{options.mobile}-{options.resolution:g}-{temperature:g}"
        + ("-exclusion" if exclusion else ""),
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
    return {
        "method": "bond-valence site energy, percolation",
        "resolution": options.resolution,
        "mobile": options.mobile,
        "barriers": [_finite(float(x)) for x in found.barrier],
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
