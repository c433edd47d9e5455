"""Open structures for `competing_phases.py`: databases' rows, embedded crystals, exchanged ions.

- MP-PBE-Element-Refs.json.gz, mp-binary-pbe-elasticity-2025.1.json.gz (Materials Project, CC BY
  4.0) and alexandria-binary-pbe-phonon-2025.1.json.gz (Alexandria, CC BY 4.0), as the public
  repository materialsvirtuallab/matcalc carries them;
- crystal-toolkit 2026.7.20, whose wheel carries matbench_dielectric: 4,764 structures of the
  Materials Project (CC BY 4.0);
- mfal's own embedded crystals, each with its source;
- simple structure types and orderings of `competing_phases_simple.py`;
- where none of these has a composition: ions of the same charge exchanged in one of them, the cell
  scaled by `mfal.data.pool.exchanged`.
"""

import gzip
import itertools
import json
import math
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from competing_phases_simple import ordered_structures, simple_structures
from pymatgen.core import Composition, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from mfal.crystals.elements import ELECTRONEGATIVITY, atomic_number, ionic_radius
from mfal.data import load_embedded
from mfal.data.asymmetric import asymmetric_unit, build_structure
from mfal.data.pool import exchanged
from mfal.errors import MfalError

DEFAULT = frozenset(
    ["Li", "B", "N", "O", "F", "Mg", "Al", "Si", "P", "S", "Cl", "Ti", "Ge", "Y", "Zr", "Br"]
)
"""The elements of a campaign's default space."""
FAMILIES = frozenset(
    [
        "La",
        "Ta",
        "Nb",
        "Sn",
        "Sb",
        "As",
        "I",
        "Se",
        "Na",
        "K",
        "Ca",
        "Sr",
        "Ba",
        "In",
        "Ga",
        "Sc",
        "Zn",
    ]
)
"""Further elements of families of lithium conductors."""
DIELECTRIC = "crystal_toolkit/apps/examples/matbench_dielectric.json.gz"
ELEMENT_STRUCTURES = 4
"""Of each element the lowest few by the database's own energy."""
LARGEST_ELEMENT = 48
LARGEST = 72
"""Atoms in the primitive cell; embedded crystals may have more."""
LARGEST_EMBEDDED = 112
ANIONS = frozenset({"N", "O", "F", "S", "Cl", "Se", "Br", "Te", "I", "P"})
SYMPREC = 0.05
"""Å, for primitive cells."""

CHARGES: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("Li", "Na", "K"), (1,)),
    **dict.fromkeys(("Mg", "Ca", "Sr", "Ba", "Zn"), (2,)),
    **dict.fromkeys(("B", "Al", "Ga", "In", "Sc", "Y", "La"), (3,)),
    **dict.fromkeys(("Si", "Zr"), (4,)),
    **dict.fromkeys(("Ge", "Sn"), (4, 2)),
    "Ti": (4, 3, 2),
    **dict.fromkeys(("P", "As", "Sb"), (5, 3, -3)),
    **dict.fromkeys(("Nb", "Ta"), (5,)),
    **dict.fromkeys(("S", "Se"), (-2, 6, 4)),
    "O": (-2,),
    "N": (-3,),
    **dict.fromkeys(("F", "Cl", "Br", "I"), (-1,)),
}
"""Usual charges of the elements whose ions are exchanged."""


class Candidate(NamedTuple):
    """A structure whose energy is wanted."""

    key: str
    """Unique and stable, so that a run can be taken up again."""
    tier: int
    """Lower ones come first."""
    source: str
    """As the table states it."""
    structure: Structure


def elements_of(structure: Structure) -> set[str]:
    """Symbols."""
    return {element.symbol for element in structure.composition.element_composition}


def formula_of(structure: Structure) -> str:
    """Reduced formula without charges."""
    return str(structure.composition.element_composition.reduced_formula)


