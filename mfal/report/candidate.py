"""A candidate for readers: what was asked and answered, and what became of its atoms."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mfal.campaign.ledger.book import Answer
from mfal.campaign.ledger.records import CrystalRecord
from mfal.campaign.standing import NEW, Standing
from mfal.notebook import html_table

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["SIGNS", "Candidate", "beyond_range", "candidates_html"]

_GROUP = re.compile(r"_(?:symmetry_Int_Tables|space_group_IT)_number\s+(\d+)")
_SHOWN = 15
SIGNS = {"below": "< ", "above": "> "}
"""Of limits of detection."""


def beyond_range(answer: Answer) -> str:
    """What an oracle said where it counts as an end of the oracle's range; else empty.

    "inf" of a barrier that no ion crosses, which counts as 5 eV.
    """
    said = answer.detail.get("answers", ())
    if answer.value is None or len(said) != 1 or said[0] is None:
        return ""
    value = float(said[0])
    return f"{value:.4g}" if abs(value - answer.value) > 1e-6 * abs(answer.value) else ""


class Candidate(NamedTuple):
    """A crystal that the campaign proposed and asked about."""

    rank: int
    crystal: CrystalRecord
    value: float
    """What was measured of it, else the target oracle's answer, else what the proxy expects."""
    std: float | None
    """Uncertainty of the measurement, spread of the answer over arrangements of atoms, or the
    proxy's standard deviation."""
    basis: str
    """"measured", "calculated" or "predicted"."""
    observed: dict[int, Answer]
    """Answers by fidelity, failures included."""
    predicted: dict[str, Any]
    """The proxy's final mean and standard deviation, by fidelity; empty before the end."""
    measured: dict[str, str]
    """What came back of measurements asked for by hand: value and unit, or the failure, by
    quantity."""
    cif: str | None
    """The relaxed crystal, or a typical arrangement of the highest fidelity asked."""
    censoring: str = "exact"
    """"below" or "above" where the value is a measurement's limit of detection."""
    standing: Standing = NEW
    """Whether it is a discovery, the same as a better one, known, or misses the requirement."""
    vibrations: Answer | None = None
    """How many of its modes are imaginary, where it was among the finalists."""
    dynamics: Answer | None = None
    """What became of its simulation, where it was among the finalists and there was time."""

    @property
    def shown(self) -> str:
        """The value as people write it.

        A limit of detection has its sign in front.
        """
        return f"{SIGNS.get(self.censoring, '')}{self.value:.2f}"

    @property
    def hull(self) -> str:
        """Distance from the hull in eV per atom as people write it; empty if unrelaxed."""
        if not self.relaxation:
            return ""
        distance = self.relaxation.get("hull_distance_ev_per_atom")
        bound = "" if self.relaxation.get("hull_bounded", True) else "≥ "
        return "?" if distance is None else f"{bound}{distance:.3f}"

    @property
    def structure(self) -> "Structure | None":
        """Its atoms, read from `cif` each time that it is asked for; None without atoms."""
        from mfal.crystals.reading import parse_structure

        return parse_structure(self.cif, self.crystal.formula) if self.cif else None

    @property
    def fidelity(self) -> int:
        """The highest fidelity that answered."""
        return max(m for m, answer in self.observed.items() if answer.kind == "observed")

    @property
    def relaxation(self) -> dict[str, Any]:
        """What became of its atoms (`RelaxedArrangement.record`); empty if unrelaxed."""
        found = (answer.detail.get("relaxation") for answer in self.observed.values())
        return next(filter(None, found), {})

    @property
    def unrelaxed(self) -> str:
        """Why its atoms were not relaxed where others were; empty where they were."""
        found = (answer.detail.get("unrelaxed") for answer in self.observed.values())
        return next(filter(None, found), "")

    @property
    def arrangement(self) -> dict[str, Any] | None:
        """Its relaxed atoms as the ledger keeps them; None if unrelaxed."""
        found = (answer.detail.get("arrangement") for answer in self.observed.values())
        return next(filter(None, found), None)

    @property
    def motion(self) -> dict[str, Any] | None:
        """What molecular dynamics showed of it, a record of that oracle's; None where none did.

        That of the finalists comes first, then that of the campaign's own oracles.
        """
        from mfal.oracles.dynamics.shown import is_dynamics

        answers = [self.observed[m] for m in sorted(self.observed, reverse=True)]
        for answer in [*([self.dynamics] if self.dynamics else []), *answers]:
            record = answer.detail.get("provenance") or {}
            if answer.value is not None and is_dynamics(record):
                return dict(record)
        return None

    @property
    def known_as(self) -> str:
        """The known crystal that it is; empty where it is new or nobody looked."""
        found = (answer.detail.get("known_as") for answer in self.observed.values())
        return next(filter(None, found), "")

    @property
    def group_of_atoms(self) -> int:
        """The space group that the CIF states, which atoms may raise or lower; 0 without atoms."""
        found = _GROUP.search(self.cif or "")
        return int(found[1]) if found else 0

    @property
    def groups(self) -> str:
        """The proposed space group and, where the atoms have another, theirs: "206 → 221"."""
        own, atoms = self.crystal.space_group, self.group_of_atoms
        return f"{own} → {atoms}" if atoms not in (0, own) else str(own)

    @property
    def values_of_atoms(self) -> dict[int, float]:
        """What each fidelity answered about the very atoms of the CIF, where that is known.

        The arrangements of a crystal are the same for all its oracles, in one order.
        """
        detail = self.observed[self.fidelity].detail
        index, number = detail.get("typical"), len(detail.get("answers", ()))
        found = {}
        for fidelity, answer in self.observed.items():
            values = answer.detail.get("answers", ())
            if index is not None and len(values) == number and values[index] is not None:
                found[fidelity] = float(values[index])
        return found

    @property
    def file_name(self) -> str:
        """Of its CIF; letters, digits and underscores only, whatever the formula holds."""
        formula = "".join(c for c in self.crystal.formula if c.isascii() and c.isalnum())
        return f"{formula[:40]}_{self.crystal.space_group}_{self.crystal.hash[:8]}.cif"


def candidates_html(candidates: Sequence[Candidate], value: str) -> str:
    """The first candidates for notebooks, best first.

    Args:
      candidates: in the order of their ranks.
      value: what their values are, with the unit.
    """
    shown = candidates[:_SHOWN]
    left = len(candidates) - len(shown)
    return html_table(
        ("rank", "formula", "group", value, "±", "basis", "hull, eV/atom", "standing"),
        [
            (
                c.rank,
                c.crystal.formula,
                c.groups,
                c.shown,
                "" if c.std is None else f"{c.std:.2f}",
                c.basis,
                c.hull,
                f"known as {c.known_as}" if c.known_as else c.standing,
            )
            for c in shown
        ],
        caption=f"{len(candidates)} candidates",
        note=f"... and {left} more" if left else "",
    )
