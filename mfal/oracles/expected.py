"""What conductivity a laboratory may be expected to measure where an oracle gave a value.

Oracles rank; their numbers are no measurements, not even those that are conductivities. How far a
straight line through what was measured on OBELiX' crystals carries from an oracle's value to the
measured one is in a table, together with the range inside which two of three crystals of papers
that the line was not drawn through were found. `experiments/tables/expected_conductivity.py` makes
it; a row holds for one version of an oracle and no other.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

__all__ = ["ExpectedConductivity", "expected_conductivity"]


class ExpectedConductivity(NamedTuple):
    """A conductivity at room temperature and how far off it may be."""

    log10: float
    """log10 of the expected conductivity in S/cm."""
    decades: float
    """Two of three measurements lie within so many decades of it."""

    def __str__(self) -> str:
        """In words.

        >>> print(ExpectedConductivity(-5.2, 2.34))
        6e-06 S/cm, within 2.3 decades in two of three cases
        """
        return f"{10**self.log10:.0e} S/cm, within {self.decades:.1f} decades in two of three cases"


def expected_conductivity(oracle: str, version: str, value: float) -> ExpectedConductivity | None:
    """What to expect of an oracle's value; None for NaN and for oracles that were never compared.

    Args:
      oracle: its name.
      version: its version, to the letter: with other options the line is another.
      value: in the oracle's unit; clipped to the range that the line was drawn over.
    """
    row = _table().get(f"{oracle} {version}")
    if row is None or value != value:
        return None
    low, high = row["range"]
    return ExpectedConductivity(
        row["intercept"] + row["slope"] * min(max(value, low), high), row["decades"]
    )


@cache
def _table() -> dict[str, Any]:
    """Rows by oracle and version."""
    text = (files("mfal.oracles") / "tables" / "expected_conductivity.json").read_text("utf-8")
    return dict(json.loads(text)["oracles"])
