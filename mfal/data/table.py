"""The one table type that every loader returns."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from mfal.crystals.elements import SYMBOLS, atomic_number
from mfal.crystals.hidden import is_hidden
from mfal.crystals.types import NUM_ELEMENTS, Crystal
from mfal.data.asymmetric import AsymmetricUnit, build_structure
from mfal.data.shown import table_html
from mfal.errors import MfalError

if TYPE_CHECKING:
    import jax
    from pymatgen.core import Structure

__all__ = [
    "CENSORING",
    "CONDUCTIVITY",
    "Label",
    "LabelArrays",
    "Material",
    "MaterialTable",
    "StructureRecord",
    "load_structure",
]

CENSORING = ("exact", "below", "above", "interval", "class")
"""How a label bounds the quantity: equal to the value, below it, above it, between `value` and
`upper`, or a class whose index is the value."""

CONDUCTIVITY = "ionic_conductivity"
"""Quantity name of a conductivity at room temperature, in S/cm."""


class Label(NamedTuple):
    """What is known of one quantity of one material."""

    quantity: str
    """Name of the quantity or fidelity, such as `CONDUCTIVITY`."""
    value: float
    unit: str
    """Unit in words; for classes their names, "0 slow, 1 fast"."""
    censoring: str = "exact"
    """One of `CENSORING`."""
    upper: float = math.nan
    """Upper end of an interval, in `unit`; NaN otherwise."""
    source: str = ""
    """Paper (DOI) or database entry."""


class LabelArrays(NamedTuple):
    """Labels of one quantity as arrays over the rows of a table."""

    value: np.ndarray
    """[n] float64, NaN where there is none."""
    upper: np.ndarray
    """[n] float64, NaN unless the label is an interval."""
    censoring: np.ndarray
    """[n] int, index into `CENSORING`; -1 where there is no label."""


StructureRecord = AsymmetricUnit | Mapping[str, Any]
"""An asymmetric unit, {"cif": text}, or a pymatgen structure as its dict."""


class Material(NamedTuple):
    """One row of a table."""

    id: str
    formula: str
    """Empty, like the composition, where the source doesn't tell."""
    composition: Mapping[str, float]
    """Atoms of each element in the conventional cell, or in a formula unit if there is no cell."""
    space_group_number: int = 0
    """1 to 230; 0 where unknown."""
    lattice: tuple[float, ...] = (math.nan,) * 6
    """a, b, c in Å, alpha, beta, gamma in degrees, conventional cell; NaN where unknown."""
    labels: tuple[Label, ...] = ()
    source: str = ""
    licence: str = ""
    group: str = ""
    """Rows of one group describe one material; a split must keep them together."""
    structure: StructureRecord | None = None
    details: Mapping[str, Any] = {}
    """What else the source tells: name, family, kind of lattice, notes; serialisable as JSON."""


