"""Electrochemical stability window against lithium, hull distance and decomposition products.

Zhu, He and Mo, ACS Appl. Mater. Interfaces 7, 23685 (2015), doi:10.1021/acsami.5b07517; Richards
et al., Chem. Mater. 28, 266 (2016), doi:10.1021/acs.chemmater.5b04082. The compound is open to
lithium at the voltage phi against lithium metal:

    mu_Li(phi) = mu_Li(metal) - e phi .

With E(n) the energy of the phase equilibrium of the compound plus n atoms of lithium, a convex
function, the equilibrium at phi minimises E(n) - n mu_Li(phi). So lithium is taken up below the
reduction limit and released above the oxidation limit,

    e phi_red = mu_Li(metal) - dE/dn at 0+ ,    e phi_ox = mu_Li(metal) - dE/dn at 0- ,

and in between nothing happens. A compound above the convex hull is lowered to it: its window then
is the one of the phases that it decomposes to, and the distance is reported.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pymatgen.analysis.phase_diagram import PhaseDiagram
from pymatgen.core import Composition, Element
from pymatgen.entries.computed_entries import ComputedEntry

from mfal.errors import MfalError
from mfal.oracles.stability.coverage import Limit, missing_phases
from mfal.oracles.stability.energies import Energies, chemical_system
from mfal.oracles.types import Observation, Oracle

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = [
    "StabilityWindow",
    "equilibrium_window",
    "first_bounded_window",
    "stability_oracle",
    "stability_window",
]

LITHIUM = Element("Li")
BOTH: tuple[Limit, ...] = ("reduction", "oxidation")
NO_EVOLUTION = 1e-4
"""Lithium atoms per formula unit below which a phase field counts as inert."""
STEP = 1e-3
"""Lithium atoms per atom of the compound, for the slopes of E(n), which is piecewise linear."""
AGREEMENT = 1e-3
"""V, between the two ways to a limit; they differ by rounding only."""
WIDEST = 7.0
"""V; beyond fluorine's potential against lithium nothing is measured."""
FARTHEST = 5.0
"""eV per atom from the hull; what lies farther is no compound."""


class StabilityWindow(NamedTuple):
    """What the energies say about one compound against lithium."""

    formula: str
    reduction: float | None
    """V against lithium metal, below which it takes up lithium; 0 if it withstands the metal; None
    if it wasn't asked for."""
    oxidation: float | None
    """V, above which it releases lithium; infinite without lithium; None if it wasn't asked for."""
    hull_distance: float
    """eV per atom above the convex hull, 0 where stable; NaN where the compound's own energy isn't
    known."""
    decomposition: dict[str, float]
    """Phases at equilibrium to atomic fractions; the compound itself where stable."""
    reduced_to: str | None
    """Reaction just below the reduction limit."""
    oxidised_to: str | None
    """Reaction just above the oxidation limit."""
    source: str

    @property
    def width(self) -> float:
        """V between the limits; NaN if one wasn't asked for."""
        if self.reduction is None or self.oxidation is None:
            return math.nan
        return self.oxidation - self.reduction


def stability_window(
    compound: Composition | str,
    energies: Energies,
    *,
    candidate: ComputedEntry | None = None,
    limits: Sequence[Limit] = BOTH,
) -> StabilityWindow:
    """The window in which a compound neither takes up nor releases lithium.

    Args:
      compound: its formula.
      energies: of the compound and its competitors, from one source.
      candidate: the compound's own energy, on the scale of `energies`, if the table lacks it or
        knows another structure; the hull distance then is this one's.
      limits: which ends of the window to find; each needs other competing phases.

    Raises:
      MfalError: the table can't bound a limit that was asked for; the message says what it lacks.
    """
    composition = _composition(compound)
    diagram, entries = _diagram(composition, energies, candidate, limits)
    own = candidate or _lowest(composition, entries)
    phases, distance = diagram.get_decomp_and_e_above_hull(own)
    window = _window(diagram, composition, phases or {}, limits, energies.source)
    return window._replace(hull_distance=max(0.0, float(distance or 0.0)))


def equilibrium_window(
    compound: Composition | str, energies: Energies, *, limits: Sequence[Limit] = BOTH
) -> StabilityWindow:
    """The window of a compound whose own energy isn't known: that of the phases it would become.

    It is the compound's own if that is on the hull of the known phases or above it. A compound
    below it has a wider window: adding it leaves E(n) where it was beyond some n > 0 and lowers
    E(0), so that dE/dn at 0+ grows and the reduction limit falls; in the same way the oxidation
    limit rises. So nothing that is promised here is lost when the energy becomes known. The hull
    distance is NaN. Arguments and errors as in `stability_window`, but for the compound's energy.
    """
    composition = _composition(compound)
    diagram, _ = _diagram(composition, energies, None, limits, itself=False)
    return _window(
        diagram, composition, diagram.get_decomposition(composition), limits, energies.source
    )


