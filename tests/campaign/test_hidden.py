"""A campaign from which a compound is hidden meets it nowhere.

Everything that a campaign looks up is asked for the compound, with the option and without it: the
second shows that the question would have been answered.
"""

import csv
import math
from concurrent.futures import Executor, Future
from importlib.resources import files

import numpy as np
import pytest
import toy_campaign

from mfal.acquisition.precedents import precedent_of
from mfal.campaign.config import CampaignConfig, SpaceConfig, StabilityConfig
from mfal.campaign.ledger.book import Ledger
from mfal.campaign.ledger.crystals import known_record, record_of
from mfal.campaign.options import from_mapping
from mfal.campaign.problem import make_problem
from mfal.campaign.strategy.exchanges import crystal_of, exchanged_crystals
from mfal.campaign.strategy.experience import past_experience
from mfal.campaign.strategy.stability import Stability
from mfal.campaign.workers.dispatch import Dispatcher
from mfal.campaign.workers.isolation import QueryLimits
from mfal.crystals.elements import SYMBOLS
from mfal.crystals.formulas import formula_amounts
from mfal.crystals.hidden import is_hidden, touches_hidden
from mfal.data import known_crystals, load_embedded, save_json
from mfal.data.rows import material_from_structure
from mfal.data.table import MaterialTable
from mfal.errors import MfalError
from mfal.oracles.loading import load_oracles
from mfal.oracles.stability.hull import competing_phases, hull_distance

HIDE = ("Li3OCl", "Li3YCl6", "Li6PS5Cl", "Li10GeP2S12", "Li3N")
SPACE = SpaceConfig(elements=("Li", "O", "Cl", "Br"))
ORACLES = CampaignConfig().oracles


def hidden(compounds):
    """Which of the hidden formulas occur among compounds."""
    found = list(compounds)
    return {formula for formula in HIDE if any(is_hidden(each, [formula]) for each in found)}


def amounts(row):
    return {SYMBOLS[i]: float(row[i]) for i in np.flatnonzero(row)}


@pytest.fixture(scope="module")
def problems():
    """With nothing hidden, and with all."""
    return [make_problem(SPACE, ORACLES, hide=hide) for hide in ((), HIDE)]


def test_known_crystals_of_the_beginning(problems):
    """They are the initial data, and the parents of exchanges."""
    open_, blind = (
        {s.composition.element_composition.formula for _, s in p.known()} for p in problems
    )
    assert hidden(open_) == {"Li3OCl", "Li3YCl6", "Li3N"}  # the others are disordered or larger
    assert blind == {formula for formula in open_ if not hidden([formula])}


@pytest.fixture(scope="module")
def past(problems):
    """What a campaign knows beforehand of which crystals exist."""
    return past_experience(problems[1], CampaignConfig(space=SPACE, hide=HIDE))


def test_exchanges_and_precedents(problems, past):
    """Li3OCl has that precedent that bromide may be exchanged in Li3OBr: so a chemist would go."""
    known = np.asarray(past.precedents.composition)[np.asarray(past.precedents.known)]
    assert len(known) > 5
    assert not hidden(map(amounts, known))
    table = load_embedded()
    record = known_record(table.structure(table.index("isotype-Li3OCl")), "")
    crystal = crystal_of(record.composition, record.space_group, np.array(record.lattice))
    assert np.asarray(precedent_of(past.precedents, crystal)).tolist() == [0, 1, 0]
    (child,) = [
        child
        for child in exchanged_crystals(problems[1], SPACE)
        if is_hidden(child.composition, HIDE)
    ]
    assert child.source == "exchanged:known:obelix-qbb"  # Li3OBr


def test_candidates_relaxed_beforehand(past):
    """Nothing whose hull distance was measured from a hidden compound, nor its own exchanges."""
    with (files("mfal.campaign.strategy") / "tables/relaxed_candidates.csv").open() as file:
        cells = [row["cell"] for row in csv.DictReader(file)]
    within = [cell for cell in cells if set(formula_amounts(cell)) <= set(SPACE.elements)]
    assert any(touches_hidden(cell, HIDE) for cell in within)
    kept = [amounts(row) for row in np.asarray(past.crystal.composition)]
    assert 0 < len(kept) < len(within)
    assert not any(touches_hidden(row, HIDE) for row in kept)


