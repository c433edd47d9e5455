"""Whole campaigns of which a device's process relaxes the candidates, killed and not."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mfal.campaign.folder import CAMPAIGN, read_campaign

pytestmark = pytest.mark.slow

OPTIONS = [
    *("--budget", "90", "--rounds", "1", "--initial", "6", "--baseline", "none"),
    *(
        "--finalists",
        "0",
        "--seed",
        "5",
        "--sampler-steps",
        "20",
        "--proxy-steps",
        "50",
    ),
]


def campaign(folder, device):
    words = ["discover", *OPTIONS, "--out", str(folder), "--device", device]
    return subprocess.Popen(
        [sys.executable, "-m", "mfal.cli", *words],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(folder, device):
    running = campaign(folder, device)
    _, said = running.communicate(timeout=600)
    assert running.returncode in (0, 1), said


def answers(folder):
    """What the ledger holds, without times."""
    with read_campaign(folder) as ledger:
        found = ledger.answers(CAMPAIGN)
    kept = []
    for answer in found:
        detail = {k: v for k, v in answer.detail.items() if "seconds" not in k}
        kept.append((answer.query.id, answer.kind, answer.value, detail))
    return sorted(kept, key=lambda each: each[0])


@pytest.fixture(scope="module")
def by_workers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("campaign") / "none"
    finish(folder, "none")
    found = answers(folder)
    assert sum("relaxation" in detail for *_, detail in found) > 2
    return found


def test_a_round_pays_for_a_crystals_atoms_once(by_workers, tmp_path):
    folder = tmp_path / "a"
    finish(folder, "none")
    paid = set()
    with read_campaign(folder) as ledger:
        for answer in sorted(ledger.answers(CAMPAIGN), key=lambda each: each.query.id):
            query = answer.query
            if query.crystal.proposed and query.cost > 1.0:
                assert query.crystal.hash not in paid
                paid.add(query.crystal.hash)
    assert paid


def test_the_ledger_is_that_of_workers_that_relax_by_themselves(by_workers, tmp_path):
    finish(tmp_path / "a", "cpu")
    assert answers(tmp_path / "a") == by_workers


def test_killed_again_and_again_it_ends_the_same(by_workers, tmp_path):
    killed = 0
    for seconds in (15, 25, 35):
        running = campaign(tmp_path / "a", "cpu")
        time.sleep(seconds)
        if running.poll() is None:
            running.send_signal(signal.SIGKILL)
            killed += 1
        running.communicate()
    finish(tmp_path / "a", "cpu")
    assert killed
    assert answers(tmp_path / "a") == by_workers
