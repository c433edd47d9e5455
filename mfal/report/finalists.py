"""What a campaign has asked about its finalists beside its own oracles, for readers."""

from collections.abc import Sequence
from typing import Any

from mfal.campaign.folder import FINALISTS, MOTION
from mfal.campaign.ledger.book import Answer, Ledger
from mfal.report.candidate import Candidate

__all__ = ["dynamics_to_plain", "unsimulated", "vibrations_to_plain", "with_last_answers"]


def with_last_answers(candidates: Sequence[Candidate], ledger: Ledger) -> list[Candidate]:
    """The candidates with their vibrations and their dynamics, where they were finalists.

    Of several lengths of dynamics the latest that answered counts, or else the latest failure.
    """
    vibrations = {answer.query.crystal.hash: answer for answer in ledger.answers(FINALISTS)}
    dynamics: dict[str, Answer] = {}
    for answer in ledger.answers(MOTION):
        if answer.value is not None or answer.query.crystal.hash not in dynamics:
            dynamics[answer.query.crystal.hash] = answer
    return [
        c._replace(vibrations=vibrations.get(c.crystal.hash), dynamics=dynamics.get(c.crystal.hash))
        for c in candidates
    ]


def unsimulated(ledger: Ledger) -> dict[str, float]:
    """CPU seconds to whole runs of dynamics, by crystal, of finalists that have not had them."""
    rounds = ledger.rounds(MOTION)
    finalists = rounds[-1][1].get("finalists", {}) if rounds else {}
    return {
        name: float(found["seconds_left"])
        for name, found in finalists.items()
        if found.get("seconds_left")
    }


def vibrations_to_plain(candidate: Candidate) -> dict[str, Any] | None:
    """What was found of a finalist's vibrations, for machines."""
    answer = candidate.vibrations
    if answer is None:
        return None
    if answer.value is None:
        return {"status": answer.detail.get("status", answer.kind)}
    return {"status": "ok", **answer.detail["provenance"]}


def dynamics_to_plain(candidate: Candidate) -> dict[str, Any] | None:
    """What was found of a candidate's diffusion by dynamics, for machines."""
    record, answer = candidate.motion, candidate.dynamics
    if record is not None:
        return {"status": "ok", **record}
    return None if answer is None else {"status": answer.detail.get("status", answer.kind)}
