"""The three oracles that a campaign asks by default, cheapest first."""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mfal.errors import MfalError
from mfal.numbers import number_or_text
from mfal.oracles.bond_valence.maps import (
    NO_BARRIER,
    Estimate,
    MapOptions,
    averaged,
    map_record,
    read_map,
)
from mfal.oracles.types import Observation, Oracle

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = [
    "MapOptions",
    "bvse_oracle",
    "conductivity_oracle",
    "default_oracles",
    "sendek_oracle",
]

SENDEK_COST = 0.05
BVSE_COST = 0.35
CONDUCTIVITY_COST = 1.0
"""CPU time of one evaluation in that of the conductivity, the median over the structures of
`experiments/benchmarks/oracles.py`, which measures it anew and prints it beside these."""

LOCALISED = 4.0
"""kT; a site is a place that an ion leaves over at least so much. Rates nu0 exp(-E / kT) hold
where the barrier is well above kT (Hänggi, Talkner & Borkovec, Rev. Mod. Phys. 62, 251 (1990),
doi:10.1103/RevModPhys.62.251); lower ones are not hops but motion within a site. At 300 K it is
0.103 eV: of 235 compounds of OBELiX one has a lower 3-D barrier (0.100 eV)."""

LEAST_VACANCY = 0.01
"""Share of empty sites assumed where the ions fill the sites that the map has, or outnumber them.
What doping and disorder leave there is not known; from 1e-4 to 0.1 the rank correlation with
experiment moves by 0.01 (`experiments/oracles_vs_experiment.py`)."""

BARRIER_MAP = MapOptions(resolution=0.3)
CONDUCTIVITY_MAP = MapOptions(resolution=0.15)


def sendek_oracle(sampled: bool = False) -> Oracle:
    """Sendek's probability of being a superionic conductor, 0 to 1.

    Args:
      sampled: partly occupied sites by random occupations as in the paper, with the spread over
        them as uncertainty; otherwise by expectation, which is faster and has no noise.
    """

    def answer(structure: "Structure") -> Estimate:
        from mfal.oracles.sendek.regression import (
            FEATURES,
            expected_features,
            superionic_probability,
        )
        from mfal.oracles.sendek.sampled import sampled_features

        provenance: dict[str, Any] = {"method": "Sendek logistic regression"}
        notes = []
        if sampled and not structure.is_ordered:
            drawn = sampled_features(structure)
            features, value, spread = drawn.features, drawn.probability, drawn.spread
            provenance |= {"draws": drawn.draws, "hard_sphere": round(drawn.hard_sphere, 1)}
        else:
            features, spread = expected_features(structure), None
            value = float(superionic_probability(features))
        if not structure.is_ordered:
            provenance["occupancy"] = "sampled" if sampled else "expectation"
        else:
            provenance["occupancy"] = "full"
        anions = _anion_elements(structure)
        if len(anions) > 1:
            notes.append(f"several anions ({', '.join(anions)}): only the first counts as one")
        provenance["features"] = dict(zip(FEATURES, map(float, features), strict=True))
        return Estimate(value, spread, provenance | {"warnings": notes})

    name, version = "sendek", "1-sampled" if sampled else "1"
    return Oracle(
        name=name,
        version=version,
        fidelity=0,
        cost=SENDEK_COST,
        unit="probability",
        higher_is_better=True,
        bounds=(0.0, 1.0),
        evaluate=_evaluate(answer, name, version),
    )


def bvse_oracle(options: MapOptions = BARRIER_MAP) -> Oracle:
    """The 3-D migration barrier of the bond-valence site energy, eV; infinite in a cage.

    It counts from the lowest site of the network that percolates, not from the lowest of the map,
    which may lie in a pocket that no ion leaves: on OBELiX that ranks conductivities better (rho
    0.59 for 0.53, `experiments/oracles_vs_experiment.py`). The record holds both.

    The grid is coarser than the conductivity's by default: at 0.3 Å barriers are within 0.01 to
    0.03 eV of their limit (`experiments/benchmarks/oracles.py` prints the table), far less than
    what the potential itself is in error.
    """

    def answer(structure: "Structure") -> Estimate:
        def barrier(variant: "Structure") -> Estimate:
            framework, grid, found = read_map(variant, options)
            return Estimate(
                float(found.own_barrier[2]), None, map_record(framework, grid, options, found)
            )

        return averaged(barrier, structure, options)

    name, version = "bvse", f"2-{options.tag()}"
    return Oracle(
        name=name,
        version=version,
        fidelity=1,
        cost=BVSE_COST,
        unit="eV",
        higher_is_better=False,
        bounds=(NO_BARRIER, 5.0),
        evaluate=_evaluate(answer, name, version),
    )


