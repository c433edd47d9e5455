"""How far cheap fidelities are believed and worth their price, in sentences for the user."""

from collections.abc import Sequence

from mfal.campaign.strategy.belief import Fitted
from mfal.oracles.types import Oracle
from mfal.proxies.explained import describe_fidelity

__all__ = ["describe_evidence", "describe_worth"]


def describe_worth(
    fitted: Fitted, oracles: Sequence[Oracle], best: Sequence[float] | None = None
) -> list[str]:
    """One sentence for each cheap fidelity: what it tells about the target, and what that is worth.

    Args:
      fitted: what is believed.
      oracles: by rising fidelity.
      best: [M], what the best question at each was worth per CPU second, where one was chosen.
    """
    sentences = []
    for m, (oracle, explained) in enumerate(zip(oracles[:-1], fitted.explained, strict=True)):
        text = describe_fidelity(oracle.name, oracles[-1].name, explained)
        if best is not None and best[m] > 0 and best[-1] > 0:
            text += f"; the best question is worth {best[m] / best[-1]:.2g} times the target's best"
        elif best is not None:
            text += "; no question was worth its price" if best[m] == 0 else ""
        sentences.append(text)
    return sentences


def describe_evidence(fitted: Fitted) -> str:
    """How far cheap answers are believed, for the user."""
    found = fitted.evidence
    if not found.answers:
        return "the target oracle's own answers alone are believed"
    return (
        f"cheap answers are believed by {found.weight:.0%} (log density of the target's unseen"
        f" answers {found.coupled:.2f} with them, {found.single:.2f} without)"
    )
