"""Queries out, answers in."""

from concurrent.futures import Executor, Future

import toy_campaign

from mfal.campaign.config import CampaignConfig
from mfal.campaign.ledger.book import Ledger
from mfal.campaign.ledger.records import Outcome
from mfal.campaign.workers.dispatch import Dispatcher
from mfal.campaign.workers.isolation import QueryLimits

ATOMS = {
    "lattice": [[3, 0, 0], [0, 3, 0], [0, 0, 3]],
    "species": ["Li"],
    "coordinates": [[0, 0, 0]],
}


class Waiting(Executor):
    """Answers when it is told to."""

    def __init__(self):
        self.tasks, self.futures = [], []

    def submit(self, fn, /, *args, **kwargs):
        self.tasks.append(args[0])
        self.futures.append(Future())
        return self.futures[-1]


def test_a_crystals_atoms_are_found_once(tmp_path):
    """The second question about it waits for the first, and has its atoms; another's doesn't."""
    executor = Waiting()
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.start({"config": {}, "oracles": []})
        asked = [toy_campaign.proposal(1, 0), toy_campaign.proposal(1, 1)]
        ledger.propose("campaign", 1, [*asked, toy_campaign.proposal(2, 1)], {})
        limits = QueryLimits(10.0, 0, 1.0)
        dispatcher = Dispatcher(ledger, executor, CampaignConfig(), lambda query: limits)
        queries = ledger.pending("campaign")
        dispatcher.submit(queries)
        dispatcher.submit(queries)  # again, as after a break
        assert [(t.crystal.formula, t.oracle) for t in executor.tasks] == [
            ("Li2O", "cheap"),
            ("Li3O", "dear"),
        ]
        assert dispatcher.pending("campaign") == 3
        executor.futures[0].set_result(Outcome(0.5, None, "ok", 1.0, {"arrangement": ATOMS}))
        dispatcher.poll(lambda query, outcome: None)
        assert executor.tasks[2].oracle == "dear"
        assert executor.tasks[2].found["arrangement"] == ATOMS
        for future in executor.futures[1:]:
            future.set_result(Outcome(0.1, None, "ok", 1.0, {}))
        dispatcher.gather(lambda query, outcome: None)
        assert not ledger.pending("campaign")
