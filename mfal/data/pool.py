"""Hypothetical lithium compounds by exchanging ions in known crystals.

An ion is exchanged for another of the same charge wherever the statistics of known structures make
that likely: Hautier et al., Inorg. Chem. 50, 656 (2011), doi:10.1021/ic102031h, gives the
probability p(new | old), whose parameters pymatgen carries. The charge balance of the parent is
thus kept. Positions stay in place in fractions of the cell; the cell is scaled so that bonds are as
long, against the sum of Shannon's radii, as in the parent (`_scale_factor`).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mfal.crystals.elements import atomic_number, ionic_radius
from mfal.data.asymmetric import AsymmetricUnit, build_structure
from mfal.data.table import Material, MaterialTable
from mfal.errors import MfalError

__all__ = [
    "PoolConfig",
    "exchanged",
    "lattice_errors",
    "make_pool",
    "substitutes",
]

LITHIUM = ("Li", 1.0)
RADIOACTIVE = (
    *("Tc", "Pm", "Po", "At", "Rn", "Fr", "Ra", "Ac"),
    *("Th", "Pa", "U", "Np", "Pu", "Am", "Cm", "Bk", "Cf"),
)
NOBLE = ("He", "Ne", "Ar", "Kr", "Xe")
FIRST_SHELL = 1.3
"""Bonds up to this multiple of a site's shortest one belong to its first shell."""
SHELL_CUTOFF = 6.0
"""Å within which neighbours are looked for."""
SCALES = (0.7, 1.45)
"""Cells whose lengths change by more are dropped: such exchanges leave the structure type."""

Ion = tuple[str, float]
"""Element and charge, e."""


@dataclasses.dataclass(frozen=True)
class PoolConfig:
    """Which exchanges are made."""

    threshold: float = 3e-4
    """Least product of the conditional probabilities of a compound's exchanges."""
    max_exchanges: int = 2
    """Most kinds of ions exchanged at a time."""
    exclude: tuple[str, ...] = RADIOACTIVE + NOBLE
    """Elements never put in."""
    max_sites: int = 200
    """Parents with more atoms in the conventional cell are left out."""
    ordered_only: bool = True
    """Leave out parents with partly occupied sites."""
    limit: int | None = None
    """Keep at most this many, the most probable ones."""


def make_pool(parents: MaterialTable, config: PoolConfig | None = None) -> MaterialTable:
    """All likely exchanges in the parents' crystals, none known, none twice.

    Compounds that match one of the parents are left out, and so are all but the most probable of
    those that match each other (same composition, same arrangement by pymatgen's
    `StructureMatcher`). The result depends on nothing but the arguments; the order is by falling
    probability, then id.

    Args:
      parents: lithium compounds, or compounds with another monovalent cation for which lithium is
        then put in; those without atoms are passed over.
      config: which exchanges are made.

    Returns:
      A table whose `details` hold `hypothetical` (True), `parent`, `exchange`, `probability`.

    Raises:
      MfalError: when no parent has atoms that can be used.
    """
    config = config or PoolConfig()
    usable = [row for row in parents if _is_usable(row, config)]
    if not usable:
        raise MfalError(
            "no parent with atoms, lithium or another monovalent cation",
            "give a table with structures, such as the embedded one",
        )
    children = sorted(
        (child for row in usable for child in _exchanges(row, config)),
        key=lambda child: (-child.details["probability"], child.id),
    )
    return MaterialTable.from_rows(itertools.islice(_distinct(usable, children), config.limit))


def lattice_errors(known: MaterialTable, config: PoolConfig | None = None) -> np.ndarray:
    """Relative errors of predicted lattices, each compound's own entry left out.

    Every known compound that an exchange in another one reproduces (same composition and
    arrangement) is predicted from its most probable parent.

    Returns:
      [m] mean over a, b, c of |predicted / known - 1|, one a compound.
    """
    config = dataclasses.replace(config or PoolConfig(), limit=None)
    usable = [row for row in known if _is_usable(row, config)]
    keys = defaultdict(list)
    for row in usable:
        keys[_key(row)].append(row)
    best: dict[str, tuple[float, Material]] = {}
    for parent in usable:
        for child in _exchanges(parent, config, wanted=set(keys)):
            for row in keys[_key(child)]:
                probability = child.details["probability"]
                if row.id == parent.id or best.get(row.id, (0.0,))[0] >= probability:
                    continue
                if row.details.get("kind") == parent.details.get("kind") and _match(row, child):
                    best[row.id] = (probability, child)
    lattices = {row.id: np.array(row.lattice[:3]) for row in usable}
    return np.array(
        [
            np.abs(np.sort(child.lattice[:3]) / np.sort(lattices[i]) - 1).mean()
            for i, (_, child) in sorted(best.items())
        ]
    )


def exchanged(unit: AsymmetricUnit, exchange: Mapping[Ion, Ion]) -> AsymmetricUnit:
    """A crystal with ions exchanged for others of their charge, and its cell scaled."""
    return _scaled(_substituted(unit, exchange), _scale_factor(_bonds(unit), exchange))


