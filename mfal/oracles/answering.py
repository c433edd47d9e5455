"""What all oracles of this package do around their own function of one structure."""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mfal.errors import MfalError
from mfal.oracles.bond_valence.maps import Estimate
from mfal.oracles.types import Observation

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["answer_each"]


def answer_each(
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
