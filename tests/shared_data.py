"""Where the tests find data sets that the repository doesn't carry."""

import os
from pathlib import Path

import pytest

__all__ = ["shared_data"]


def shared_data(*parts: str) -> Path:
    """A path inside the folder of shared data, or a skip that says where it was looked for.

    The folder is MFAL_TEST_DATA, or `../shared/data` beside the checkout.
    """
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("MFAL_TEST_DATA", beside)).joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs {'/'.join(parts)} in ../shared/data or in MFAL_TEST_DATA")
    return path
