"""Structures in and out: files, the learner's triple, distances.

The standard setting throughout is that of the International Tables as spglib and pyxtal share it:
unique axis b for the monoclinic groups, hexagonal axes for the rhombohedral ones, multiplicities
counted in the conventional cell.
"""

import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
import spglib
from pymatgen.core import Composition, Element, Lattice, Species, Structure
from pymatgen.io.cif import CifBlock, CifFile, CifParser, CifWriter, str2float
from pymatgen.io.vasp import Poscar

from mfal.crystals.charges import add_oxidation_states, element_charges
from mfal.crystals.elements import SYMBOLS, atomic_number
from mfal.crystals.types import NUM_ELEMENTS, Crystal
from mfal.errors import MfalError

__all__ = [
    "SYMPREC",
    "add_oxidation_states",
    "conventional_structure",
    "crystal_from_structure",
    "element_charges",
    "parse_structure",
    "read_structure",
    "shortest_distance",
    "shortest_distances",
    "space_group_number",
    "structure_to_cif",
]

SYMPREC = 0.01
"""Å by which atoms may miss their symmetric positions when symmetry is looked for."""

MAX_FILE_BYTES = 10_000_000
MAX_SITES = 2_000
MAX_EXPANSION = 1_000_000
"""Images of listed sites under a CIF's symmetry that are looked at, duplicates among them."""


def read_structure(path: str | Path, *, max_sites: int = MAX_SITES) -> Structure:
    """The structure in a CIF or POSCAR file, told apart by their contents.

    Sites keep their occupancies; deuterium and tritium become hydrogen. Occupancies that add up to
    slightly more than one (at most 5 %, rounding in refinements) are scaled to one.

    Raises:
      MfalError: when the file is missing, too large, neither CIF nor POSCAR, holds no structure or
        several, or more than `max_sites` sites, or an unknown element.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise MfalError(f"{path} is a folder", "give a CIF or POSCAR file")
        if size > MAX_FILE_BYTES:
            raise MfalError(
                f"{path} is too large ({size / 1e6:.0f} MB)",
                f"give a file of one unit cell, below {MAX_FILE_BYTES / 1e6:.0f} MB",
            )
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise MfalError(f"{path} does not exist", "give the path of a CIF or POSCAR file") from None
    except OSError as error:
        raise MfalError(
            f"{path} cannot be read ({error.strerror})", "check the file and its permissions"
        ) from None
    return parse_structure(text, str(path), max_sites=max_sites)


def parse_structure(text: str, name: str, *, max_sites: int = MAX_SITES) -> Structure:
    """As `read_structure`, from the file's text; `name` stands for the file in errors."""
    if not text.strip():
        raise MfalError(f"{name} is empty", "give a CIF or POSCAR file")
    is_cif = "_cell_length_a" in text or "data_" in text
    form = "CIF" if is_cif else "CIF or POSCAR"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            structures = _parse_cif(text, name, max_sites) if is_cif else [_parse_poscar(text)]
        except MfalError:
            raise
        except Exception as error:  # the parsers raise whatever they stumble over
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise MfalError(
                f"{name} is not a readable {form} ({reason})",
                "check it in a structure viewer, or export it again",
            ) from None
    if len(structures) != 1:
        raise MfalError(
            f"{name} holds {len(structures) or 'no'} structures",
            "give one structure a file, with cell, symmetry and atom sites",
        )
    structure = structures[0]
    if len(structure) > max_sites:
        raise MfalError(
            f"{name} has {len(structure)} sites", f"give a cell of at most {max_sites} sites"
        )
    numbers = np.concatenate([structure.lattice.matrix.ravel(), structure.frac_coords.ravel()])
    if not np.isfinite(numbers).all() or not structure.lattice.volume > 0.1:
        raise MfalError(f"{name} has no sensible cell or coordinates", "check the file's numbers")
    return _plain(structure, name)


def _parse_cif(text: str, name: str, max_sites: int) -> list[Structure]:
    parser = CifParser.from_str(text, occupancy_tolerance=1.05)
    # The parser's time grows with the square of the sites: a short file whose symmetry makes tens
    # of thousands of them would keep it busy for minutes.
    for block in CifFile.from_str(text).data.values():
        sites = _expanded(block, parser)
        if sites > 2 * max_sites:  # a count by rounded positions: the exact one comes later
            raise MfalError(
                f"{name} has some {sites} sites", f"give a cell of at most {max_sites} sites"
            )
    return parser.parse_structures(primitive=False, symmetrized=False, on_error="raise")


def _parse_poscar(text: str) -> Structure:
    return Poscar.from_str(text).structure


def _expanded(block: CifBlock, parser: CifParser) -> int:
    """How many sites a CIF block's symmetry makes of those listed, positions taken to 0.001."""
    columns = [block.data.get(f"_atom_site_fract_{axis}") for axis in "xyz"]
    if not all(isinstance(column, list) for column in columns):
        return 0
    fractional = np.array([[str2float(x) for x in cast(list[str], c)] for c in columns]).T
    operations = parser.get_symops(block)
    if len(fractional) * len(operations) > MAX_EXPANSION:
        return len(fractional) * len(operations)
    rotations = np.array([operation.rotation_matrix for operation in operations])
    translations = np.array([operation.translation_vector for operation in operations])
    images = np.einsum("oij,aj->aoi", rotations, fractional) + translations
    cells = np.rint((images.reshape(-1, 3) % 1.0) * 1000).astype(np.int64) % 1000
    return len(np.unique(cells @ np.array([1_000_000, 1_000, 1])))


