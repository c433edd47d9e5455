"""What a candidate counts as: a discovery, a pool's, known, or one that misses the requirement.

A pool's candidate is what its owner looks for, whoever else knows it; only the tables of `--known`
make it known. Decided by what its answers say of its relaxed atoms: the known crystal that they are
(`detail["known_as"]`) and their distance from the hull (`detail["relaxation"]`).
"""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mfal.campaign.config import CampaignConfig
    from mfal.campaign.ledger.records import CrystalRecord
    from mfal.campaign.ledger.rows import Answer

__all__ = [
    "COUNTING",
    "NEW",
    "STANDINGS",
    "Standing",
    "counted_as",
    "counts",
    "hull_distance_of",
    "hull_limit",
    "repeated",
    "standing_of",
]

Standing = Literal["new", "pool", "polymorph", "repeated", "known", "unstable"]
NEW: Standing = "new"
STANDINGS: tuple[Standing, ...] = (NEW, "pool", "polymorph", "repeated", "known", "unstable")
"""In the order of the ranking, in which those of `COUNTING` stand together."""
COUNTING: tuple[Standing, ...] = (NEW, "pool")
"""Of what counts: the best new crystal of each formula that was generated, and a pool's
candidates."""


def standing_of(details: Iterable[Mapping[str, Any]], max_hull_distance: float | None) -> Standing:
    """The standing of a crystal.

    Args:
      details: of the answers about it.
      max_hull_distance: eV per atom; None asks nothing.
    """
    kept = list(details)
    if any(detail.get("known_as") for detail in kept):
        return "known"
    limit = math.inf if max_hull_distance is None else max_hull_distance
    distances = [hull_distance_of(detail) for detail in kept]
    if any(distance > limit for distance in distances):
        return "unstable"
    return "pool" if any("pool" in detail for detail in kept) else NEW


def hull_distance_of(detail: Mapping[str, Any]) -> float:
    """Distance of the relaxed atoms from the hull, eV per atom; NaN where it isn't known.

    Where the table of competing phases has gaps it is a lower bound.
    """
    distance = (detail.get("relaxation") or {}).get("hull_distance_ev_per_atom")
    return math.nan if distance is None else float(distance)


def hull_limit(config: "CampaignConfig") -> float | None:
    """The greatest hull distance that a campaign allows, eV per atom, if it asks for one."""
    stability = config.stability
    return stability.max_hull_distance if stability.mode == "constraint" else None


def counts(answer: "Answer", max_hull_distance: float | None) -> bool:
    """Whether an answer is about a crystal that is new or a pool's, and meets the requirement."""
    return standing_of([answer.detail], max_hull_distance) in COUNTING


def counted_as(crystal: "CrystalRecord") -> str:
    """What a crystal counts as among the best: a generated one as its formula, a pool's as itself.

    So of the polymorphs of a generated formula the best alone counts.
    """
    return crystal.hash if crystal.pool_name is not None else crystal.formula


def repeated(
    crystals: Iterable[tuple[str, str, Mapping[str, Any] | None]],
) -> dict[str, str]:
    """Which crystals have relaxed to what one before them has: hash to the hash of that one.

    Args:
      crystals: hash, formula and atoms (an answer's `detail["arrangement"]`) of each, best first.
    """
    seen: dict[str, list[tuple[str, Any]]] = {}
    found: dict[str, str] = {}
    for name, formula, arrangement in crystals:
        if arrangement is None:
            continue
        from mfal.campaign.ledger.crystals import structure_of
        from mfal.crystals.matching import same_crystal

        others = seen.setdefault(formula, [])
        own = structure_of(arrangement)
        like = next((other for other, atoms in others if same_crystal(own, atoms)), None)
        if like is None:
            others.append((name, own))
        else:
            found[name] = like
    return found