@dataclasses.dataclass(frozen=True, eq=False)
class MaterialTable:
    """Materials as columns; make one with `from_rows` or a loader.

    Raises `MfalError` on construction when ids repeat, columns differ in length, or a number makes
    no sense; the message names the row.
    """

    ids: tuple[str, ...]
    formulas: tuple[str, ...]
    composition: np.ndarray
    """[n, 103] float32, atoms in the conventional cell by Z - 1."""
    space_group_number: np.ndarray
    """[n] int32, 0 where unknown."""
    lattice: np.ndarray
    """[n, 6] float32, Å and degrees, NaN where unknown."""
    labels: tuple[tuple[Label, ...], ...]
    sources: tuple[str, ...]
    licences: tuple[str, ...]
    groups: tuple[str, ...]
    structure_records: tuple[StructureRecord | None, ...]
    details: tuple[Mapping[str, Any], ...]

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if len(getattr(self, field.name)) != len(self.ids):
                raise MfalError(
                    f"column {field.name} has {len(getattr(self, field.name))} rows, "
                    f"ids {len(self.ids)}",
                    "give columns of one length",
                )
        seen: set[str] = set()
        for identifier in self.ids:
            if identifier in seen:
                raise MfalError(f"id {identifier} occurs twice", "give each row an id of its own")
            seen.add(identifier)
        for row, identifier in enumerate(self.ids):
            _check_row(
                identifier,
                self.formulas[row],
                self.composition[row],
                self.space_group_number[row],
                self.lattice[row],
            )
            for label in self.labels[row]:
                _check_label(identifier, label)

    @classmethod
    def from_rows(cls, rows: Iterable[Material]) -> MaterialTable:
        """A table of the given rows, in their order."""
        rows = list(rows)
        composition = np.zeros((len(rows), NUM_ELEMENTS), np.float32)
        for i, row in enumerate(rows):
            for symbol, amount in row.composition.items():
                composition[i, atomic_number(symbol) - 1] += amount
        lattice = np.array([row.lattice for row in rows], np.float32).reshape(len(rows), 6)
        return cls(
            ids=tuple(row.id for row in rows),
            formulas=tuple(row.formula for row in rows),
            composition=composition,
            space_group_number=np.array([row.space_group_number for row in rows], np.int32),
            lattice=lattice,
            labels=tuple(tuple(row.labels) for row in rows),
            sources=tuple(row.source for row in rows),
            licences=tuple(row.licence for row in rows),
            groups=tuple(row.group or row.id for row in rows),
            structure_records=tuple(row.structure for row in rows),
            details=tuple(dict(row.details) for row in rows),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Material]:
        return (self.row(i) for i in range(len(self)))

    def _repr_html_(self) -> str:
        """The first rows, for notebooks."""
        return table_html(self.ids, self.formulas, self.space_group_number, self.labels)

    def row(self, index: int) -> Material:
        """Row `index` as a `Material`."""
        amounts = self.composition[index]
        return Material(
            id=self.ids[index],
            formula=self.formulas[index],
            composition={SYMBOLS[z]: float(amounts[z]) for z in np.flatnonzero(amounts)},
            space_group_number=int(self.space_group_number[index]),
            lattice=tuple(float(x) for x in self.lattice[index]),
            labels=self.labels[index],
            source=self.sources[index],
            licence=self.licences[index],
            group=self.groups[index],
            structure=self.structure_records[index],
            details=self.details[index],
        )

    def index(self, identifier: str) -> int:
        """Row number of an id.

        Raises:
          MfalError: when no row has it.
        """
        try:
            return self._index_of[identifier]
        except KeyError:
            raise MfalError(
                f"no material {identifier!r} in the table", "list the ids with: mfal data list"
            ) from None

    @functools.cached_property
    def _index_of(self) -> dict[str, int]:
        return {identifier: i for i, identifier in enumerate(self.ids)}

    def select(self, rows: Sequence[int] | np.ndarray) -> MaterialTable:
        """The rows at the given indices, or where a boolean mask [n] is true, in that order."""
        chosen = np.asarray(rows)
        if chosen.dtype == bool:
            chosen = np.flatnonzero(chosen)
        picks = [int(i) for i in chosen]
        columns: dict[str, Any] = {
            field.name: (
                column[picks]
                if isinstance(column := getattr(self, field.name), np.ndarray)
                else tuple(column[i] for i in picks)
            )
            for field in dataclasses.fields(self)
        }
        return MaterialTable(**columns)

    def without(self, hide: Sequence[str]) -> MaterialTable:
        """The rows that have none of these formulas (`mfal.crystals.hidden`)."""
        if not hide:
            return self
        rows = [
            i
            for i, row in enumerate(self)
            if not is_hidden(row.formula, hide) and not is_hidden(row.composition, hide)
        ]
        return self.select(rows)

    def concatenate(self, *others: MaterialTable) -> MaterialTable:
        """This table's rows followed by the others'; ids must not repeat."""
        tables = (self, *others)
        columns: dict[str, Any] = {
            field.name: (
                np.concatenate([getattr(t, field.name) for t in tables])
                if isinstance(getattr(self, field.name), np.ndarray)
                else tuple(x for t in tables for x in getattr(t, field.name))
            )
            for field in dataclasses.fields(self)
        }
        return MaterialTable(**columns)

    def crystals(self) -> Crystal:
        """All rows as one batch of the learner's triples, [n, ...] NumPy arrays.

        Raises:
          MfalError: when a row lacks its space group or lattice; `has_crystal` tells which.
        """
        missing = np.flatnonzero(~self.has_crystal)
        if len(missing):
            raise MfalError(
                f"{len(missing)} materials lack a space group or lattice, {self.ids[missing[0]]} "
                "the first",
                "select the rows of table.has_crystal",
            )
        return Crystal(
            composition=cast("jax.Array", self.composition),
            space_group_number=cast("jax.Array", self.space_group_number),
            lattice=cast("jax.Array", self.lattice),
        )

    @property
    def has_crystal(self) -> np.ndarray:
        """[n] bool, whether composition, space group and lattice are all known."""
        known = (self.space_group_number > 0) & np.isfinite(self.lattice).all(1)
        return known & self.composition.any(1)

    @property
    def has_structure(self) -> np.ndarray:
        """[n] bool, whether atoms are known."""
        return np.array([record is not None for record in self.structure_records], bool)

    def structure(self, index: int) -> Structure | None:
        """The structure of row `index` with oxidation states, built now; None where unknown."""
        return load_structure(self.structure_records[index], self.ids[index])

    def structures(self) -> Sequence[Structure | None]:
        """The structures of all rows, each built when it is asked for and then kept."""
        return _LazyStructures(self.structure_records, self.ids)

    def label_arrays(self, quantity: str = CONDUCTIVITY) -> LabelArrays:
        """Labels of one quantity as arrays.

        Of several labels of a row the median of the exact ones counts (of the logarithms, for
        values in S/cm), or the first where none is exact.
        """
        value, upper = np.full((2, len(self)), math.nan)
        censoring = np.full(len(self), -1)
        for row, labels in enumerate(self.labels):
            found = [label for label in labels if label.quantity == quantity]
            if found:
                exact = [label.value for label in found if label.censoring == "exact"]
                label = found[0]
                if exact:
                    value[row], censoring[row] = _median(exact, label.unit), 0
                else:
                    value[row], upper[row] = label.value, label.upper
                    censoring[row] = CENSORING.index(label.censoring)
        return LabelArrays(value, upper, censoring)


