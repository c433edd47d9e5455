"""One writer a folder, and what a system without POSIX locks says."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mfal.campaign.ledger.lock import exclusive
from mfal.errors import MfalError


def test_a_second_writer_is_turned_away_until_the_first_has_ended(tmp_path: Path):
    held = pytest.raises(MfalError, match=f"{tmp_path}: in use by process")
    with exclusive(tmp_path), held, exclusive(tmp_path):
        pass
    with exclusive(tmp_path):
        pass


def test_a_system_without_posix_locks_says_what_to_do(tmp_path: Path):
    """Python on Windows has no `fcntl`."""
    code = """
    import sys
    from pathlib import Path
    sys.modules["fcntl"] = None  # as if it weren't there
    from mfal.campaign.ledger.lock import exclusive
    from mfal.errors import MfalError
    try:
        with exclusive(Path(sys.argv[1])):
            pass
    except MfalError as error:
        print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "no POSIX file locks" in said
    assert "Linux or macOS" in said
