"""What docs/data.md shows, run, and the figures it states."""

import re
from pathlib import Path

import pytest

from mfal.data import load_embedded
from mfal.data.named import NAMED_TABLES

TEXT = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.S)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_blocks_run(block: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block, "docs/data.md", "exec"), {"__name__": "docs"})
    assert capsys.readouterr().out


def test_every_table_is_described() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", TEXT, flags=re.M)) == set(NAMED_TABLES)


def test_what_is_missing_is_missing() -> None:
    missing = re.search(r"free\s+source of its atoms: (\w+)", TEXT)
    assert missing is not None
    assert missing[1] == "Li7P3S11"
    assert missing[1] not in load_embedded().formulas
