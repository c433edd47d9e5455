"""Which conductors `rediscovery.py` hides, and what is known of them.

1. Of the five that one would name first (`NAMED`) those of which the embedded table has an ordered
   structure of at most `LARGEST` atoms in the conventional cell; where it is larger than the
   largest of the default space (36), the limit is raised to it.
2. Then the other ordered crystals of the embedded table that fit into the default space (36 atoms,
   its groups), hold three elements or more (of two, neutrality leaves no choice of the formula) and
   have a measured conductivity of 1e-7 S/cm or more, by falling conductivity.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from pymatgen.core import Structure

from mfal.campaign.config import COMMON_GROUPS, COMMON_MAX_ATOMS, CampaignConfig, SpaceConfig
from mfal.campaign.ledger.crystals import known_record, plain_structure, structure_of
from mfal.campaign.problem import make_problem, make_spec
from mfal.campaign.strategy.belief import BUCKET
from mfal.campaign.strategy.exchanges import crystal_of, exchanged_crystals
from mfal.campaign.strategy.questions import uniform_states
from mfal.crystals.elements import SYMBOLS
from mfal.crystals.hidden import is_hidden
from mfal.crystals.structures import standard_setting
from mfal.data import Material, known_crystals, load_embedded
from mfal.data.table import CONDUCTIVITY
from mfal.envs.crystal.validity import violations
from mfal.oracles import default_oracles
from mfal.oracles.loading import ask_oracle
from mfal.oracles.stability.arrangements import lowest_arrangement
from mfal.oracles.stability.hull import competing_phases, hull_distance

__all__ = ["DRAWS", "Conductor", "by_the_target", "conductors", "facts"]

NAMED = ("Li3OCl", "Li3YCl6", "Li6PS5Cl", "LiTi2(PO4)3", "Li10GeP2S12")
LARGEST = 60  # atoms; LiTi2(PO4)3 has 108, in a space whose crystals take minutes each to relax
LEAST = 1e-7  # S/cm
DRAWS = 1 << 13  # random legal crystals among which the conductor is looked for


class Conductor(NamedTuple):
    """A compound to be found again."""

    formula: str
    row: str
    """Id of its crystal in the embedded table."""
    conductivity: float | None
    """S/cm, the largest measured; None where the table has none."""
    space: SpaceConfig


# --- which ----------------------------------------------------------------------------------------


def conductors() -> list[Conductor]:
    """The conductors of the rule above, in its order."""
    rows = [row for row in load_embedded() if ordered(row) is not None]
    found: dict[str, Conductor] = {}
    for formula in NAMED:
        own = [row for row in rows if is_hidden(row.formula, [formula])]
        if own and sum(own[0].composition.values()) <= LARGEST:
            found[formula] = conductor(formula, own[0])
    for row in sorted(rows, key=lambda row: -(measured(row) or 0.0)):
        if any(is_hidden(row.formula, [formula]) for formula in (*NAMED, *found)):
            continue
        fits = row.space_group_number in COMMON_GROUPS and len(row.composition) > 2
        fits &= sum(row.composition.values()) <= COMMON_MAX_ATOMS
        if fits and (measured(row) or 0.0) >= LEAST:
            found[row.formula] = conductor(row.formula, row)
    return list(found.values())


def conductor(formula: str, row: Material) -> Conductor:
    """With the space of its elements, no smaller than the default one."""
    space = SpaceConfig(
        elements=tuple(row.composition),
        max_atoms=max(COMMON_MAX_ATOMS, round(sum(row.composition.values()))),
    )
    return Conductor(formula, row.id, measured(row), space)


def measured(row: Material) -> float | None:
    """The largest exact conductivity of a row, S/cm."""
    exact = [x.value for x in row.labels if x.quantity == CONDUCTIVITY and x.censoring == "exact"]
    return max(exact, default=None)


def ordered(row: Material) -> Structure | None:
    """The structure of a row if it has one without disorder."""
    table = load_embedded()
    structure = table.structure(table.index(row.id))
    return structure if structure is not None and structure.is_ordered else None


# --- what is known of it --------------------------------------------------------------------------


def facts(one: Conductor) -> dict[str, Any]:
    """Its crystals, relaxed, and how easily a search could come upon it."""
    problem = make_problem(one.space, CampaignConfig().oracles, hide=(one.formula,))
    table = load_embedded()
    structure = table.structure(table.index(one.row))
    assert structure is not None
    record = known_record(structure, one.row)
    crystal = crystal_of(record.composition, record.space_group, np.array(record.lattice))
    alike = [
        other.id
        for other in table.without([one.formula])
        if other.space_group_number == record.space_group
        and sorted(other.composition.values()) == sorted(record.composition.values())
        and ordered(other) is not None
    ]
    children = exchanged_crystals(problem, one.space)
    places = [
        place
        for place, child in enumerate(children)
        if is_hidden(child.composition, [one.formula]) and child.space_group == record.space_group
    ]
    return {
        "row": one.row,
        "space_group": record.space_group,
        "atoms": round(sum(record.composition.values())),
        "conductivity": one.conductivity,
        "outside": violations(make_spec(one.space), crystal, record.oxidation_states),
        "prototypes": alike,
        "exchanges": len(children),
        "exchange": places[0] + 1 if places else None,
        "random": drawn_at_random(one, record.space_group),
        "crystals": relaxed_crystals(one),
    }


def relaxed_crystals(one: Conductor) -> list[dict[str, Any]]:
    """All ordered crystals of its formula in the tables, relaxed, on the hull of the others."""
    tables = known_crystals()
    found = []
    for formula, rows in tables.rows.items():
        if not is_hidden(formula, [one.formula]):
            continue
        for table, row in rows:
            structure = tables.tables[table].structure(row)
            if structure is None or not structure.is_ordered:
                continue
            relaxed = lowest_arrangement([structure.copy().remove_oxidation_states()])
            composition = relaxed.structure.composition
            place = hull_distance(relaxed.energy, composition, competing_phases((one.formula,)))
            found.append(
                {
                    "id": tables.tables[table].ids[row],
                    "space_group": relaxed.space_group_after,
                    "energy": relaxed.energy,
                    "converged": relaxed.converged,
                    "survived": relaxed.survived,
                    "hull_distance": place.distance,
                    "bounded": place.bounded,
                    "arrangement": plain_structure(relaxed.structure),
                }
            )
    return found


def by_the_target(crystals: Sequence[dict[str, Any]], row: str) -> float | None:
    """What a campaign would hear of the conductor: the target's answer, log10 S/cm; None if none.

    Args:
      crystals: as `relaxed_crystals` gives them.
      row: which of them is asked about.
    """
    (atoms,) = [each["arrangement"] for each in crystals if each["id"] == row]
    (answer,) = ask_oracle(default_oracles()[-1], [standard_setting(structure_of(atoms))])
    return answer.value if answer.ok else None


def drawn_at_random(one: Conductor, space_group: int) -> dict[str, int]:
    """How many of `DRAWS` random legal crystals have its formula, and its group too."""
    problem = make_problem(one.space, CampaignConfig().oracles, hide=(one.formula,))
    to_crystals = jax.jit(jax.vmap(problem.to_crystal))
    same, both = 0, 0
    for number in range(DRAWS // BUCKET):
        crystals = to_crystals(uniform_states(problem)(jax.random.key(number), BUCKET))
        groups = np.asarray(crystals.space_group_number)
        for counts, group in zip(np.asarray(crystals.composition), groups, strict=True):
            amounts = {SYMBOLS[i]: float(counts[i]) for i in np.flatnonzero(counts)}
            if is_hidden(amounts, [one.formula]):
                same += 1
                both += int(group == space_group)
    return {"formula": same, "formula_and_group": both}