def primitive(structure: Structure) -> Structure:
    """The primitive cell, without charges and site properties."""
    plain = Structure(
        structure.lattice,
        [
            site.specie.element if hasattr(site.specie, "element") else site.specie
            for site in structure
        ],
        structure.frac_coords,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return SpacegroupAnalyzer(plain, symprec=SYMPREC).find_primitive() or plain
        except Exception:  # spglib's errors have no common base
            return plain


def element_candidates(path: Path, wanted: set[str]) -> Iterator[Candidate]:
    """Structures of the elements, tier 0, of at most `LARGEST_ELEMENT` atoms."""
    table = json.loads(gzip.decompress(path.read_bytes()))
    for symbol in sorted(wanted & set(table)):
        rows = sorted(
            (energy, index)
            for index, energy in enumerate(table[symbol]["energy_per_atom"])
            if len(table[symbol]["structure"][index]["sites"]) <= LARGEST_ELEMENT
        )
        for _, index in rows[:ELEMENT_STRUCTURES]:
            structure = Structure.from_dict(table[symbol]["structure"][index])
            yield Candidate(
                f"element-{symbol}-{index}",
                0,
                "Materials Project, by matcalc",
                structure,
            )


def binary_candidates(path: Path, source: str, wanted: set[str]) -> Iterator[Candidate]:
    """Structures of a file of matcalc's, tier by their elements."""
    for row in json.loads(gzip.decompress(path.read_bytes())):
        symbols = {s["element"] for site in row["structure"]["sites"] for s in site["species"]}
        if symbols <= wanted and len(row["structure"]["sites"]) <= 2 * LARGEST:
            yield Candidate(
                row["mp_id"],
                _tier(symbols),
                f"{source} {row['mp_id']}",
                Structure.from_dict(row["structure"]),
            )


def dielectric_candidates(wheel: Path, wanted: set[str]) -> Iterator[Candidate]:
    """Structures of matbench_dielectric but those that are embedded."""
    embedded = {material.id for material in load_embedded()}
    with zipfile.ZipFile(wheel) as archive:
        table = json.loads(gzip.decompress(archive.read(DIELECTRIC)))["structure"]
    for number, row in table.items():
        symbols = {s["element"] for site in row["sites"] for s in site["species"]}
        if symbols <= wanted and f"mp-dielectric-{number}" not in embedded:
            yield Candidate(
                f"dielectric-{number}",
                _tier(symbols),
                f"Materials Project, matbench_dielectric {number}",
                Structure.from_dict(row),
            )


def embedded_candidates() -> Iterator[Candidate]:
    """The ordered embedded crystals, tier 2."""
    table = load_embedded()
    for material, structure in zip(table, table.structures(), strict=True):
        if structure is not None and structure.is_ordered:
            yield Candidate(material.id, 2, f"mfal, {material.id}", structure)


def simple_candidates() -> Iterator[Candidate]:
    """Structure types written out by hand and ordered crystals, tier 1."""
    found = itertools.chain(simple_structures(), ordered_structures())
    for number, (label, structure) in enumerate(found):
        cell = structure
        yield Candidate(f"simple-{number}", 1, f"mfal, {label}", cell)


def exchange_candidates(parents: Iterable[Candidate]) -> Iterator[Candidate]:
    """Compositions that no parent has, by exchange of ions of equal charge in the most alike ones.

    Binaries of a cation and an anion, and ternaries of lithium, a cation and an anion: tier 3 for
    binaries and 4 for ternaries of the default elements, 7 for the others.
    """
    parents = [p for p in parents if 2 <= len(elements_of(p.structure)) <= 3]
    known = {formula_of(p.structure) for p in parents}
    best: dict[str, list[tuple[float, str, Candidate, dict[Any, Any]]]] = {}
    for parent in parents:
        if len(parent.structure) > 40:
            continue
        ions = _ions(parent.structure.composition.element_composition)
        if ions is None:
            continue
        choices = [_alike(ion) for ion in ions]
        for news in itertools.product(*choices):
            if len({symbol for symbol, _ in news}) < len(news) or list(news) == ions:
                continue
            if not _wanted(news):
                continue
            swap = dict(zip(ions, news, strict=True))
            formula = _formula(parent.structure, swap)
            if formula in known:
                continue
            unlike = sum(_unlike(old, new) for old, new in swap.items())
            best.setdefault(formula, []).append((unlike, parent.key, parent, swap))
    for formula, options in sorted(best.items()):
        options.sort(key=lambda option: option[:2])
        symbols = {e.symbol for e in Composition(formula)}
        default = symbols <= DEFAULT
        tier = 7 if not default else 3 if len(symbols) == 2 else 4
        for unlike, key, parent, swap in options[: 2 if tier == 3 else 1]:
            if unlike > 0.9:
                continue
            child = _exchanged(parent.structure, swap)
            if child is None:
                continue
            changes = ", ".join(f"{old[0]} by {new[0]}" for old, new in swap.items() if old != new)
            news = "-".join(new[0] for new in swap.values())
            yield Candidate(
                f"exchange-{key}-{news}",
                tier,
                f"{formula_of(parent.structure)} type ({parent.source}), {changes}",
                child,
            )


def _tier(symbols: set[str]) -> int:
    """Of a database's structure, see `competing_phases.py`."""
    if symbols <= DEFAULT:
        return 1 if len(symbols) == 2 else 3
    if not symbols <= DEFAULT | FAMILIES:
        return 9
    if "Li" in symbols:
        return 5
    return 6 if len(symbols) == 2 and symbols & ANIONS else 8


def _ions(composition: Composition) -> list[tuple[str, float]] | None:
    """The only neutral choice of usual charges in which anions are the most electronegative."""
    symbols = [element.symbol for element in composition]
    if not set(symbols) <= set(CHARGES):
        return None
    found = []
    for charges in itertools.product(*(CHARGES[symbol] for symbol in symbols)):
        total = sum(q * composition[s] for s, q in zip(symbols, charges, strict=True))
        negative = [_chi(s) for s, q in zip(symbols, charges, strict=True) if q < 0]
        positive = [_chi(s) for s, q in zip(symbols, charges, strict=True) if q > 0]
        if abs(total) < 1e-6 and negative and positive and max(positive) < min(negative):
            found.append([(s, float(q)) for s, q in zip(symbols, charges, strict=True)])
    return found[0] if len(found) == 1 else None


def _chi(symbol: str) -> float:
    return float(ELECTRONEGATIVITY[atomic_number(symbol) - 1])


def _alike(ion: tuple[str, float]) -> list[tuple[str, float]]:
    """Ions of the same charge; lithium stays, and nothing becomes lithium but sodium, potassium."""
    symbol, charge = ion
    if symbol == "Li":
        return [ion]
    return [(other, charge) for other, charges in CHARGES.items() if charge in charges]


def _wanted(ions: Iterable[tuple[str, float]]) -> bool:
    symbols = {symbol for symbol, _ in ions}
    anions = [symbol for symbol, charge in ions if charge < 0]
    cations = [symbol for symbol, charge in ions if charge > 0]
    if len(anions) != 1 or max(_chi(s) for s in cations) >= _chi(anions[0]):
        return False
    return len(symbols) == 2 or (len(symbols) == 3 and "Li" in symbols)


def _formula(structure: Structure, swap: Mapping[tuple[str, float], tuple[str, float]]) -> str:
    names = {old[0]: new[0] for old, new in swap.items()}
    amounts: dict[str, float] = {}
    for element, amount in structure.composition.element_composition.items():
        amounts[names[element.symbol]] = amount
    return str(Composition(amounts).reduced_formula)


def _unlike(old: tuple[str, float], new: tuple[str, float]) -> float:
    """Zero for the ion itself; differences of radii and electronegativity for others."""
    if old == new:
        return 0.0
    radii = abs(math.log(max(ionic_radius(*new), 0.1) / max(ionic_radius(*old), 0.1)))
    return 0.05 + radii + 0.2 * abs(_chi(new[0]) - _chi(old[0]))


def _exchanged(structure: Structure, swap: Mapping[Any, Any]) -> Structure | None:
    charged = structure.copy()
    charged.add_oxidation_state_by_element({old[0]: old[1] for old in swap})
    try:
        unit = exchanged(asymmetric_unit(charged, symprec=SYMPREC), dict(swap))
        return build_structure(unit)
    except (MfalError, ValueError, KeyError):
        return None
