"""A campaign that learns with a model of the user's own."""

import dataclasses
import tomllib
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import own_proxies
import pytest
from pymatgen.core import Lattice, Structure
from toy_campaign import InstantExecutor, digest

from mfal.campaign.config import ProxyConfig, from_mapping
from mfal.campaign.folder import read_campaign
from mfal.campaign.loop import run_campaign
from mfal.campaign.problem import make_problem
from mfal.campaign.strategy.learned import learned_strategy
from mfal.cli import main
from mfal.crystals.elements import SYMBOLS
from mfal.crystals.types import Crystal
from mfal.envs import discrete_environment
from mfal.errors import MfalError

CONFIG = from_mapping(
    {
        "budget": 30.0,
        "rounds": 2,
        "initial": 5,
        "realisations": 1,
        "relax": False,
        "batch": 4,
        "baseline": False,
        "oracles": ["toy_oracles:three"],
        "proxy": {"model": "own_proxies:three_lines", "capacity": 64},
        "sampler": {"steps": 20, "batch": 8, "width": 16, "samples": 16},
    }
)
HALOGENS = ("F", "Cl", "Br")
PLACES = jnp.array([SYMBOLS.index(symbol) for symbol in HALOGENS])


@pytest.fixture(scope="module", autouse=True)
def _unoptimised():
    """Nearly all the time goes into compiling; what little runs may run unoptimised."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@cache
def known():
    """Primitive cells: rock salts and antifluorites, edges of the cubic cells in Å."""
    salts = {"F": 4.03, "Cl": 5.14, "Br": 5.50}
    oxides = {"O": 4.62, "S": 5.71}
    found = [
        (f"Li{x}", Structure(face_centred(a), ["Li", x], [[0, 0, 0], [0.5, 0.5, 0.5]]))
        for x, a in salts.items()
    ]
    places = [[0, 0, 0], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]]
    return found + [
        (f"Li2{x}", Structure(face_centred(a), [x, "Li", "Li"], places)) for x, a in oxides.items()
    ]


def face_centred(edge: float) -> Lattice:
    return Lattice(edge / 2 * (np.ones((3, 3)) - np.eye(3)))


def halides(config):
    """Rock salts of six lithium and six halide ions: compiles in no time."""
    environment = discrete_environment(
        jnp.zeros(3, jnp.int32),
        action_mask=lambda counts: jnp.full(3, counts.sum() < 6),
        step=lambda counts, k: counts.at[k].add(1),
        parent_mask=lambda counts: counts > 0,
        undo=lambda counts, k: counts.at[k].add(-1),
        max_steps=6,
    )

    def to_crystal(counts):
        composition = jnp.zeros(len(SYMBOLS)).at[PLACES].set(counts.astype(jnp.float32))
        composition = composition.at[SYMBOLS.index("Li")].set(6.0)
        edge = 4.0 + jnp.array([0.0, 1.1, 1.5]) @ counts / 6
        return Crystal(
            composition, jnp.int32(225), jnp.append(jnp.full(3, edge), jnp.full(3, 90.0))
        )

    return make_problem(config.space, config.oracles)._replace(
        environment=environment,
        to_crystal=to_crystal,
        oxidation_states=lambda counts: {"Li": 1.0} | dict.fromkeys(HALOGENS, -1.0),
        known=known,
    )


def run(folder, config=CONFIG, **options) -> None:
    strategy = learned_strategy(PROBLEM, config)
    run_campaign(folder, config, executor=InstantExecutor(), strategy=strategy, **options)


PROBLEM = halides(CONFIG)


def test_it_runs_stops_goes_on_and_ends_the_same(tmp_path, monkeypatch):
    run(tmp_path / "whole")
    with read_campaign(tmp_path / "whole") as ledger:
        rounds = dict(ledger.rounds("campaign"))
        assert ledger.meta("proxy") == {"name": "ridge", "version": "1"}
        proposed = [a for a in ledger.answers("campaign") if a.query.round]
    assert set(rounds) == {0, 1, 2, 3}
    assert len(proposed) > 4
    assert all(len(a.query.predicted["mean"]) == 3 for a in proposed)
    assert rounds[1]["guard"]["joint_score"] != rounds[1]["guard"]["single_score"]

    def stop(event):
        if event.stage == "train" and event.round == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", notify=stop)
    stored = tomllib.loads((tmp_path / "broken" / "config.toml").read_text())
    assert stored["proxy"]["model"] == "own_proxies:three_lines"
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
