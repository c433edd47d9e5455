"""What the proxy learns from measurements and computations that people have brought back."""

from collections.abc import Sequence

from mfal.campaign.ledger.records import CrystalRecord
from mfal.campaign.ledger.rows import Answer

__all__ = ["is_lesson", "lessons"]

_TEACHING = ("ionic_conductivity", "migration_barrier")
"""Quantities that oracles estimate too, so that a measured value can teach the proxy."""


def lessons(told: Sequence[Answer], unit: str) -> dict[str, tuple[CrystalRecord, float, str]]:
    """What told answers say of the quantity that the target oracle estimates, by crystal.

    The value, and `exact`, or `below` or `above` where it is a limit of detection. The last answer
    about a crystal counts.

    Args:
      told: ended queries of the HANDOFF account.
      unit: the target oracle's.
    """
    return {
        answer.query.crystal.hash: (answer.query.crystal, answer.value, answer.censoring)
        for answer in told
        if is_lesson(answer, unit) and answer.value is not None
    }


def is_lesson(answer: Answer, unit: str) -> bool:
    """Whether a told answer is a value of the quantity that an oracle of that unit estimates."""
    return (
        answer.kind == "observed"
        and answer.value is not None
        and answer.query.oracle in _TEACHING
        and answer.detail.get("unit") == unit
    )