def _median(values: list[float], unit: str) -> float:
    if len(values) == 1:
        return values[0]
    if unit == "S/cm":
        return float(10 ** np.median(np.log10(values)))
    return float(np.median(values))


class _LazyStructures(Sequence["Structure | None"]):
    """Builds structures on first access."""

    def __init__(self, records: Sequence[StructureRecord | None], ids: Sequence[str]) -> None:
        self._records = records
        self._ids = ids
        self._built: dict[int, Structure | None] = {}

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        if position not in self._built:
            self._built[position] = load_structure(self._records[position], self._ids[position])
        return self._built[position]


def load_structure(record: StructureRecord | None, name: str = "") -> Structure | None:
    """A structure from its record; None from None. Errors begin with the name."""
    if record is None:
        return None
    if isinstance(record, AsymmetricUnit):
        return build_structure(record)
    if "cif" in record:
        from mfal.crystals.reading import parse_structure

        return parse_structure(
            record["cif"], f"{name}: the stored CIF" if name else "the stored CIF"
        )
    from pymatgen.core import Structure

    return Structure.from_dict(dict(record))


def _check_row(
    identifier: str,
    formula: str,
    composition: np.ndarray,
    space_group_number: int,
    lattice: np.ndarray,
) -> None:
    known = not formula or composition.any()
    if not (np.isfinite(composition).all() and (composition >= 0).all() and known):
        raise MfalError(f"{identifier}: no valid composition", "give amounts above zero")
    if not 0 <= space_group_number <= 230:
        raise MfalError(
            f"{identifier}: space group {space_group_number} does not exist",
            "give a number from 1 to 230, or 0 for unknown",
        )
    if np.isnan(lattice).all():
        return
    lengths, angles = lattice[:3], lattice[3:]
    if not (np.isfinite(lattice).all() and (lengths > 0).all() and (angles > 0).all()):
        raise MfalError(
            f"{identifier}: lattice {lattice.tolist()} makes no sense",
            "give a, b, c in Å and alpha, beta, gamma in degrees",
        )


def _check_label(identifier: str, label: Label) -> None:
    where = f"{identifier}: {label.quantity}"
    if label.censoring not in CENSORING:
        raise MfalError(
            f"{where}: censoring {label.censoring!r}", f"give one of {', '.join(CENSORING)}"
        )
    if not math.isfinite(label.value):
        raise MfalError(f"{where} is {label.value}", "leave the label out where nothing is known")
    if label.censoring == "interval" and not label.upper > label.value:
        raise MfalError(
            f"{where}: interval from {label.value} to {label.upper}",
            "give the lower end as value and the upper end as upper",
        )
    if label.quantity == CONDUCTIVITY and label.censoring != "class":
        if label.unit != "S/cm":
            raise MfalError(f"{where} in {label.unit!r}", "convert it to S/cm")
        if label.value < 0 or (label.value == 0 and label.censoring != "interval"):
            raise MfalError(
                f"{where} is {label.value} S/cm",
                "give the detection limit with censoring 'below'",
            )
