import io
import json

import jax.numpy as jnp
import pytest
from rich.console import Console

from mfal.errors import MfalError
from mfal.gflownet.config import Metrics
from mfal.gflownet.progress import chain, json_lines, progress_bar


def metrics(*losses):
    rows = [jnp.array([loss + field for loss in losses]) for field in range(len(Metrics._fields))]
    return Metrics(*rows)


def test_json_lines_hold_every_step_and_no_infinity(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with json_lines(path, every=2) as log:
        log(3, metrics(1.0, 2.0, 3.0))
        log(5, metrics(jnp.inf, 5.0))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert lines[0]["loss"] == 2.0
    assert lines[0]["log_z"] == 3.0
    assert lines[1]["loss"] is None


def test_json_lines_names_a_path_that_cannot_be_written(tmp_path):
    with pytest.raises(MfalError, match="nowhere"), json_lines(tmp_path / "nowhere" / "m.jsonl"):
        pass


def test_bar_shows_loss_log_z_and_rate():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80)
    seen = []
    with progress_bar(10, batch_size=4, console=console) as bar:
        chain(bar, lambda done, _: seen.append(done))(10, metrics(1.0, 2.0))
    text = out.getvalue()
    assert seen == [10]
    assert "left" in text
    assert "10/10" in text
    assert "loss 1.5" in text
    assert "log Z 3.00" in text
    assert "traj/s" in text


def test_bar_of_a_run_without_known_end_shows_the_time_spent():
    out = io.StringIO()
    with progress_bar(None, console=Console(file=out, force_terminal=True, width=80)) as bar:
        bar(10, metrics(1.0))
    text = out.getvalue()
    assert "10/?" in text
    assert "spent" in text
    assert "0:00:0" in text
    assert "left" not in text