def _plain(structure: Structure, name: str) -> Structure:
    """Isotopes as their element; refuse what is not an element."""
    replace: dict[Any, Any] = {}
    for species in structure.composition:
        symbol = getattr(species, "symbol", str(species))
        try:
            number = atomic_number(symbol)
        except MfalError as error:
            raise MfalError(f"{name}: {error.what}", error.remedy) from None
        if SYMBOLS[number - 1] != symbol:
            charge = getattr(species, "oxi_state", None)
            plain = SYMBOLS[number - 1]
            replace[species] = Element(plain) if charge is None else Species(plain, charge)
    if replace:
        structure = structure.replace_species(replace, in_place=False)
    return structure


def _cell(structure: Structure) -> tuple[Any, Any, list[int], list[dict[str, float]]]:
    """Lattice rows, fractional coordinates, site types and the elements' amounts of each type.

    Charges do not tell sites apart; occupancies do.
    """
    kinds: dict[tuple[tuple[str, float], ...], int] = {}
    types = []
    for site in structure:
        amounts: dict[str, float] = defaultdict(float)
        for species, amount in site.species.items():
            amounts[species.symbol] += amount
        key = tuple(sorted((symbol, round(amount, 4)) for symbol, amount in amounts.items()))
        types.append(kinds.setdefault(key, len(kinds)))
    return structure.lattice.matrix, structure.frac_coords, types, [dict(key) for key in kinds]


def _dataset(structure: Structure, symprec: float) -> spglib.SpglibDataset:
    matrix, coordinates, types, _ = _cell(structure)
    # Type 0 is taken for a site without atom by some of spglib's functions.
    dataset = spglib.get_symmetry_dataset(
        (matrix, coordinates, [t + 1 for t in types]), symprec=symprec
    )
    if dataset is None:
        raise MfalError(
            f"{structure.composition.reduced_formula}: no symmetry found within {symprec} Å",
            "check that no two atoms share a position",
        )
    return dataset


def space_group_number(structure: Structure, symprec: float = SYMPREC) -> int:
    """Space group number, 1 to 230, by spglib; `symprec` in Å."""
    return int(_dataset(structure, symprec).number)


def conventional_structure(structure: Structure, symprec: float = SYMPREC) -> Structure:
    """The same crystal in the standard conventional cell, without charges; `symprec` in Å."""
    dataset = _dataset(structure, symprec)
    kinds = _cell(structure)[3]
    return Structure(
        Lattice(dataset.std_lattice),
        [Composition(kinds[t - 1]) for t in dataset.std_types],
        dataset.std_positions,
        to_unit_cell=True,
    )


def crystal_from_structure(structure: Structure, symprec: float = SYMPREC) -> Crystal:
    """Composition, space group and lattice of the standard conventional cell.

    Partial occupancies count as fractions of atoms. `symprec` in Å. The arrays are NumPy's.

    Raises:
      MfalError: when spglib finds no symmetry at all (atoms on top of each other).
    """
    dataset = _dataset(structure, symprec)
    kinds = _cell(structure)[3]
    composition = np.zeros(NUM_ELEMENTS, np.float32)
    for kind in dataset.std_types:
        for symbol, amount in kinds[kind - 1].items():
            composition[atomic_number(symbol) - 1] += amount
    lattice = Lattice(dataset.std_lattice).parameters
    return Crystal(
        composition=cast(jax.Array, composition),
        space_group_number=cast(jax.Array, np.int32(dataset.number)),
        lattice=cast(jax.Array, np.array(lattice, np.float32)),
    )


def structure_to_cif(structure: Structure, *, symprec: float | None = SYMPREC) -> str:
    """CIF text, with the space group found within `symprec` Å, or in P1 if that is None.

    Charges are left out. A structure whose symmetry cannot be found is written in P1.
    """
    plain = structure.copy()
    plain.remove_oxidation_states()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if symprec is not None:
            try:
                return str(CifWriter(plain, symprec=symprec, significant_figures=8))
            except Exception:  # spglib found nothing, or not what pymatgen expects
                pass
        return str(CifWriter(plain, significant_figures=8))


def shortest_distances(
    structure: Structure, *, cutoff: float = 4.0
) -> dict[tuple[str, str], float]:
    """Shortest distance of each pair of elements, in Å, keys in alphabetical order.

    Periodic images count, a site's own among them. Pairs further apart than `cutoff` (Å) are left
    out, and so are pairs of partly occupied sites that cannot both be filled: those nearer than
    1 Å whose occupancies add up to no more than one.
    """
    centres, others, _, distances = structure.get_neighbor_list(cutoff)
    elements = [{species.symbol for species in site.species} for site in structure]
    filled = np.array([site.species.num_atoms for site in structure])
    shortest: dict[tuple[str, str], float] = {}
    for i, j, distance in zip(centres, others, distances, strict=True):
        if distance < 1.0 and filled[i] + filled[j] <= 1.0 + 1e-3:
            continue
        for a in elements[i]:
            for b in elements[j]:
                pair = (a, b) if a <= b else (b, a)
                shortest[pair] = min(float(distance), shortest.get(pair, np.inf))
    return shortest


def shortest_distance(structure: Structure) -> float:
    """Shortest distance between any two atoms or their images, Å; see `shortest_distances`."""
    # No lattice has all its points further apart than the longest row of its reduced basis.
    reach = 1.01 * max(structure.lattice.get_lll_reduced_lattice().abc)
    return min(shortest_distances(structure, cutoff=reach).values())
