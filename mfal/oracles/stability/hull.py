"""Distance from the convex hull of competing phases, over the table that comes with the package.

    place = hull_distance(-4.71, "Li3PS4")
    place.distance, place.products, place.bounded

The hull at one composition is a linear programme: of all mixtures of known phases that have the
composition, that of lowest energy,

    E_hull(c) = min sum_k x_k E_k   with   sum_k x_k c_k = c ,  x_k >= 0 ,

where c_k are the atomic fractions of phase k, E_k its energy per atom and x_k its share of the
atoms. The distance is the compound's energy per atom less E_hull(c), the compound itself left out:
negative where it lies below all that is known, then by how much it is more stable than them.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mfal.crystals.elements import SYMBOLS
from mfal.crystals.hidden import is_hidden
from mfal.errors import MfalError
from mfal.oracles.stability.types import CompetingPhase

if TYPE_CHECKING:
    from pymatgen.core import Composition

__all__ = ["HullPlace", "competing_phases", "hull_distance", "mixture_of"]

SHARE = 1e-6
"""Share of the atoms below which a product of decomposition is rounding."""


class HullPlace(NamedTuple):
    """Where a compound lies against the hull of others."""

    distance: float
    """eV per atom above the hull of all other phases; negative below it; NaN where the table lacks
    one of its elements."""
    products: dict[str, float]
    """Formulas of the mixture it competes with, to their shares of the atoms."""
    bounded: bool
    """Whether the table holds the competing phases that one expects
    (`mfal.oracles.stability.coverage`); else the distance is a lower bound."""
    lacking: tuple[str, ...]
    """What the table lacks, in words."""


@lru_cache(maxsize=4)
def competing_phases(hide: tuple[str, ...] = ()) -> tuple[CompetingPhase, ...]:
    """The table that comes with the package: CHGNet's energies of elements and compounds.

    Args:
      hide: formulas whose phases are left out.
    """
    from mfal.oracles.stability.phases import read_phases

    if hide:
        return tuple(phase for phase in competing_phases() if not is_hidden(phase.amounts, hide))
    return read_phases(files("mfal.oracles.stability") / "tables" / "competing_phases.csv")


def hull_distance(
    energy_per_atom: float,
    composition: "Composition | Mapping[str, float] | str",
    phases: Sequence[CompetingPhase] | None = None,
    *,
    without: Collection[str] = (),
) -> HullPlace:
    """Where a compound lies against the hull of all other phases.

    Args:
      energy_per_atom: eV, relaxed, by the potential that gave the phases' energies.
      composition: of the compound.
      phases: its competitors; by default the table that comes with the package.
      without: keys of phases to leave out, such as the compound's own.

    Raises:
      MfalError: a composition that isn't one, or an energy that isn't finite.
    """
    from pymatgen.core import Composition

    from mfal.oracles.stability.coverage import missing_phases

    if not math.isfinite(energy_per_atom):
        raise MfalError(f"an energy of {energy_per_atom} eV per atom", "give a finite energy")
    amounts = _amounts(composition)
    known = _within(competing_phases() if phases is None else phases, set(amounts), without)
    alone = {next(iter(phase.amounts)) for phase in known if len(phase.amounts) == 1}
    lacking = tuple(f"the element {symbol}" for symbol in sorted(set(amounts) - alone))
    if lacking:
        return HullPlace(math.nan, {}, False, lacking)
    shares = mixture_of(amounts, known)
    energy = sum(share * known[index].energy for index, share in shares.items())
    products: dict[str, float] = {}
    for index, share in sorted(shares.items(), key=lambda item: -item[1]):
        formula = known[index].formula
        products[formula] = round(products.get(formula, 0.0) + share, 6)
    compounds = {phase.formula: phase.amounts for phase in known}.values()
    lacking = missing_phases(
        Composition(dict(amounts)),
        map(Composition, map(dict, compounds)),
        "reduction",
        itself=False,
    )
    return HullPlace(energy_per_atom - energy, products, not lacking, lacking)


def mixture_of(amounts: Mapping[str, float], phases: Sequence[CompetingPhase]) -> dict[int, float]:
    """The mixture of phases of lowest energy with a composition: index to share of the atoms.

    Raises:
      MfalError: no mixture has the composition.
    """
    from scipy.optimize import linprog

    elements = sorted(amounts)
    total = sum(amounts.values())
    fractions = np.array(
        [[phase.amounts.get(e, 0.0) for phase in phases] for e in elements], dtype=float
    )
    fractions /= fractions.sum(0)
    wanted = np.array([amounts[e] / total for e in elements])
    energies = np.array([phase.energy for phase in phases])
    found = linprog(energies, A_eq=fractions, b_eq=wanted, bounds=(0, None), method="highs")
    if found.x is None:
        raise MfalError(
            f"no mixture of the phases given has the composition {'-'.join(elements)}",
            "give the elements' energies too",
        )
    return {int(k): float(found.x[k]) for k in np.flatnonzero(found.x > SHARE)}


def _within(
    phases: Sequence[CompetingPhase], elements: set[str], without: Collection[str]
) -> list[CompetingPhase]:
    return [
        phase for phase in phases if phase.amounts.keys() <= elements and phase.key not in without
    ]


def _amounts(composition: "Composition | Mapping[str, float] | str") -> dict[str, float]:
    from pymatgen.core import Composition

    try:
        plain = Composition(composition).element_composition
    except (ValueError, KeyError, TypeError) as error:
        raise MfalError(f"{composition}: not a formula", "write it as Li3PS4") from error
    amounts = {element.symbol: float(amount) for element, amount in plain.items()}
    if not amounts or not set(amounts) <= set(SYMBOLS):
        raise MfalError(f"{composition}: not a formula of elements", "write it as Li3PS4")
    return amounts
