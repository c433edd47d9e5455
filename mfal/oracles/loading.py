"""Oracles by name: taken from where they are defined, checked, and asked so that none can raise."""

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from mfal.errors import MfalError
from mfal.oracles.types import Observation, Oracle
from mfal.references import make

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["ask_oracle", "load_oracles"]


@lru_cache(maxsize=8)
def load_oracles(references: tuple[str, ...], hide: tuple[str, ...] = ()) -> tuple[Oracle, ...]:
    """The oracles behind module:function references, by rising fidelity.

    Their fidelities say which is to be trusted more; they come back numbered 0, 1, 2, ..., so that
    some of the default oracles, or a single one, make a campaign too.

    Args:
      references: where they come from.
      hide: formulas of compounds that oracles are not to know of, as far as they look any up
        (`Oracle.without`).

    Raises:
      MfalError: where a reference leads nowhere, or two oracles have the same fidelity.
    """
    found: list[Oracle] = []
    for reference in references:
        made = make(reference, "oracle")
        # An oracle is a tuple itself.
        iterable = isinstance(made, Iterable) and not isinstance(made, Oracle)
        several = list(made) if iterable else [made]
        if not several or not all(isinstance(each, Oracle) for each in several):
            raise MfalError(
                f"oracle {reference!r} returns {type(made).__name__}",
                "return a mfal.oracles.Oracle, or several",
            )
        found.extend(several)
    found.sort(key=lambda oracle: oracle.fidelity)
    if len({oracle.fidelity for oracle in found}) < len(found):
        levels = ", ".join(f"{oracle.name} {oracle.fidelity}" for oracle in found)
        raise MfalError(
            f"oracles {', '.join(references)}: fidelities {levels}",
            "give each oracle a fidelity of its own, the higher the more it is to be trusted",
        )
    found = [_ignorant(oracle, hide)._replace(fidelity=i) for i, oracle in enumerate(found)]
    for oracle in found:
        if not (oracle.cost > 0 and math.isfinite(oracle.cost)):
            raise MfalError(f"oracle {oracle.name}: cost {oracle.cost}", "give a positive cost")
    return tuple(found)


def _ignorant(oracle: Oracle, hide: tuple[str, ...]) -> Oracle:
    if not hide or oracle.without is None:
        return oracle
    other = oracle.without(hide)
    return oracle._replace(version=other.version, evaluate=other.evaluate)


def ask_oracle(oracle: Oracle, structures: "list[Structure]") -> list[Observation]:
    """The oracle's answers; an oracle that breaks its promise not to raise has failed."""
    try:
        observations = list(oracle.evaluate(structures))
    except Exception as error:
        what = f"failed: oracle {oracle.name} raised {type(error).__name__}: {error}"
        return [Observation(math.nan, None, what, 0.0, {}) for _ in structures]
    if len(observations) != len(structures):
        what = f"failed: oracle {oracle.name} gave {len(observations)} answers"
        return [Observation(math.nan, None, what, 0.0, {}) for _ in structures]
    return [
        each._replace(status=f"failed: oracle {oracle.name} returned NaN")
        if each.status == "ok" and math.isnan(each.value)
        else each
        for each in observations
    ]
