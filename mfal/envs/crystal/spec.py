"""What crystals an environment may make: one frozen dataclass, every limit of it a field."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor, gcd, pi
from numbers import Integral
from typing import Any, NamedTuple

from mfal.crystals.elements import OXIDATION_STATES, atomic_number, ionic_radius
from mfal.crystals.groups import NUM_GROUPS
from mfal.errors import MfalError

__all__ = [
    "LITHIUM_CONDUCTOR_STATES",
    "CrystalSpec",
    "Species",
    "count_bounds",
    "parse_stoichiometry",
    "species_list",
]

LITHIUM_CONDUCTOR_STATES: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("Li", (1,)),
    ("B", (3,)),
    ("N", (-3,)),
    ("O", (-2,)),
    ("F", (-1,)),
    ("Mg", (2,)),
    ("Al", (3,)),
    ("Si", (4,)),
    ("P", (5, -3)),
    ("S", (-2, 6)),
    ("Cl", (-1,)),
    ("Sc", (3,)),
    ("Ti", (4,)),
    ("Zn", (2,)),
    ("Ga", (3,)),
    ("Ge", (4,)),
    ("Se", (-2,)),
    ("Br", (-1,)),
    ("Y", (3,)),
    ("Zr", (4,)),
    ("Nb", (5,)),
    ("In", (3,)),
    ("Sn", (4,)),
    ("Sb", (5,)),
    ("I", (-1,)),
    ("La", (3,)),
    ("Er", (3,)),
    ("Ta", (5,)),
)
"""Elements of the known lithium conductors (oxides, phosphates, silicates, sulfides, halides,
nitrides, borates) and the oxidation states that they have there."""

ElementStates = tuple[tuple[str, tuple[int, ...]], ...]
Fractions = tuple[tuple[str, tuple[float, float]], ...]
Formula = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class CrystalSpec:
    """The crystals that may be sampled: every terminal state obeys every field.

    `elements` may be given as a mapping or as symbols alone, `fractions` as a mapping,
    `stoichiometry` as a formula or a mapping. All are kept as tuples with the required elements
    first, so that specs are hashable, and equal when they mean the same.

    >>> spec = CrystalSpec(elements=("O", "Li", "P"), max_atoms=16, groups=(62, 33))
    >>> spec.elements
    (('Li', (1,)), ('O', (-2,)), ('P', (5, -3)))
    >>> CrystalSpec(stoichiometry="Li7La3Zr2O12", max_atoms=96).element_limits
    (4, 4)
    """

    elements: ElementStates | Mapping[str, Sequence[int]] | Sequence[str] = LITHIUM_CONDUCTOR_STATES
    """Symbols with their allowed oxidation states, never zero; symbols alone get the usual ones."""
    required: tuple[str, ...] = ("Li",)
    """Elements that every crystal contains."""
    element_limits: tuple[int, int] = (2, 5)
    """Least and greatest number of distinct elements."""
    min_atoms: int = 2
    """Least number of atoms in the conventional cell."""
    max_atoms: int = 56
    """Greatest number of atoms in the conventional cell."""
    min_atoms_per_element: int = 1
    """Least number of atoms of an element that is present."""
    max_atoms_per_element: int = 32
    """Greatest number of atoms of one element."""
    mixed_valence: int = 1
    """Longest repeat of a mixture of two neighbouring oxidation states within one element: 1 allows
    one state an element, 2 also mixtures 1:1, 3 also 1:2 and 2:1 (Fe3O4), and so on."""
    groups: tuple[int, ...] | None = None
    """Allowed space group numbers, 1 to 230; None allows all."""
    fractions: Fractions | Mapping[str, tuple[float, float]] = ()
    """Bounds on an element's share of the atoms, 0 to 1, both included; equal bounds fix it. A
    lower bound above zero makes the element required."""
    stoichiometry: Formula | Mapping[str, int] | str | None = None
    """One formula ("Li7La3Zr2O12") whose whole multiples fill the cell. It sets `elements` (but for
    their states), `required`, `fractions` and `element_limits`, and lifts the limits per element.
    """
    wyckoff: bool = False
    """Whether a further stage assigns every atom to a Wyckoff position."""
    min_length: float = 2.5
    """Shortest a, b, c in Å."""
    max_length: float = 30.0
    """Longest a, b, c in Å."""
    max_aspect: float = 6.0
    """Greatest ratio of two of a, b, c; OBELiX has none above 5.3."""
    min_angle: float = 50.0
    """Smallest alpha, beta, gamma in degrees."""
    max_angle: float = 135.0
    """Largest alpha, beta, gamma in degrees."""
    min_cell_factor: float = 0.3
    """Least volume over a b c: keeps away from flat cells, whose angles barely close."""
    packing: tuple[float, float] = (1.1, 2.5)
    """Least and greatest volume of the cell over the summed volumes of its ions (spheres of
    Shannon's radii). Over 97 % of 254 lithium compounds of OBELiX (arXiv:2502.14234) lie within.
    """
    volume_per_atom: tuple[float, float] | None = None
    """Least and greatest volume per atom in Å^3; given, it replaces `packing`."""

    def __post_init__(self) -> None:
        _normalise(self)
        _validate(self)

    @property
    def states(self) -> ElementStates:
        """`elements` in their normal form."""
        return self.elements  # type: ignore[return-value]

    @property
    def bounds(self) -> Fractions:
        """`fractions` in their normal form."""
        return self.fractions  # type: ignore[return-value]


class Species(NamedTuple):
    """An element in one oxidation state, or in a repeating mixture of two."""

    symbol: str
    element: int
    """Position in `CrystalSpec.elements`."""
    state: Fraction
    """Mean oxidation state."""
    repeat: int
    """Atoms come in multiples of this, so that a mixture holds whole atoms of either state."""
    volume: float
    """Volume of one ion, Å^3."""


def species_list(spec: CrystalSpec) -> tuple[Species, ...]:
    """All species of a spec, in the order of its elements.

    >>> spec = CrystalSpec({"Li": (1,), "Fe": (2, 3), "O": (-2,)}, mixed_valence=3)
    >>> [f"{s.symbol} {s.state}" for s in species_list(spec)]
    ['Li 1', 'Fe 2', 'Fe 3', 'Fe 7/3', 'Fe 5/2', 'Fe 8/3', 'O -2']
    """
    found = []
    for element, (symbol, states) in enumerate(spec.states):
        mixtures: list[tuple[Fraction, int]] = []
        for low, high in pairwise(sorted(states)):
            shares = {
                Fraction(part, repeat)
                for repeat in range(2, spec.mixed_valence + 1)
                for part in range(1, repeat)
            }
            mixtures += [(low + (high - low) * x, x.denominator) for x in sorted(shares)]
        for state, repeat in [(Fraction(q), 1) for q in states] + mixtures:
            radius = ionic_radius(symbol, float(state))
            found.append(Species(symbol, element, state, repeat, 4 / 3 * pi * radius**3))
    return tuple(found)


def count_bounds(spec: CrystalSpec, symbol: str, total: int) -> tuple[int, int]:
    """Least and greatest number of atoms of an element, where it is present, in a cell of `total`.

    >>> spec = CrystalSpec(fractions={"O": (0.5, 0.625)}, max_atoms_per_element=9)
    >>> count_bounds(spec, "O", 16), count_bounds(spec, "O", 11), count_bounds(spec, "Li", 4)
    ((8, 9), (6, 6), (1, 4))
    """
    low, high = spec.min_atoms_per_element, min(spec.max_atoms_per_element, total)
    bounds = dict(spec.bounds).get(symbol)
    if bounds is not None:
        # The slack keeps a share like 0.1 of 30 whole in spite of binary rounding.
        low = max(low, ceil(bounds[0] * total - 1e-6))
        high = min(high, floor(bounds[1] * total + 1e-6))
    return low, high


def parse_stoichiometry(formula: str) -> Formula:
    """Elements and whole numbers of a formula, in its order.

    >>> parse_stoichiometry("LiTi2(PO4)3")
    (('Li', 1), ('Ti', 2), ('P', 3), ('O', 12))
    """
    tokens = re.findall(r"[A-Z][a-z]?|\d+|[()]", formula)
    if "".join(tokens) != formula or not tokens:
        raise MfalError(
            f"stoichiometry {formula!r}", "write whole numbers of elements, as in Li7La3Zr2O12"
        )
    stack: list[dict[str, int]] = [{}]
    position = 0
    while position < len(tokens):
        token, number = tokens[position], 1
        position += 1
        if token == "(":
            stack.append({})
            continue
        if position < len(tokens) and tokens[position].isdigit():
            number = int(tokens[position])
            position += 1
        if token == ")" and len(stack) > 1:
            unit = stack.pop()
        elif token[0].isupper():
            unit = {token: 1}
        else:
            raise MfalError(f"stoichiometry {formula!r}", "check its brackets and numbers")
        for symbol, count in unit.items():
            stack[-1][symbol] = stack[-1].get(symbol, 0) + count * number
    if len(stack) != 1 or 0 in stack[0].values():
        raise MfalError(f"stoichiometry {formula!r}", "check its brackets and numbers")
    return tuple(stack[0].items())


def _normalise(spec: CrystalSpec) -> None:
    """Bring the fields into their one form, in place (the dataclass is frozen to others)."""

    def put(**fields: Any) -> None:
        for name, value in fields.items():
            object.__setattr__(spec, name, value)

    usual = dict(LITHIUM_CONDUCTOR_STATES)
    given: Any = spec.elements
    if isinstance(given, Mapping):
        given = given.items()
    elements: dict[str, tuple[int, ...]] = {}
    for entry in given:
        if isinstance(entry, str):
            atomic_number(entry)
            symbol, states = entry, usual.get(entry) or OXIDATION_STATES[entry]
        else:
            symbol, states = entry
            atomic_number(symbol)
        for state in states:
            if int(state) != state:
                raise MfalError(
                    f"oxidation state {state} of {symbol}",
                    "give whole numbers; mixed_valence allows mixtures of two neighbouring ones",
                )
        elements[symbol] = tuple(dict.fromkeys(int(state) for state in states))

    formula = spec.stoichiometry
    if isinstance(formula, str):
        formula = parse_stoichiometry(formula)
    if isinstance(formula, Mapping):
        formula = tuple(formula.items())
    if formula is not None:
        divisor = gcd(*(count for _, count in formula))
        formula = tuple((symbol, count // divisor) for symbol, count in formula)
        total = sum(count for _, count in formula)
        for symbol, _ in formula:
            atomic_number(symbol)
        put(
            stoichiometry=formula,
            required=tuple(symbol for symbol, _ in formula),
            fractions={symbol: (count / total, count / total) for symbol, count in formula},
            element_limits=(len(formula), len(formula)),
            min_atoms_per_element=1,
            max_atoms_per_element=spec.max_atoms,
        )
        elements = {
            symbol: elements.get(symbol) or usual.get(symbol) or OXIDATION_STATES[symbol]
            for symbol, _ in formula
        }

    fractions = dict(spec.fractions)
    shares = {symbol: (float(low), float(high)) for symbol, (low, high) in fractions.items()}
    required = {*spec.required, *(symbol for symbol, (low, _) in shares.items() if low > 0)}
    first = [symbol for symbol in elements if symbol in required]
    rest = [symbol for symbol in elements if symbol not in required]
    put(
        elements=tuple((symbol, elements[symbol]) for symbol in first + rest),
        required=tuple(first) + tuple(sorted(required - set(first))),
        fractions=tuple(sorted(shares.items())),
        groups=None if spec.groups is None else tuple(sorted({int(g) for g in spec.groups})),
    )


def _validate(spec: CrystalSpec) -> None:
    for field in _WHOLE:
        if isinstance(value := getattr(spec, field), bool) or not isinstance(value, Integral):
            raise MfalError(f"{field} {value!r}", "give a whole number, such as 16")
    elements = dict(spec.states)
    for symbol, states in elements.items():
        if not states or 0 in states:
            raise MfalError(
                f"oxidation states {states} of {symbol}", "give at least one, none of them zero"
            )
    named = {*spec.required, *(symbol for symbol, _ in spec.bounds)}
    if missing := sorted(named - set(elements)):
        raise MfalError(f"{', '.join(missing)} not among the elements", "add it to `elements`")
    low, high = spec.element_limits
    if not 1 <= low <= high or high < len(spec.required) or low > len(elements):
        raise MfalError(
            f"element_limits {spec.element_limits} with {len(elements)} elements, "
            f"{len(spec.required)} of them required",
            "widen element_limits",
        )
    ranges = {
        "atoms": (spec.min_atoms, spec.max_atoms),
        "atoms_per_element": (spec.min_atoms_per_element, spec.max_atoms_per_element),
        "length": (spec.min_length, spec.max_length),
        "angle": (spec.min_angle, spec.max_angle),
        "packing": spec.packing,
        "volume_per_atom": spec.volume_per_atom or (1.0, 1.0),
    }
    for name, (least, greatest) in ranges.items():
        if not 0 < least <= greatest:
            raise MfalError(f"{name} from {least} to {greatest}", "give 0 < least <= greatest")
    for symbol, (least, greatest) in spec.bounds:
        if not 0 <= least <= greatest <= 1:
            raise MfalError(
                f"fraction of {symbol} from {least} to {greatest}",
                "give 0 <= least <= greatest <= 1",
            )
    if spec.max_aspect < 1:
        raise MfalError(f"max_aspect {spec.max_aspect}", "give at least 1")
    if spec.max_angle >= 180 or not 0 < spec.min_cell_factor < 1 or spec.mixed_valence < 1:
        raise MfalError(
            f"max_angle {spec.max_angle}, min_cell_factor {spec.min_cell_factor}, "
            f"mixed_valence {spec.mixed_valence}",
            "keep below 180, between 0 and 1, and at least 1",
        )
    if spec.groups is not None and not all(1 <= g <= NUM_GROUPS for g in spec.groups):
        raise MfalError(f"groups {spec.groups}", "give space group numbers from 1 to 230")
    _validate_volume(spec)


_WHOLE = (
    "min_atoms",
    "max_atoms",
    "min_atoms_per_element",
    "max_atoms_per_element",
    "mixed_valence",
)


def _validate_volume(spec: CrystalSpec) -> None:
    """Every composition must fit some cell of every shape, so that the lattice never dead-ends."""
    if spec.volume_per_atom is not None:
        least = spec.volume_per_atom[1] * spec.min_atoms
        greatest = spec.volume_per_atom[0] * spec.max_atoms
    else:
        species = species_list(spec)
        cations = [s.volume for s in species if s.state > 0]
        anions = [s.volume for s in species if s.state < 0]
        if not cations or not anions:
            raise MfalError("elements without both cations and anions", "add what is missing")
        smallest = min(cations + anions)
        # A neutral cell has one of each at least.
        ions = min(cations) + min(anions) + max(spec.min_atoms - 2, 0) * smallest
        least = spec.packing[1] * ions
        greatest = spec.packing[0] * max(cations + anions) * spec.max_atoms
    if spec.min_length**3 > least:
        raise MfalError(
            f"min_length {spec.min_length} Å is too long for a cell of {least:.1f} Å^3, the most "
            f"that {max(spec.min_atoms, 2)} atoms may take",
            "lower min_length, or raise min_atoms, packing or volume_per_atom",
        )
    if spec.max_length**3 * spec.min_cell_factor < greatest:
        raise MfalError(
            f"max_length {spec.max_length} Å is too short for {spec.max_atoms} atoms, which take "
            f"{greatest:.0f} Å^3 at least",
            "raise max_length or min_cell_factor, or lower max_atoms",
        )
