"""Training in a folder: what is shown, what is written, and going on after a kill."""

import json
import sys
import types

import jax
import numpy as np
import pytest

from mfal.envs.hypergrid import HypergridReward, HypergridSpec, hypergrid, hypergrid_log_reward
from mfal.errors import MfalError
from mfal.gflownet.config import Metrics, TrainConfig
from mfal.gflownet.policy import PolicyConfig
from mfal.gflownet.replay import ReplayConfig
from mfal.gflownet.runner import METRICS_FILE, run_in_folder
from mfal.gflownet.train import make_trainer

SPEC, REWARD, KEY = HypergridSpec(dimensions=2, side=4), HypergridReward(), jax.random.key(3)


@pytest.fixture(scope="module")
def trainer():
    config = TrainConfig(
        batch_size=8,
        policy=PolicyConfig(hidden=(8, 8)),
        replay=ReplayConfig(capacity=32),
        steps_per_dispatch=10,
    )
    return make_trainer(hypergrid(SPEC), hypergrid_log_reward(SPEC), config)


def test_a_broken_run_goes_on_as_if_nothing_had_happened(tmp_path, trainer, capsys):
    unbroken, metrics = trainer.run(trainer.init(KEY), REWARD, 45)
    folder = tmp_path / "run"
    run_in_folder(folder, trainer, KEY, REWARD, 45, checkpoint_every=15, stop=lambda n: n >= 20)
    # Killed later: steps after the last checkpoint are logged, the last line by half.
    with (folder / METRICS_FILE).open("a") as file:
        file.write('{"step": 21, "loss": 9.0}\n{"step": 22, "lo')
    resumed = run_in_folder(folder, trainer, jax.random.key(99), REWARD, 45)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(_bits(a), _bits(b)), unbroken, resumed)
    lines = [json.loads(line) for line in (folder / METRICS_FILE).read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 46))
    np.testing.assert_allclose([line["loss"] for line in lines], metrics.loss, rtol=1e-6)
    assert {"seconds", *Metrics._fields} <= set(lines[0])
    assert [entry.name for entry in (folder / "checkpoints").iterdir()] == ["45"]
    # The bar is there without being asked for.
    shown = capsys.readouterr().err
    assert "45/45" in shown
    assert "traj/s" in shown
    again = run_in_folder(folder, trainer, KEY, REWARD, 45, bar=False)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(_bits(a), _bits(b)), unbroken, again)
    assert "45/45" not in capsys.readouterr().err


def test_a_plain_run_shows_a_bar_on_a_terminal_only(trainer, monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    shown = {}
    for terminal in (True, False):
        monkeypatch.setenv("TTY_COMPATIBLE", "1" if terminal else "0")  # what rich goes by
        trainer.run(trainer.init(KEY), REWARD, 20)
        shown[terminal] = capsys.readouterr().err
    assert "20/20" in shown[True]
    assert "log Z" in shown[True]
    assert shown[False] == ""


def test_callbacks_hear_of_every_dispatch_in_order(trainer):
    heard = []
    _, metrics = trainer.run(
        trainer.init(KEY), REWARD, 25, lambda done, part: heard.append((done, part.loss))
    )
    assert [done for done, _ in heard] == [10, 20, 25]
    np.testing.assert_array_equal(np.concatenate([loss for _, loss in heard]), metrics.loss)


def test_tensorboard_gets_the_last_value_of_every_metric(tmp_path, trainer, monkeypatch):
    written = []

    class SummaryWriter:
        def __init__(self, folder):
            written.append(folder)

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def close(self):
            written.append("closed")

    fake = types.SimpleNamespace(SummaryWriter=SummaryWriter)
    monkeypatch.setitem(sys.modules, "tensorboardX", fake)
    run_in_folder(tmp_path, trainer, KEY, REWARD, 10, bar=False, log_tensorboard=True)
    last = json.loads((tmp_path / METRICS_FILE).read_text().splitlines()[-1])
    assert written[0] == str(tmp_path / "tensorboard")
    assert ("gflownet/loss", pytest.approx(last["loss"]), 10) in written
    assert len(written) == len(Metrics._fields) + 2
    assert written[-1] == "closed"
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MfalError, match="pip install"):
        run_in_folder(tmp_path / "b", trainer, KEY, REWARD, 10, bar=False, log_tensorboard=True)


def test_a_folder_that_cannot_be_made_is_named(tmp_path, trainer):
    (tmp_path / "file").write_text("")
    with pytest.raises(MfalError, match="file"):
        run_in_folder(tmp_path / "file" / "run", trainer, KEY, REWARD, 10)


def _bits(leaf):
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


def test_a_run_without_number_of_steps_ends_when_told(tmp_path, trainer):
    state = run_in_folder(tmp_path, trainer, KEY, REWARD, None, bar=False, stop=lambda n: n >= 20)
    assert int(state.step) == 20
    with pytest.raises(MfalError, match="stop"):
        run_in_folder(tmp_path, trainer, KEY, REWARD, None)
