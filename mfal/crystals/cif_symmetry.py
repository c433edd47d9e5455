"""The symmetry operations that a CIF block states, in whatever way it states them."""

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import gemmi
import numpy as np

from mfal.crystals.cif_blocks import Block, column, text_of
from mfal.errors import MfalError

__all__ = ["Symmetry", "fitting_symmetries", "stated_symmetries"]

_OPERATIONS = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
_MAGNETIC = "_space_group_symop_magn_operation_xyz"
_MAGNETIC_CENTRING = "_space_group_symop_magn_centering_xyz"
_MODULATED = "_space_group_symop_ssg_operation_algebraic"
_HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_NAMES = (
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_space_group_name_h-m_full",
    "_space_group_name_h-m_ref",
    "_space_group_magn_name_bns",
)
_ORIGINS = r":\s*[12SZ]|S|Z|O1|O2"
"""How files and databases append the choice of origin to a symbol."""
_NUMBERS = ("_space_group_it_number", "_symmetry_int_tables_number")


class Symmetry(NamedTuple):
    """Operations that make all atoms from those listed."""

    rotations: np.ndarray
    """[G, 3, 3] int64, of fractional coordinates; the first is the identity."""
    translations: np.ndarray
    """[G, 3] float64."""
    group: gemmi.SpaceGroup | None
    """The group that the file names, in words or by number; None where it names none."""
    note: str
    """What a reader should know of where the operations come from; mostly empty."""


def stated_symmetries(block: Block, angles: tuple[float, float, float]) -> list[Symmetry]:
    """The ways to understand what the block says of its symmetry, the likeliest first.

    Operations in full count most, then the Hall symbol, the Hermann-Mauguin symbol and the number.
    There are several ways where a symbol leaves the origin or the axes open, and where the list of
    operations is not as long as the group has them.

    Args:
      block: of a CIF.
      angles: alpha, beta, gamma in degrees; they tell rhombohedral from hexagonal axes.
    """
    group, note = _named_group(block, angles)
    listed = _listed_operations(block)
    if listed is not None:
        ways = [_symmetry(listed, group, note)]
        if group is not None and len(listed) != _order(group):
            text = (
                f"the file lists {len(listed)} symmetry operations, its group "
                f"{group.short_name()} has {_order(group)}"
            )
            ways = [_symmetry(listed, group, text)]
            ways += [
                _symmetry(list(one.operations()), one, text) for one in _settings(block, group)
            ]
        return ways
    hall = text_of(block, *_HALL)
    if hall:
        try:
            found = list(gemmi.symops_from_hall(hall))
        except RuntimeError:
            found = []
        if found:
            named = gemmi.find_spacegroup_by_ops(gemmi.GroupOps(found)) or group
            return [_symmetry(found, named, "")]
    if group is not None:
        return [_symmetry(list(one.operations()), one, note) for one in _settings(block, group)]
    said = text_of(block, *_NAMES, *_NUMBERS)
    why = f"the group {said!r} is not known" if said else "the file states no symmetry"
    return [_symmetry([gemmi.Op()], None, f"{why}: read as P 1, the atoms as listed")]


def fitting_symmetries(ways: list[Symmetry], metric: np.ndarray) -> list[Symmetry]:
    """The ways, or where the cell contradicts the likeliest, settings of its group that fit.

    Where none fits the ways stay, with a note.

    Args:
      ways: of `stated_symmetries`.
      metric: [3, 3], products of the cell's edges, Å^2.
    """
    first = ways[0]
    if _fits(first, metric):
        return ways
    others = []
    if first.group is not None:
        name = first.group.short_name()
        for one in gemmi.spacegroup_table():
            if one.number == first.group.number:
                text = f"the cell does not fit {name}: read in the setting {one.short_name()}"
                way = _symmetry(list(one.operations()), one, text)
                others += [way] if _fits(way, metric) else []
    if others:
        return others
    said = f"{first.note}; " if first.note else ""
    text = f"{said}the cell does not have the symmetry that the file states"
    return [way._replace(note=text) for way in ways]


def _fits(way: Symmetry, metric: np.ndarray) -> bool:
    """Whether the operations leave lengths and angles as they are, to a hundredth."""
    turned = np.einsum("gji,jk,gkl->gil", way.rotations, metric, way.rotations)
    scale = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
    return bool((np.abs(turned - metric) < 0.02 * scale).all())


def _symmetry(operations: list[gemmi.Op], group: gemmi.SpaceGroup | None, note: str) -> Symmetry:
    scale = float(gemmi.Op.DEN)
    rotations = np.array([operation.rot for operation in operations]) // gemmi.Op.DEN
    translations = np.array([operation.tran for operation in operations]) / scale
    # Twelfths and eighths are meant; as the quotient of two integers each is as near as can be.
    return Symmetry(rotations.astype(np.int64), translations, group, note)


def _order(group: gemmi.SpaceGroup) -> int:
    return len(list(group.operations()))


