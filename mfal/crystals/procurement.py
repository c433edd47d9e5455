"""What elements cost, and how toxic they are held to be: facts by which people leave elements out.

Prices are those of "Prices of chemical elements" (Wikipedia, as of 8 September 2020, CC BY-SA; each
row names its own source and year), per kilogram of the element in the form that is traded, which
for fluorine is hydrofluoric acid. Ranges are replaced by their middle. They are a rough guide:
prices change by factors within years.

Classes of toxicity are those of ICH guideline Q3D(R2) on elemental impurities of drugs (2022), for
24 elements; what is in no class was not judged there, or has a low one. They were taken from
several descriptions of the guideline, which agree.
"""

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

__all__ = ["TOXICITY_CLASSES", "Price", "element_prices"]

TOXICITY_CLASSES: Mapping[str, tuple[str, ...]] = {
    "1": ("As", "Cd", "Hg", "Pb"),
    "2A": ("Co", "Ni", "V"),
    "2B": ("Ag", "Au", "Ir", "Os", "Pd", "Pt", "Rh", "Ru", "Se", "Tl"),
    "3": ("Ba", "Cr", "Cu", "Li", "Mo", "Sb", "Sn"),
}
"""1: toxic, hardly used in drugs; 2A and 2B: toxic by some route, likely and unlikely to be met; 3:
of low toxicity if swallowed. Lithium is in the last."""


class Price(NamedTuple):
    """Of an element."""

    usd_per_kg: float
    year: int
    source: str
    form: str
    """In which it is traded; empty for the element itself."""


@cache
def element_prices() -> Mapping[str, Price]:
    """Prices by symbol; what isn't traded has none.

    >>> element_prices()["Ge"].usd_per_kg > 100 * element_prices()["Si"].usd_per_kg
    True
    """
    path = files("mfal.crystals") / "tables" / "element_prices.csv"
    return {
        row["element"]: Price(
            float(row["usd_per_kg"]), int(row["year"]), row["source"], row["form"]
        )
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    }
