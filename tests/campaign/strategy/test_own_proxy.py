"""A campaign that learns with a model of the user's own."""

import dataclasses
import tomllib

import own_proxies
import pytest
from halides import CONFIG, PROBLEM
from toy_campaign import InstantExecutor, digest

from mfal.campaign.config import ProxyConfig
from mfal.campaign.folder import read_campaign
from mfal.campaign.loop import run_campaign
from mfal.campaign.options import from_mapping
from mfal.campaign.strategy.informed import make_strategy
from mfal.cli import main
from mfal.errors import MfalError


def run(folder, config=CONFIG, strategy=None, **options) -> None:
    strategy = strategy or make_strategy(PROBLEM, config)
    run_campaign(folder, config, executor=InstantExecutor(), strategy=strategy, **options)


def test_it_runs_stops_goes_on_and_ends_the_same(tmp_path, monkeypatch):
    strategy = make_strategy(PROBLEM, CONFIG)
    run(tmp_path / "whole", strategy=strategy)
    with read_campaign(tmp_path / "whole") as ledger:
        rounds = dict(ledger.rounds("campaign"))
        assert ledger.meta("proxy") == {"name": "ridge", "version": "1"}
        proposed = [a for a in ledger.answers("campaign") if a.query.round]
    assert set(rounds) == {0, 1, 2, 3}
    assert len(proposed) > 4
    assert all(len(a.query.predicted["mean"]) == 3 for a in proposed)
    assert rounds[1]["evidence"]["coupled"] != rounds[1]["evidence"]["single"]
    assert all(a.query.predicted["worth"] > 0 for a in proposed)

    def stop(event):
        if event.stage == "train" and event.round == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", strategy=strategy, notify=stop)
    stored = tomllib.loads((tmp_path / "broken" / "config.toml").read_text())
    assert stored["proxy"]["model"] == "own_proxies:three_lines"
    # A strategy made anew, as by a process that knows nothing of what was before.
    run(tmp_path / "broken", from_mapping(stored))
    assert digest(tmp_path / "broken") == digest(tmp_path / "whole")

    monkeypatch.setenv(own_proxies.VERSION, "2")
    with pytest.raises(MfalError, match="begun with proxy ridge 1, now it is ridge 2"):
        run(tmp_path / "broken")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--proxy-model", "ridge"], "proxy.model 'ridge'; give ensemble or module:name"),
        (["--proxy-model", "no.such:ridge"], "proxy.model 'no.such:ridge': No module named"),
        (["--proxy-model", "own_proxies:lasso"], "proxy.model 'own_proxies:lasso'"),
        (["--proxy-model", "own_proxies:nothing"], "is str, not a mfal.proxies.Proxy"),
        (
            ["--proxy-model", "own_proxies:two", "--proxy-members", "5"],
            "proxy.members beside proxy.model own_proxies:two; leave it out",
        ),
    ],
)
def test_a_wrong_model_is_named_before_anything_is_written(arguments, named, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--oracles", "toy_oracles:three", *arguments]
    assert main(["discover", "--out", str(out), *options]) == 2
    assert named in capsys.readouterr().err
    assert not out.exists()


def test_a_model_for_other_oracles_is_named(tmp_path):
    config = dataclasses.replace(CONFIG, proxy=ProxyConfig(model="own_proxies:two", capacity=64))
    with pytest.raises(MfalError, match=r"proxy ridge: posterior returns .* \[\(2,\), \(2, 2\)"):
        run(tmp_path, config)
