"""What docs/data.md states. `tests/test_docs.py` runs its code."""

import re
from pathlib import Path

from mfal.data import load_embedded
from mfal.data.named import NAMED_TABLES

TEXT = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def test_every_table_is_described() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", TEXT, flags=re.M)) == set(NAMED_TABLES)


def test_the_compound_whose_atoms_are_our_own_says_so() -> None:
    (name,) = re.findall(r"`(computed-\w+)` has the measured cell", TEXT)
    table = load_embedded()
    row = table.row(table.index(name))
    assert "computed" in str(row.details).lower()