def substitutes(ion: Ion, exclude: tuple[str, ...] = ()) -> list[tuple[Ion, float]]:
    """Ions of the same charge that may take an ion's place, with p(new | old), falling.

    Empty for ions that the statistics don't cover.
    """
    return [(new, p) for new, p in _substitutes(ion) if new[0] not in exclude]


def _scale_factor(bonds: Sequence[tuple[Ion, Ion]], exchange: Mapping[Ion, Ion]) -> float:
    """The factor by which the parent's lengths are multiplied.

    The mean over first-shell bonds between cations and anions of the ratio of radii,

        s = mean((r'_cation + r'_anion) / (r_cation + r_anion)),

    with Shannon's radii of the parent (r) and the child (r'): each bond keeps its length in units
    of the sum of its ions' radii, on the average. (Medians, less sensitive to odd bonds, miss the
    exchange of a minority ion altogether, and predict known lattices worse.)
    """
    ratios = _radii(bonds, exchange) / _radii(bonds, {})
    return round(float(ratios.mean()), 6)


def _radii(bonds: Sequence[tuple[Ion, Ion]], exchange: Mapping[Ion, Ion]) -> np.ndarray:
    return np.array([sum(_radius(exchange.get(ion, ion)) for ion in bond) for bond in bonds])


@functools.cache
def _radius(ion: Ion) -> float:
    return ionic_radius(*ion)


def _bonds(unit: AsymmetricUnit) -> list[tuple[Ion, Ion]]:
    """Kinds of first-shell bonds (cation, anion), once for each site that has them."""
    structure = build_structure(unit)
    first = np.cumsum([0, *(site.multiplicity for site in unit.sites)])[:-1]
    ions = [_ions(site.species) for site in structure]
    bonds: set[tuple[int, Ion, Ion]] = set()
    neighbours = structure.get_all_neighbors(SHELL_CUTOFF, sites=[structure[i] for i in first])
    for index, around in zip(first, neighbours, strict=True):
        for ion in ions[index]:
            opposite = [
                (near.nn_distance, other)
                for near in around
                for other in ions[near.index]
                if other[1] * ion[1] < 0
            ]
            nearest = min((distance for distance, _ in opposite), default=0.0)
            for distance, other in opposite:
                if distance <= FIRST_SHELL * nearest:
                    cation, anion = (ion, other) if ion[1] > 0 else (other, ion)
                    bonds.add((int(index), cation, anion))
    return [(cation, anion) for _, cation, anion in sorted(bonds)]


def _ions(species: Any) -> list[Ion]:
    return [(ion.symbol, float(ion.oxi_state)) for ion in species]


@functools.cache
def _substitutes(ion: Ion) -> list[tuple[Ion, float]]:
    statistics = _statistics()
    old = next((s for s in statistics.species if (s.symbol, float(s.oxi_state)) == ion), None)
    if old is None:
        return []
    found = [
        ((new.symbol, float(new.oxi_state)), float(statistics.cond_prob(new, old)))
        for new in statistics.species
        if new.oxi_state == old.oxi_state and new != old
    ]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))


@functools.cache
def _statistics() -> Any:
    from pymatgen.analysis.structure_prediction.substitution_probability import (
        SubstitutionProbability,
    )

    return SubstitutionProbability()


def _is_usable(row: Material, config: PoolConfig) -> bool:
    unit = row.structure
    if not isinstance(unit, AsymmetricUnit):
        return False
    ordered = all(len(site.occupants) == 1 and site.occupants[0][2] == 1 for site in unit.sites)
    return (
        sum(site.multiplicity for site in unit.sites) <= config.max_sites
        and (ordered or not config.ordered_only)
        and any(o.oxidation_state == 1 for site in unit.sites for o in site.occupants)
    )


def _exchanges(
    parent: Material, config: PoolConfig, wanted: set[Any] | None = None
) -> Iterator[Material]:
    """All likely children of a parent; with `wanted`, only those whose key is in it."""
    unit = parent.structure
    assert isinstance(unit, AsymmetricUnit)
    ions = sorted({(o.element, o.oxidation_state) for site in unit.sites for o in site.occupants})
    bonds = None
    options: dict[Ion, list[tuple[Ion, float]]] = {
        ion: [x for x in substitutes(ion, config.exclude) if x[0] != LITHIUM and x[0] not in ions]
        for ion in ions
        if ion != LITHIUM
    }
    forced: list[Ion] = []
    if LITHIUM not in ions:
        # Lithium takes the place of the likeliest monovalent cation.
        monovalent = [(p, ion) for ion in ions for new, p in substitutes(ion) if new == LITHIUM]
        if not monovalent:
            return
        probability, forced_ion = max(monovalent)
        options[forced_ion] = [(LITHIUM, probability)]
        forced = [forced_ion]
    for count in range(1, config.max_exchanges + 1):
        for chosen in itertools.combinations(options, count):
            if not set(forced) <= set(chosen):
                continue
            for picks in itertools.product(*(options[ion] for ion in chosen)):
                probability = math.prod(p for _, p in picks)
                news = [new for new, _ in picks]
                if probability < config.threshold or len(set(news)) < len(news):
                    continue
                exchange = dict(zip(chosen, news, strict=True))
                child = _substituted(unit, exchange)
                if not _is_plausible(child):
                    continue
                if wanted is not None and _unit_key(child) not in wanted:
                    continue
                bonds = bonds or _bonds(unit)
                scale = _scale_factor(bonds, exchange)
                if SCALES[0] < scale < SCALES[1]:
                    yield _material(parent, child, exchange, scale, probability)


