"""Sources of values for structures, of rising cost and trust."""

from typing import TYPE_CHECKING

from mfal.lazy import lazily

if TYPE_CHECKING:
    from mfal.oracles.dynamics import dynamics_oracle
    from mfal.oracles.expected import ExpectedConductivity, expected_conductivity
    from mfal.oracles.ladder import (
        MapOptions,
        bvse_oracle,
        conductivity_oracle,
        default_oracles,
        hull_oracle,
        kmc,
        kmc_oracle,
        sendek_oracle,
        stable_conductors,
    )
    from mfal.oracles.loading import ask_oracle, load_oracles
    from mfal.oracles.lookup import hide_labels, lookup_oracle, with_material
    from mfal.oracles.scores import Scores, score_structures
    from mfal.oracles.scoring import scoring_oracles
    from mfal.oracles.types import Observation, Oracle

__all__ = [
    "ExpectedConductivity",
    "MapOptions",
    "Observation",
    "Oracle",
    "Scores",
    "ask_oracle",
    "bvse_oracle",
    "conductivity_oracle",
    "default_oracles",
    "dynamics_oracle",
    "expected_conductivity",
    "hide_labels",
    "hull_oracle",
    "kmc",
    "kmc_oracle",
    "load_oracles",
    "lookup_oracle",
    "score_structures",
    "scoring_oracles",
    "sendek_oracle",
    "stable_conductors",
    "with_material",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "dynamics": "dynamics_oracle",
        "expected": "ExpectedConductivity expected_conductivity",
        "ladder": (
            "MapOptions bvse_oracle conductivity_oracle default_oracles hull_oracle kmc "
            "kmc_oracle sendek_oracle stable_conductors"
        ),
        "loading": "ask_oracle load_oracles",
        "lookup": "hide_labels lookup_oracle with_material",
        "scores": "Scores score_structures",
        "scoring": "scoring_oracles",
        "types": "Observation Oracle",
    },
)
