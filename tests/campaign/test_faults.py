"""Full disks, folders that can't be written, torn files: a clear error, and nothing lost."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import toy_campaign
from toy_campaign import CONFIG, InstantExecutor, digest, strategy

from mfal.campaign.doctor import examine
from mfal.campaign.folder import open_campaign, read_campaign
from mfal.campaign.ledger.book import Ledger
from mfal.campaign.loop import run_campaign
from mfal.campaign.status import read_status
from mfal.cli import main
from mfal.errors import MfalError
from mfal.oracles.loading import load_oracles


def run(folder, **options) -> None:
    options = {"strategy": strategy(), **options}
    run_campaign(folder, CONFIG, executor=InstantExecutor(), **options)


@pytest.fixture
def mount(tmp_path):
    """A function that mounts at a folder; undone at the end. Skips where that isn't allowed."""
    mounted: list[Path] = []

    def mount_at(folder: Path, *options: str) -> Path:
        folder.mkdir(exist_ok=True)
        done = subprocess.run(
            ["mount", *options, str(folder)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"needs the right to mount: {done.stderr.strip()}")
        if "remount" not in "".join(options):
            mounted.append(folder)
        return folder

    if shutil.which("mount") is None:
        pytest.skip("needs the mount command")
    yield mount_at
    for folder in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


@pytest.fixture
def read_only(mount):
    """A function that makes a folder read-only, for root too."""

    def lock(folder: Path) -> None:
        mount(folder, "--bind", str(folder))
        mount(folder, "-o", "remount,bind,ro")

    return lock


def test_a_full_disk_leaves_the_previous_state_and_space_mends_it(mount, tmp_path):
    folder = mount(tmp_path / "disk", "-t", "tmpfs", "-o", "size=512k", "tmpfs")

    def large(round_):
        decision = toy_campaign.strategy().propose(round_)
        return decision._replace(detail={**decision.detail, "padding": "x" * 300_000})

    def run_here(where):
        run(where, strategy=strategy(large))

    with pytest.raises(MfalError, match="full; free space on the disk"):
        run_here(folder / "campaign")
    with read_campaign(folder / "campaign") as ledger:
        written = [number for number, _ in ledger.rounds("campaign")]
        assert ledger.one("PRAGMA integrity_check") == ("ok",)
        assert len(ledger.answers("campaign")) >= 4
    assert written in ([0], [0, 1])
    mount(folder, "-o", "remount,size=32m")
    run_here(folder / "campaign")
    run_here(tmp_path / "unbroken")
    assert digest(folder / "campaign") == digest(tmp_path / "unbroken")


def test_a_disk_that_is_full_from_the_start_is_named(mount, tmp_path):
    folder = mount(tmp_path / "disk", "-t", "tmpfs", "-o", "size=16k", "tmpfs")
    with pytest.raises(MfalError) as caught:
        run(folder / "campaign")
    assert str(folder) in caught.value.what
    assert "space" in caught.value.remedy


def test_a_read_only_folder_is_named_by_writers_and_read_by_readers(read_only, tmp_path, capsys):
    folder = tmp_path / "campaign"
    run(folder)
    before = digest(folder)
    read_only(folder)
    with pytest.raises(MfalError, match="Read-only file system") as caught:
        run(folder)
    assert "writable" in caught.value.remedy
    assert str(folder) in caught.value.what
    assert digest(folder) == before
    assert main(["status", str(folder)]) == 0
    assert "finished" in capsys.readouterr().out
    assert main(["doctor", str(folder)]) == 0
    assert main(["discover", "--out", str(folder), "--oracles", "toy_campaign:oracles"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "make the folder writable" in lines[0]


def test_a_new_folder_in_a_read_only_place_is_named(read_only, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    read_only(place)
    with pytest.raises(MfalError, match="Read-only file system") as caught:
        run(place / "campaign")
    assert "--out" in caught.value.remedy


def killed_writer(folder: Path) -> Path:
    """A copy of a folder as a kill in the middle leaves it: with a write-ahead log."""
    copy = folder.with_name("copy")
    with open_campaign(folder, CONFIG, toy_campaign.oracles()) as ledger:
        ledger.propose("campaign", 0, [toy_campaign.proposal(n, 0, True) for n in range(2)], {})
        ledger.propose("campaign", 1, [toy_campaign.proposal(n, 1) for n in range(5, 9)], {})
        shutil.copytree(folder, copy)
    assert (copy / "ledger.sqlite-wal").stat().st_size > 0
    return copy


@pytest.mark.parametrize("lost", [1, 24, 4000, 9000])
def test_a_torn_log_loses_its_last_transactions_and_no_more(tmp_path, lost):
    copy = killed_writer(tmp_path / "campaign")
    log = copy / "ledger.sqlite-wal"
    os.truncate(log, log.stat().st_size - lost)
    with Ledger(copy / "ledger.sqlite") as ledger:
        assert [number for number, _ in ledger.rounds("campaign")] == [0]
        assert len(ledger.pending("campaign")) == 2
        assert ledger.one("PRAGMA integrity_check") == ("ok",)
    assert not [finding for finding in examine(copy) if finding.level == "problem"]


def test_a_log_of_garbage_is_not_believed(tmp_path):
    copy = killed_writer(tmp_path / "campaign")
    log = copy / "ledger.sqlite-wal"
    data = bytearray(log.read_bytes())
    data[len(data) // 2 :] = os.urandom(len(data) - len(data) // 2)
    log.write_bytes(data)
    with Ledger(copy / "ledger.sqlite") as ledger:
        assert ledger.one("PRAGMA integrity_check") == ("ok",)
        assert ledger.rounds("campaign") in ([], [(0, {})])


@pytest.mark.parametrize("where", [0, 4096, -4096])
def test_a_damaged_page_stops_the_campaign_and_is_left_for_the_doctor(tmp_path, where):
    def stop(round_):
        raise MfalError("enough for now")

    with pytest.raises(MfalError, match="enough"):
        run(tmp_path, strategy=strategy(stop))
    path = tmp_path / "ledger.sqlite"
    data = bytearray(path.read_bytes())
    start = where % len(data)
    data[start : start + 4096] = b"\xa5" * 4096
    path.write_bytes(data)
    with pytest.raises(MfalError) as caught:
        go_on_and_look(tmp_path)
    assert "mfal doctor" in caught.value.remedy
    assert [finding for finding in examine(tmp_path) if finding.level == "problem"]


def go_on_and_look(folder) -> dict:
    run(folder)
    with read_campaign(folder) as ledger:
        return read_status(ledger)


def test_some_of_the_oracles_make_a_campaign_but_not_two_of_one_fidelity():
    target = load_oracles(("mfal.oracles:conductivity_oracle",))
    assert [(o.name, o.fidelity) for o in target] == [("conductivity", 0)]
    two = load_oracles(("mfal.oracles:conductivity_oracle", "mfal.oracles:bvse_oracle"))
    assert [(o.name, o.fidelity) for o in two] == [("bvse", 0), ("conductivity", 1)]
    with pytest.raises(MfalError, match="fidelities bvse 1, bvse 1"):
        load_oracles(("mfal.oracles:bvse_oracle", "mfal.oracles:bvse_oracle"))