def _is_plausible(unit: AsymmetricUnit) -> bool:
    """Whether the anions are the most electronegative ions, by charge and Pauling's scale."""
    from mfal.crystals.elements import ELECTRONEGATIVITY

    ions = {(o.element, o.oxidation_state) for site in unit.sites for o in site.occupants}
    anions = [ELECTRONEGATIVITY[atomic_number(e) - 1] for e, q in ions if q < 0]
    cations = [ELECTRONEGATIVITY[atomic_number(e) - 1] for e, q in ions if q > 0 and e != "H"]
    return not anions or not cations or max(cations) <= max(anions)


def _substituted(unit: AsymmetricUnit, exchange: Mapping[Ion, Ion]) -> AsymmetricUnit:
    sites = []
    for site in unit.sites:
        occupants = tuple(
            o._replace(element=exchange.get((o.element, o.oxidation_state), (o.element,))[0])
            for o in site.occupants
        )
        sites.append(site._replace(occupants=occupants))
    return unit._replace(sites=tuple(sites))


def _material(
    parent: Material,
    unit: AsymmetricUnit,
    exchange: Mapping[Ion, Ion],
    scale: float,
    probability: float,
) -> Material:
    from pymatgen.core import Composition

    unit = _scaled(unit, scale)
    changes = ", ".join(f"{_name(old)} -> {_name(new)}" for old, new in sorted(exchange.items()))
    news = "-".join(new[0] for _, new in sorted(exchange.items()))
    olds = "-".join(old[0] for old in sorted(exchange))
    formula = Composition(unit.composition).reduced_formula
    return Material(
        id=f"hyp-{parent.id}-{olds}-{news}",
        formula=formula,
        composition=unit.composition,
        space_group_number=unit.space_group_number,
        lattice=unit.lattice,
        source=f"exchange of ions in {parent.id} ({parent.source})",
        licence=parent.licence,
        group=formula,
        structure=unit,
        details={
            "hypothetical": True,
            "parent": parent.id,
            "exchange": changes,
            "probability": round(probability, 6),
            "scale": scale,
            "kind": parent.details.get("kind", ""),
        },
    )


def _scaled(unit: AsymmetricUnit, scale: float) -> AsymmetricUnit:
    lengths = tuple(round(x * scale, 5) for x in unit.lattice[:3])
    return unit._replace(lattice=lengths + unit.lattice[3:])


def _name(ion: Ion) -> str:
    return f"{ion[0]}{abs(ion[1]):g}{'+' if ion[1] > 0 else '-'}"


def _distinct(known: list[Material], children: list[Material]) -> Iterator[Material]:
    """The children that match neither a known compound nor an earlier child."""
    buckets: dict[Any, list[Material]] = defaultdict(list)
    for row in known:
        buckets[_key(row)].append(row)
    for child in children:
        bucket = buckets[_key(child)]
        if not any(_match(child, other) for other in bucket):
            bucket.append(child)
            yield child


def _key(row: Material) -> Any:
    assert isinstance(row.structure, AsymmetricUnit)
    return _unit_key(row.structure)


def _unit_key(unit: AsymmetricUnit) -> Any:
    """What two matching crystals share: group and amounts of the elements in the cell."""
    amounts = tuple(sorted((e, round(x, 3)) for e, x in unit.composition.items()))
    return unit.space_group_number, amounts


@functools.cache
def _matcher() -> Any:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    return StructureMatcher(primitive_cell=True, scale=True, attempt_supercell=False)


def _match(a: Material, b: Material) -> bool:
    """Whether two compounds are one crystal, up to scale."""
    assert isinstance(a.structure, AsymmetricUnit)
    assert isinstance(b.structure, AsymmetricUnit)
    if _arrangement(a.structure) == _arrangement(b.structure):
        return True
    units = (a.structure, b.structure)
    structures = [build_structure(unit).remove_oxidation_states() for unit in units]
    return bool(_matcher().fit(*structures))


def _arrangement(unit: AsymmetricUnit) -> Any:
    """Wyckoff positions and coarse coordinates; equal ones need no matching."""
    return sorted(
        (site.wyckoff, site.occupants[0].element, tuple(round(x, 2) for x in site.position))
        for site in unit.sites
    )