def _settings(block: Block, group: gemmi.SpaceGroup) -> list[gemmi.SpaceGroup]:
    """The group itself, or both of its origins where the symbol leaves that open.

    The second origin, at the inversion centre, comes first: what is published is mostly in it.
    """
    ending = rf"({_ORIGINS})$"
    told = any(re.search(ending, text_of(block, tag), re.IGNORECASE) for tag in _NAMES)
    if group.ext not in ("1", "2") or told:
        return [group]
    alike = [
        one
        for one in gemmi.spacegroup_table()
        if one.number == group.number and one.hm == group.hm and one.ext in ("1", "2")
    ]
    return sorted(alike, key=lambda one: one.ext, reverse=True)


def _listed_operations(block: Block) -> list[gemmi.Op] | None:
    """The operations that the block lists, without repetition; None where it lists none."""
    rows = column(block, *_OPERATIONS)
    if rows is None:
        magnetic = column(block, _MAGNETIC)
        if magnetic is not None:
            centrings = column(block, _MAGNETIC_CENTRING) or ["x,y,z,+1"]
            rows = list(_combined(_spatial(magnetic), _spatial(centrings)))
    if rows is None and (modulated := column(block, _MODULATED)):
        rows = [_average(row) for row in modulated]
    operations: dict[str, gemmi.Op] = {}
    for row in rows or []:
        try:
            operation = gemmi.Op(re.sub(r"\s", "", row)).wrap()
        except RuntimeError:
            raise MfalError(
                f"symmetry operation {row!r} cannot be read", "write it like 'x+1/2, -y, z'"
            ) from None
        operations.setdefault(operation.triplet(), operation)
    if not operations:
        return None
    identity = operations.pop("x,y,z", gemmi.Op())
    return [identity, *operations.values()]


def _spatial(rows: list[str]) -> list[str]:
    """Magnetic operations without their time reversal, "x,y,z,-1" as "x,y,z"."""
    return [",".join(row.split(",")[:3]) for row in rows]


def _combined(operations: list[str], centrings: list[str]) -> Iterator[str]:
    for centring in centrings:
        for operation in operations:
            yield (gemmi.Op(centring) * gemmi.Op(operation)).wrap().triplet()


def _average(row: str) -> str:
    """The part in ordinary space of an operation of a superspace group."""
    parts = [re.sub(r"x([123])", lambda match: "xyz"[int(match[1]) - 1], p) for p in row.split(",")]
    return ",".join(parts[:3])


def _named_group(
    block: Block, angles: tuple[float, float, float]
) -> tuple[gemmi.SpaceGroup | None, str]:
    """The group by symbol or number, and a note where the two contradict each other."""
    alpha, _, gamma = angles
    by_name = None
    for tag in _NAMES:
        name = text_of(block, tag)
        if name:
            by_name = _group_of(name, alpha, gamma)
        if by_name is not None:
            break
    by_number = None
    number = text_of(block, *_NUMBERS)
    if number.isdigit() and 1 <= int(number) <= 230:
        by_number = gemmi.find_spacegroup_by_number(int(number))
        if by_number is not None and by_number.ext == "H":
            by_number = _group_of(by_number.hm, alpha, gamma)
    if by_name is None:
        return by_number, ""
    if by_number is not None and by_number.number != by_name.number:
        return by_name, (
            f"the file names the group {by_name.short_name()} ({by_name.number}), but the number "
            f"{by_number.number}"
        )
    return by_name, ""


def _group_of(name: str, alpha: float, gamma: float) -> gemmi.SpaceGroup | None:
    """The group of a Hermann-Mauguin symbol as files write it."""
    plain = re.sub(r"[_$~'\"]|\s+\(\d+\)$", "", name).strip()
    plain = re.sub(r"(?<=[2346])\(([1-5])\)", r"\1", plain)  # P2(1)/c
    # What databases append: S or O1 for the first origin, Z or O2 for the second, H, R.
    match = re.fullmatch(rf"(.*?)\s*({_ORIGINS}|:?\s*H|:?\s*R|HR|RS)", plain, re.IGNORECASE)
    tries = [plain]
    if match:
        ending = {"S": "1", "O1": "1", "Z": "2", "O2": "2", "HR": "H", "RS": "R"}
        extension = match[2].upper().strip(": ")
        tries.append(f"{match[1]}:{ending.get(extension, extension)}")
        tries.append(match[1])
    for each in tries:
        found = gemmi.find_spacegroup_by_name(each, alpha, gamma)
        if found is not None:
            return found
    hall = _full_symbols().get(re.sub(r"\s", "", tries[-1]).lower())
    full = gemmi.find_spacegroup_by_ops(gemmi.symops_from_hall(hall)) if hall else None
    if full is not None and len(tries) > 1:  # its other origin or axes, if it has any
        other = f"{full.hm}:{tries[1].rpartition(':')[2]}"
        return gemmi.find_spacegroup_by_name(other, alpha, gamma) or full
    return full


@cache
def _full_symbols() -> dict[str, str]:
    """Hall symbols by full Hermann-Mauguin symbols without spaces, "f4/m-32/m"."""
    import spglib

    found: dict[str, str] = {}
    for number in range(1, 531):
        kind = spglib.get_spacegroup_type(number)
        if kind is not None:
            full = re.sub(r"[\s_]", "", kind.international_full).lower()
            found.setdefault(full, kind.hall_symbol)
    return found
