"""The oracles of this package, and the three that a campaign asks by default, cheapest first."""

from typing import TYPE_CHECKING, Any

from mfal.oracles.answering import answer_each
from mfal.oracles.bond_valence.maps import (
    DEFAULT_MAP,
    NO_BARRIER,
    Estimate,
    MapOptions,
    averaged,
    map_record,
    read_map,
)
from mfal.oracles.hopping.oracles import conductivity_oracle, kmc_oracle
from mfal.oracles.stability.placing import hull_oracle
from mfal.oracles.types import Oracle

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = [
    "MapOptions",
    "bvse_oracle",
    "conductivity_oracle",
    "default_oracles",
    "hull_oracle",
    "kmc",
    "kmc_oracle",
    "sendek_oracle",
    "stable_conductors",
]

SENDEK_COST = 0.002
BVSE_COST = 0.04
"""CPU seconds of one evaluation, medians over candidates (`experiments/oracle_prices.py`)."""

kmc = kmc_oracle
"""`kmc_oracle`, short for the command line: `--oracles mfal.oracles:kmc`."""


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
        evaluate=answer_each(answer, name, version),
    )


def bvse_oracle(options: MapOptions = DEFAULT_MAP) -> Oracle:
    """The 3-D migration barrier of the bond-valence site energy, eV; infinite in a cage.

    It counts from the lowest site of the network that percolates, not from the lowest of the map,
    which may lie in a pocket that no ion leaves: on OBELiX that ranks conductivities better (rho
    0.59 for 0.53, `experiments/oracles_vs_experiment.py`). The record holds both.

    The map is the conductivity's, which is made once for both.
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
        evaluate=answer_each(answer, name, version),
    )


def default_oracles() -> tuple[Oracle, ...]:
    """Sendek's probability, the migration barrier, the conductivity at 300 K.

    Sendek's by sampled occupations: on OBELiX that raises the rank correlation from 0.46 to 0.53
    (by 0.07, 90 % interval 0.04 to 0.10, `experiments/oracles_vs_experiment.py`).
    """
    return sendek_oracle(sampled=True), bvse_oracle(), conductivity_oracle()


def stable_conductors() -> tuple[Oracle, ...]:
    """The default oracles with the hull distance just below the target.

    mfal discover --oracles mfal.oracles:stable_conductors
    """
    *cheap, target = default_oracles()
    chain = (*cheap, hull_oracle(), target)
    return tuple(oracle._replace(fidelity=rank) for rank, oracle in enumerate(chain))


def _anion_elements(structure: "Structure") -> list[str]:
    """Elements that are commonly anions, most electronegative first."""
    from mfal.crystals.elements import ELECTRONEGATIVITY, atomic_number

    usual = {"N", "O", "F", "S", "Cl", "Se", "Br", "Te", "I"}
    found = [e.symbol for e in structure.composition.elements if e.symbol in usual]
    return sorted(found, key=lambda s: -ELECTRONEGATIVITY[atomic_number(s) - 1])