def conductivity_oracle(
    options: MapOptions = CONDUCTIVITY_MAP,
    temperature: float = 300.0,
    exclusion: bool = True,
) -> Oracle:
    """log10 of a powder's conductivity in S/cm from the exact solution of the hop network.

    The tensor is averaged as of a dense polycrystal, which is what is mostly measured: crystals
    that conduct along one axis only block each other.

    A hop network stands for rare hops between sites that hold one ion each. So minima that are
    less than `LOCALISED` deep belong to their neighbours, ions exclude each other from sites, and
    no hop is faster than nu0 exp(-LOCALISED); where ions run through the crystal in two or three
    dimensions over less than that, there are no sites, and the oracle fails and says so. A map
    without barriers mostly means that the framework is too open to be stable, not that it conducts.

    The grid is fine by default, as all sites and saddles count here, and exponentially: log10 sigma
    at 300 K moves by 0.2 to 0.3 between grid origins at 0.3 Å, by up to 0.2 at 0.15 Å, and by 0.03
    at 0.1 Å (`experiments/benchmarks/oracles.py` prints the table).

    Args:
      options: of the energy map.
      temperature: K.
      exclusion: whether ions exclude each other from sites, see `mfal.oracles.hopping.network`;
        without it they pass through each other, and a full sublattice conducts like an empty one.
    """

    def network_answer(structure: "Structure") -> Estimate:
        from mfal.oracles.hopping.conductivity import conductivity
        from mfal.oracles.hopping.network import (
            ATTEMPT_FREQUENCY,
            BOLTZMANN,
            hop_network,
            open_dimensions,
        )

        framework, grid, found = read_map(structure, options)
        depth = max(options.shallow, LOCALISED * BOLTZMANN * temperature)
        network = hop_network(found, framework.lattice, grid.shape, shallow=depth)
        name = structure.composition.reduced_formula
        free = open_dimensions(network, depth)
        if free >= 2:
            raise MfalError(
                f"{name}: no localised sites; ions cross the cell in {free} dimensions over less "
                f"than {depth:.2f} eV",
                "hopping does not describe this framework: check that it is stable, or simulate it "
                "by molecular dynamics",
            )
        ends = network.site_energy[network.hop].max(axis=1)
        network = network._replace(saddle_energy=np.maximum(network.saddle_energy, ends + depth))
        count, sites = framework.mobile_count, len(network.site_energy)
        result = conductivity(network, count, temperature, exclusion, least_vacancy=LEAST_VACANCY)
        provenance = map_record(framework, grid, options, found)
        if free:
            provenance["warnings"].append(f"channels without barriers above {depth:.2f} eV")
        if exclusion and count > (1.0 - LEAST_VACANCY) * sites:
            provenance["warnings"].append(
                f"{count:g} ions for {sites} sites: {LEAST_VACANCY:.0%} taken to be empty"
            )
        provenance |= {
            "method": "hop network of bond-valence site energies, Nernst-Einstein",
            "temperature": temperature,
            "attempt_frequency": ATTEMPT_FREQUENCY,
            "exclusion": exclusion,
            "least_barrier": depth,
            "least_vacancy": LEAST_VACANCY if exclusion else None,
            "activation_energy": number_or_text(result.activation_energy),
            "log10_mean": number_or_text(result.log10_mean),
            "principal": [float(x) for x in result.principal],
            "mobile_ions": count,
            "hops": len(network.hop),
            "sites": sites,
        }
        return Estimate(result.log10_powder, None, provenance)

    def answer(structure: "Structure") -> Estimate:
        return averaged(network_answer, structure, options)

    name = "conductivity"
    version = f"2-{options.tag()}-{temperature:g}" + ("" if exclusion else "-free")
    return Oracle(
        name=name,
        version=version,
        fidelity=2,
        cost=CONDUCTIVITY_COST,
        unit="log10 S/cm",
        higher_is_better=True,
        bounds=(-20.0, 1.0),
        evaluate=_evaluate(answer, name, version),
    )


def default_oracles() -> tuple[Oracle, ...]:
    """Sendek's probability, the migration barrier, the conductivity at 300 K.

    Sendek's by sampled occupations: on OBELiX that raises the rank correlation from 0.46 to 0.53
    (by 0.07, 90 % interval 0.04 to 0.10, `experiments/oracles_vs_experiment.py`).
    """
    return sendek_oracle(sampled=True), bvse_oracle(), conductivity_oracle()


def _evaluate(
    answer: Callable[["Structure"], Estimate], name: str, version: str
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
            provenance = {"oracle": name, "version": version} | provenance
            seconds = time.perf_counter() - start
            observations.append(Observation(value, uncertainty, status, seconds, provenance))
        return observations

    return evaluate


def _anion_elements(structure: "Structure") -> list[str]:
    """Elements that are commonly anions, most electronegative first."""
    from mfal.crystals.elements import ELECTRONEGATIVITY, atomic_number

    usual = {"N", "O", "F", "S", "Cl", "Se", "Br", "Te", "I"}
    found = [e.symbol for e in structure.composition.elements if e.symbol in usual]
    return sorted(found, key=lambda s: -ELECTRONEGATIVITY[atomic_number(s) - 1])
