"""A whole campaign over a pool: candidates with atoms, the same ledger, killed and resumed."""

import json

import pytest
import toy_campaign
from pymatgen.core import Lattice, Structure
from toy_campaign import InstantExecutor, digest

from mfal.campaign.events import Event
from mfal.campaign.folder import read_campaign
from mfal.campaign.loop import run_campaign
from mfal.campaign.options import from_mapping
from mfal.campaign.pool import open_pool, prepare_pool
from mfal.campaign.pool.store import POOL_NAME
from mfal.campaign.problem import make_problem
from mfal.campaign.strategy.informed import make_strategy
from mfal.campaign.strategy.types import Round
from mfal.errors import MfalError
from mfal.report.export import candidate_table
from mfal.report.summary import summarise

CONFIG = {
    "budget": 60.0,
    "rounds": 2,
    "initial": 4,
    "relax": False,
    "pool": ["given"],
    "oracles": ["toy_oracles:three"],
    "proxy": {"model": "own_proxies:three_lines", "capacity": 64},
    "sampler": {"samples": 16},
    "space": {"banned": ["I"]},
}


def structures() -> list[Structure]:
    """Rock salts and antifluorites, of elements that a sampler would not take among them."""
    salts = {"F": 4.03, "Cl": 5.14, "Br": 5.50, "I": 6.01, "H": 4.08}
    oxides = {"O": 4.62, "S": 5.71, "Se": 6.0, "Te": 6.5}
    found = []
    for anion, edge in salts.items():
        cell, sites = Lattice.cubic(edge), [[0, 0, 0], [0.5, 0.5, 0.5]]
        found.append(Structure.from_spacegroup(225, cell, ["Li", anion], sites))
    for anion, edge in oxides.items():
        cell, sites = Lattice.cubic(edge), [[0.25, 0.25, 0.25], [0, 0, 0]]
        found.append(Structure.from_spacegroup(225, cell, ["Li", anion], sites))
    return found


def run(folder, **options) -> None:
    config = from_mapping(CONFIG)
    run_campaign(folder, config, executor=InstantExecutor(), pool=structures(), **options)


@pytest.mark.slow
def test_it_asks_the_pool_and_goes_on_where_it_was(tmp_path) -> None:
    run(tmp_path / "whole")
    with read_campaign(tmp_path / "whole") as ledger:
        answers, random = ledger.answers("campaign"), ledger.answers("baseline")
        summary = summarise(ledger)
        assert ledger.meta("pool")["left_out"] == {"by --banned": 1}
    asked = [answer.query for answer in (*answers, *random)]
    assert {query.round for query in asked} == {0, 1, 2}
    for query in asked:
        assert query.crystal.proposed
        assert query.structures == 1
        atoms = Structure.from_dict(json.loads(query.crystal.structure))
        assert atoms.properties["material"] == query.crystal.pool_name
        assert "I" not in query.crystal.composition
    assert len({query.crystal.hash for query in asked}) > 4
    # What was drawn at the start is found as well; nothing of the pool is known beforehand.
    assert summary.best_known is None
    rounds = {a.query.round for c in summary.candidates for a in c.observed.values()}
    assert 0 in rounds
    header, rows = candidate_table(summary)
    assert all(row[header.index("source")].startswith("pool:structure-") for row in rows)

    def stop(event):
        if event.stage == "choose" and event.round == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", notify=stop)
    # The sources are not read again: what they have become since bears on nothing.
    config = from_mapping(CONFIG)
    run_campaign(tmp_path / "broken", config, executor=InstantExecutor())
    assert digest(tmp_path / "broken") == digest(tmp_path / "whole")


def test_the_pool_belongs_to_the_campaign(tmp_path) -> None:
    """A campaign without learning: the pool is read before it begins, and looked after."""
    told: list[Event] = []
    run(tmp_path, strategy=toy_campaign.strategy(), notify=told.append)
    (said,) = [event.text for event in told if event.stage == "pool"]
    assert said == "8 candidates, 8 of them with atoms; left out: 1 by --banned"
    with read_campaign(tmp_path) as ledger:
        assert ledger.meta("pool")["candidates"] == 8
    run(tmp_path, strategy=toy_campaign.strategy())
    (tmp_path / POOL_NAME).unlink()
    with pytest.raises(MfalError, match="restore it"):
        run(tmp_path, strategy=toy_campaign.strategy())


def test_it_begins_with_the_pool(tmp_path) -> None:
    config = from_mapping(CONFIG)
    prepare_pool(tmp_path, config, structures())
    problem = make_problem(config.space, config.oracles, generate=False)
    strategy = make_strategy(problem._replace(pool=open_pool(tmp_path)), config)
    nothing = Round(0, 2, [], [], [], 60.0, (60.0,) * 3, lambda _: set(), lambda *_: None)
    decision = strategy.initial(nothing)
    assert [p.fidelity for p in decision.proposals] == [0, 1, 2] * 4
    assert all(p.structures == 1 and p.crystal.structure for p in decision.proposals)
    assert decision == strategy.initial(nothing)