def test_what_counts_as_known(tmp_path):
    """In the package's tables, and in the user's own."""
    table = load_embedded()
    structure = table.structure(table.index("mp-dielectric-2840"))  # Li6PS5Cl
    mine = tmp_path / "mine.json"
    rows = [material_from_structure("mine-1", structure, source="here", licence="mine")]
    save_json(MaterialTable.from_rows(rows), mine)
    open_, blind = (known_crystals([str(mine)], hide=hide) for hide in ((), HIDE))
    assert open_.name_of(structure).startswith("Li6PS5Cl, ")
    assert blind.name_of(structure) == ""
    assert hidden(open_.rows) == set(HIDE)
    assert not hidden(blind.rows)
    for each in blind.tables:
        assert not hidden(each.formulas)
        assert not hidden(map(amounts, each.composition))


def test_phases_of_the_hull():
    assert hidden(phase.amounts for phase in competing_phases()) >= set(HIDE) - {"Li3YCl6"}
    blind = competing_phases(HIDE)
    assert not hidden(phase.amounts for phase in blind)
    assert len(blind) > len(competing_phases()) - 20
    lowest = min(phase.energy for phase in competing_phases() if is_hidden(phase.amounts, ["Li3N"]))
    on_it, below = (hull_distance(lowest, "Li3N", phases) for phases in (None, blind))
    assert on_it.distance == pytest.approx(0, abs=1e-6)
    assert below.distance < -0.1
    assert "Li3N" not in below.products


def test_the_oracle_of_hull_distances():
    reference = ("mfal.oracles:stable_conductors",)
    open_, blind = (load_oracles(reference, hide) for hide in ((), HIDE))
    assert [o.name for o in open_] == [o.name for o in blind]
    changed = {o.name for o, b in zip(open_, blind, strict=True) if o.version != b.version}
    assert changed == {"hull_distance"}
    assert [(o.fidelity, o.cost) for o in open_] == [(o.fidelity, o.cost) for o in blind]


def test_energies_of_windows():
    """Of the compound itself nothing is told; of others as much as before."""
    config = StabilityConfig(low=0.5, high=1.5, energies=("measured",))

    def judged(formula, hide):
        crystal = crystal_of({"Li": 1}, 1, np.ones(6))
        record = record_of(crystal, {"Li": 1.0}, "sampled")._replace(formula=formula)
        return Stability(config, hide).judge([record], []).limits[0]

    assert judged("Li3N", ()).hull_distance == pytest.approx(0, abs=0.05)
    assert math.isnan(judged("Li3N", HIDE).hull_distance)
    assert judged("Li2O", HIDE) == judged("Li2O", ())


def test_it_travels_with_the_question(tmp_path):
    """Workers are other processes: they know what the task says."""
    tasks = []

    class Kept(Executor):
        def submit(self, function, /, *args, **kwargs):
            tasks.append(args[0])
            return Future()

    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.start({"config": {}, "oracles": []})
        ledger.propose("campaign", 1, [toy_campaign.proposal(1, 0)], {})
        config = CampaignConfig(hide=HIDE)
        dispatcher = Dispatcher(ledger, Kept(), config, lambda query: QueryLimits(10.0, 0, 1.0))
        dispatcher.submit(ledger.pending("campaign"))
    assert [task.hide for task in tasks] == [HIDE]


def test_options_that_make_no_sense_are_refused():
    assert from_mapping({"hide": "Li3OCl, Li3YCl6"}).hide == ("Li3OCl", "Li3YCl6")
    with pytest.raises(MfalError, match="'argyrodite' is no formula"):
        CampaignConfig(hide=("argyrodite",))
    with pytest.raises(MfalError, match="hide Li3OCl with a pool"):
        CampaignConfig(hide=("Li3OCl",), pool=("embedded",))