def first_bounded_window(
    compound: Composition | str,
    sources: Sequence[Energies],
    *,
    limits: Sequence[Limit] = BOTH,
    itself: bool = True,
) -> StabilityWindow:
    """The window by the first source that can bound it; every limit comes from that one source.

    Args:
      compound: its formula.
      sources: the most trusted first.
      limits: which ends of the window to find.
      itself: whether the compound's own energy must be known. If not, and no source has it, the
        first source that can gives the `equilibrium_window`.

    Raises:
      MfalError: no source can; the message is the first one's, since sources go by trust.
    """
    refusals: list[MfalError] = []
    for find in (stability_window,) if itself else (stability_window, equilibrium_window):
        for energies in sources:
            try:
                return find(compound, energies, limits=limits)
            except MfalError as error:
                refusals.append(error)
    if not refusals:
        raise MfalError(f"{compound}: no source of energies", "give at least one")
    raise refusals[0 if itself else len(sources)]


def stability_oracle(
    energies: Energies | Sequence[Energies],
    *,
    quantity: Literal["width", "reduction", "oxidation", "hull_distance"] = "width",
    fidelity: int = 0,
    cost: float = 0.01,
    entry_of: "Callable[[Structure], ComputedEntry] | None" = None,
) -> Oracle:
    """The window as an oracle, for a second objective or a constraint beside the conductivity.

    Args:
      energies: the competing phases; of several sources the first that can bound the window.
      quantity: the value: the window's width, one of its ends (a low reduction limit is good), or
        the distance from the hull. A campaign's requirement on stability reads the whole window
        from the provenance, whichever of "width" and "hull_distance" is the value.
      fidelity: the oracle's rank.
      cost: CPU s of one evaluation.
      entry_of: energy of a structure on the scale of `energies`, for compounds that the table lacks
        (`mfal.oracles.stability.potential_energy.entry_from_calculator`); then the structure
        counts, not only its formula.
    """
    limits: tuple[Limit, ...] = (
        (quantity,) if quantity == "reduction" or quantity == "oxidation" else BOTH
    )
    sources = (energies,) if isinstance(energies, Energies) else tuple(energies)
    if entry_of is not None and len(sources) != 1:
        raise MfalError("structures' energies need competitors of one source", "give one source")
    names = "; ".join(source.source for source in sources)

    def answer(structure: "Structure") -> Observation:
        start = time.perf_counter()
        provenance: dict[str, Any] = {"source": names, "quantity": quantity}
        try:
            if entry_of is None:
                window = first_bounded_window(structure.composition, sources, limits=limits)
            else:
                window = stability_window(
                    structure.composition, sources[0], candidate=entry_of(structure), limits=limits
                )
        except Exception as error:  # one structure's failure is its observation
            seconds = time.perf_counter() - start
            return Observation(math.nan, None, f"failed: {error}", seconds, provenance)
        provenance |= window._asdict()
        value = float(getattr(window, quantity))
        return Observation(value, None, "ok", time.perf_counter() - start, provenance)

    def evaluate(structures: "Sequence[Structure]") -> list[Observation]:
        return [answer(structure) for structure in structures]

    distance = quantity == "hull_distance"
    return Oracle(
        name=quantity if distance else f"window_{quantity}",
        version=f"1:{names}",
        fidelity=fidelity,
        cost=cost,
        unit="eV/atom" if distance else "V",
        higher_is_better=quantity in ("width", "oxidation"),
        bounds=(0.0, FARTHEST if distance else WIDEST),
        evaluate=evaluate,
    )


def _window(
    diagram: PhaseDiagram,
    composition: Composition,
    phases: Mapping[Any, float],
    limits: Sequence[Limit],
    source: str,
) -> StabilityWindow:
    reduction, oxidation, below, above = _limits(diagram, composition)
    return StabilityWindow(
        formula=composition.reduced_formula,
        reduction=reduction if "reduction" in limits else None,
        oxidation=oxidation if "oxidation" in limits else None,
        hull_distance=math.nan,
        decomposition={
            phase.composition.reduced_formula: round(float(share), 6)
            for phase, share in phases.items()
        },
        reduced_to=below if "reduction" in limits else None,
        oxidised_to=above if "oxidation" in limits else None,
        source=source,
    )


def _composition(compound: Composition | str) -> Composition:
    try:
        composition = Composition(compound)
    except (ValueError, KeyError) as error:
        raise MfalError(f"{compound}: not a formula", "write it as Li3PS4") from error
    composition = composition.element_composition
    unknown = [str(e) for e in composition.elements if not isinstance(e, Element)]
    if not composition or unknown:
        raise MfalError(
            f"{compound}: not a formula of elements {' '.join(unknown)}".rstrip(),
            "write it as Li3PS4",
        )
    return composition.reduced_composition


def _diagram(
    composition: Composition,
    energies: Energies,
    candidate: ComputedEntry | None,
    limits: Sequence[Limit],
    itself: bool = True,
) -> tuple[PhaseDiagram, list[ComputedEntry]]:
    elements = {"Li"} | {element.symbol for element in composition.elements}
    entries = list(chemical_system(energies, elements))
    if candidate is not None:
        if candidate.composition.reduced_formula != composition.reduced_formula:
            raise MfalError(
                f"{composition.reduced_formula}: the energy given is of "
                f"{candidate.composition.reduced_formula}",
                "give the compound's own",
            )
        entries.append(candidate)
    known = [entry.composition for entry in entries]
    alone = {compound.elements[0].symbol for compound in known if len(compound) == 1}
    lacking = [f"the element {symbol}" for symbol in sorted(elements - alone)]
    if not lacking and energies.exhaustive:
        formulas = {compound.reduced_formula for compound in known}
        if itself and composition.reduced_formula not in formulas:
            lacking = [f"the energy of {composition.reduced_formula} itself"]
    elif not lacking:
        for limit in limits:
            missing = missing_phases(composition, known, limit, itself=itself)
            lacking += [phase for phase in missing if phase not in lacking]
    if lacking:
        wanted = " and ".join(limits)
        raise MfalError(
            f"{composition.reduced_formula}: its {wanted} limit can't be bounded by "
            f"{energies.source}, which lacks {', '.join(lacking)}",
            "give a JSON file of entries, a Materials Project key or an interatomic potential",
        )
    return PhaseDiagram(entries), entries


def _lowest(composition: Composition, entries: Sequence[ComputedEntry]) -> ComputedEntry:
    own = [
        entry
        for entry in entries
        if entry.composition.reduced_formula == composition.reduced_formula
    ]
    return min(own, key=lambda entry: entry.energy_per_atom)


def _limits(
    diagram: PhaseDiagram, composition: Composition
) -> tuple[float, float, str | None, str | None]:
    """Both limits by the slopes of E(n), checked against pymatgen's element profile."""
    metal = diagram.el_refs[LITHIUM].energy_per_atom
    reduction, oxidation = _slopes(diagram, composition, metal)
    profile = diagram.get_element_profile(LITHIUM, composition)
    # Each row of the profile carries the low end of its field, and lithium taken up in it.
    fields = [
        (metal - float(row["chempot"]), float(row["evolution"]), row["reaction"]) for row in profile
    ]
    fields.sort(key=lambda field: field[0])
    inert = [i for i, (_, evolution, _) in enumerate(fields) if abs(evolution) < NO_EVOLUTION]
    if inert:
        first = inert[0]
        edges = (fields[first][0], *(v for v, _, _ in fields[first + 1 : first + 2]))
        expected = (reduction, oxidation)[: len(edges)]
        if any(abs(max(0.0, a) - b) > AGREEMENT for a, b in zip(edges, expected, strict=True)):
            raise MfalError(
                f"{composition.reduced_formula}: two ways to its window disagree "
                f"({edges} and {expected} V)",
                "check the energies for two entries of one composition",
            )
    takes_up = [reaction for _, evolution, reaction in fields if evolution > NO_EVOLUTION]
    releases = [reaction for _, evolution, reaction in fields if evolution < -NO_EVOLUTION]
    below = str(takes_up[-1]) if takes_up and reduction > 0 else None
    return reduction, oxidation, below, str(releases[0]) if releases else None


def _slopes(diagram: PhaseDiagram, composition: Composition, metal: float) -> tuple[float, float]:
    lithium = float(composition[LITHIUM])
    step = STEP * composition.num_atoms
    here = float(diagram.get_hull_energy(composition))
    more = composition + Composition({LITHIUM: step})
    reduction = metal - (float(diagram.get_hull_energy(more)) - here) / step
    if lithium == 0:
        return _volts(reduction), math.inf
    step = min(step, lithium / 2)
    less = composition - Composition({LITHIUM: step})
    oxidation = metal - (here - float(diagram.get_hull_energy(less))) / step
    return _volts(reduction), _volts(oxidation)


def _volts(slope: float) -> float:
    # The metal is a phase of every diagram, so only the hull's rounding makes slopes negative.
    return max(0.0, round(slope, 6))
