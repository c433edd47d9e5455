"""From a ledger to tables, files, plots and the terminal's page."""

import csv
import io
import json
import math

import pytest
from pymatgen.core import Lattice, Structure
from rich.console import Console

from mfal.campaign.config import CampaignConfig
from mfal.campaign.events import Best, Event, Progress
from mfal.campaign.ledger.book import Ledger
from mfal.campaign.ledger.budget import Account
from mfal.campaign.ledger.records import CrystalRecord, Outcome, Proposal, crystal_hash
from mfal.campaign.measured import best_proposals
from mfal.crystals import structure_to_cif
from mfal.oracles.types import Oracle
from mfal.report.advice import advice
from mfal.report.curve import Curve, compare_searches
from mfal.report.display import show_progress
from mfal.report.export import candidate_table, write_candidates
from mfal.report.html import write_page
from mfal.report.notebook import candidate_frame, read_summary
from mfal.report.page_parts import candidate_rows, words
from mfal.report.plain import summary_to_json
from mfal.report.plot import write_figure
from mfal.report.progress_figures import best_against_cost
from mfal.report.summary import summarise
from mfal.report.terminal import print_summary

ORACLES = [
    {"name": "cheap", "version": "1", "unit": "eV", "cost": 0.1, "higher_is_better": False},
    {"name": "sigma", "version": "1", "unit": "log10 S/cm", "cost": 1.0, "higher_is_better": True},
]
CIF = "data_x\n_cell_length_a 3.0\n"


def crystal(formula: str, known: bool = False) -> CrystalRecord:
    lattice = (3.0, 3.0, 3.0, 90.0, 90.0, 90.0)
    return CrystalRecord(
        hash=crystal_hash({"Li": len(formula)}, 225, lattice, formula),
        formula=formula,
        composition={"Li": 4, "O": 2},
        space_group=225,
        lattice=lattice,
        oxidation_states={"Li": 1, "O": -2},
        source="known:x" if known else "sampled",
        structure="{}" if known else None,
    )


def proposal(formula: str, fidelity: int, known: bool = False) -> Proposal:
    facts = ORACLES[fidelity]
    predicted = {} if known else {"mean": [0.5, -6.0], "std": [0.1, 1.0]}
    return Proposal(
        crystal(formula, known), fidelity, facts["name"], "1", facts["cost"], 1, predicted
    )


@pytest.fixture
def ledger(tmp_path):
    """Known K; proposals: A asked at both, B of the target, C only cheaply, D failed; E beside."""
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        opened.start({"config": {}, "oracles": ORACLES})
        rounds = [
            ("campaign", 0, [proposal("LiK", 1, known=True)]),
            ("campaign", 1, [proposal("LiA", 0), proposal("LiA", 1), proposal("LiD", 1)]),
            ("campaign", 2, [proposal("LiB", 1), proposal("LiC", 0)]),
            ("baseline", 1, [proposal("LiE", 1)]),
        ]
        values = {
            ("LiK", 1): -5.0,
            ("LiA", 0): 0.4,
            ("LiA", 1): -4.0,
            ("LiB", 1): -7.0,
            ("LiC", 0): 0.3,
            ("LiE", 1): -9.0,
        }
        for account, number, proposals in rounds:
            opened.propose(account, number, proposals, {})
            for query in opened.pending(account):
                value = values.get((query.crystal.formula, query.fidelity))
                status = "ok" if value is not None else "failed: no arrangement"
                detail = {"tried": 32, "cif": CIF}
                opened.conclude(query, Outcome(value, 0.2, status, 1.0, detail))
        predictions = {crystal("LiC").hash: {"mean": [0.3, -5.5], "std": [0.1, 0.7]}}
        opened.propose("campaign", 3, [], {"final": True, "predictions": predictions})
        yield opened


def test_candidates_are_ranked_by_answers_then_marked_expectations(ledger):
    summary = summarise(ledger)
    rows = [(c.rank, c.crystal.formula, c.value, c.basis) for c in summary.candidates]
    assert rows == [
        (1, "LiA", -4.0, "calculated"),
        (2, "LiC", -5.5, "predicted"),
        (3, "LiB", -7.0, "calculated"),
    ]
    assert summary.finished
    assert summary.best_known is not None
    assert summary.best_known.query.crystal.formula == "LiK"


@pytest.mark.parametrize(
    ("own", "other", "better", "said"),
    [
        (
            [-1.0, -3.0],
            [-2.0, -4.0, -9.0],
            True,
            "2 best (-2.00 against -3.00) the campaign did better",
        ),
        ([-1.0, -3.0], [-2.0, -2.02], True, "did as well as the funnel"),
        ([0.2], [0.5], False, "did better"),
        ([0.5], [0.2], False, "did worse"),
        ([-1.0] * 12, [-1.0] * 9 + [-2.0, 9.0], True, "10 best (-1.00 against -1.10)"),
        ([1.0], [], True, "the funnel found nothing that counts"),
        ([], [1.0], True, "only the funnel found something that counts"),
        ([], [], True, "neither search found anything that counts"),
    ],
)
def test_two_searches_are_compared_in_words(own, other, better, said):
    curves = [Curve([], [], [], values) for values in (own, other)]
    assert said in compare_searches(*curves, "funnel", better)


def polymorph(formula: str, group: int, source: str = "sampled") -> Proposal:
    """Of the target, about a crystal that differs from others of its formula in its group."""
    asked, lattice = proposal(formula, 1), (3.0, 3.0, 3.0, 90.0, 90.0, 90.0)
    name = crystal_hash({"Li": len(formula)}, group, lattice, formula + source)
    changed = asked.crystal._replace(hash=name, space_group=group, source=source)
    return asked._replace(crystal=changed)


def test_of_a_generated_formula_the_best_counts_and_of_a_pool_each(tmp_path):
    rows = [
        (polymorph("LiA", 225), -3.0),
        (polymorph("LiA", 221), -2.0),
        (polymorph("LiB", 225), -4.0),
        (polymorph("LiC", 1, "pool:one"), -5.0),
        (polymorph("LiC", 2, "pool:two"), -6.0),
    ]
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.start({"config": {}, "oracles": ORACLES})
        ledger.propose("campaign", 1, [each for each, _ in rows], {})
        for query, (asked, value) in zip(ledger.pending("campaign"), rows, strict=True):
            detail = {"pool": asked.crystal.source} if asked.crystal.pool_name else {}
            ledger.conclude(query, Outcome(value, None, "ok", 1.0, detail))
        summary = summarise(ledger)
    found = [(c.crystal.formula, c.crystal.space_group, c.standing) for c in summary.candidates]
    assert found == [
        ("LiA", 221, "new"),
        ("LiB", 225, "new"),
        ("LiC", 1, "pool"),
        ("LiC", 2, "pool"),
        ("LiA", 225, "polymorph"),
    ]
    assert summary.campaign.top == [None] * 5  # four count
    page = io.StringIO()
    print_summary(Console(file=page, width=160), summary, tmp_path)
    assert "Further polymorphs" in page.getvalue()


@pytest.mark.parametrize(
    ("said", "value", "status", "cell"),
    [
        (["inf"], 5.0, "ok; inf counts as 5", "5 ± 0.2 (inf)"),
        ([0.4], 0.4, "ok", "0.4 ± 0.2"),
        (["inf", 0.4], 2.7, "ok", "2.7 ± 0.2"),
    ],
)
def test_what_lies_beyond_an_oracles_range_is_said(ledger, said, value, status, cell):
    """A cage's barrier is no 5 eV, though it counts as that."""
    summary = summarise(ledger)
    best = summary.candidates[0]
    answer = best.observed[0]
    detail = {**answer.detail, "answers": said, "status": "ok"}
    best = best._replace(observed={**best.observed, 0: answer._replace(value=value, detail=detail)})
    summary = summary._replace(candidates=[best])
    header, (row,) = candidate_table(summary)
    assert row[header.index("cheap_status")] == status
    assert f">{cell}</td>" in candidate_rows(summary, {}, set())[1]


@pytest.mark.parametrize(
    ("formula", "told", "censoring", "expected"),
    [
        ("LiB", -3.0, "exact", [("LiB", -3.0, "measured"), ("LiA", -4.0, "calculated")]),
        ("LiA", -9.0, "exact", [("LiC", -5.5, "predicted"), ("LiB", -7.0, "calculated")]),
        ("LiA", -10.0, "below", [("LiC", -5.5, "predicted"), ("LiB", -7.0, "calculated")]),
        # A limit that the calculated value keeps tells nothing new.
        ("LiA", -2.0, "below", [("LiA", -4.0, "calculated"), ("LiC", -5.5, "predicted")]),
        ("LiC", -3.0, "above", [("LiC", -3.0, "measured"), ("LiA", -4.0, "calculated")]),
    ],
)
def test_what_was_measured_decides_rank_and_best(ledger, formula, told, censoring, expected):
    asked = proposal(formula, 1)._replace(fidelity=2, oracle="ionic_conductivity")
    ledger.propose("handoff", 1, [asked], {})
    (query,) = ledger.pending("handoff")
    detail = {"unit": "log10 S/cm", "censoring": censoring}
    ledger.conclude(query, Outcome(told, 0.1, "ok", 0.0, detail))
    summary = summarise(ledger)
    assert [(c.crystal.formula, c.value, c.basis) for c in summary.candidates][:2] == expected
    one = next(c for c in summary.candidates if c.crystal.formula == formula)
    if one.basis == "measured":
        sign = {"exact": "", "below": "< ", "above": "> "}[censoring]
        assert one.shown == f"{sign}{told:.2f}"
    best = best_proposals(ledger, ORACLES[-1], 1, 2)
    calculated = [row for row in expected if row[2] != "predicted"]
    assert (best[0][0].formula, best[0][1].value) == calculated[0][:2]


def test_a_budget_that_bought_nothing_says_what_would(tmp_path):
    with Ledger(tmp_path / "small.sqlite") as ledger:
        config = {"budget": 8.0, "rounds": 2, "space": {"elements": ["Li", "P"]}}
        ledger.start({"config": config, "oracles": ORACLES})
        ledger.propose("campaign", 0, [proposal("LiK", 1, known=True)], {})
        ledger.propose("campaign", 1, [proposal("LiA", 0)], {})
        for query in ledger.pending("campaign"):
            ledger.conclude(query, Outcome(-1.0, None, "ok", 0.0, {}))
        assert advice(summarise(ledger)) == []  # it goes on
        ledger.propose("campaign", 3, [], {"final": True})
        summary = summarise(ledger)
        asked, left, absent = advice(summary)
    assert "No candidate was asked of sigma" in asked
    assert "A budget of 12 s" in asked
    assert "of 8 s were left" in left
    assert absent.startswith("No candidate holds P:")
    console = Console(file=io.StringIO(), width=300)
    print_summary(console, summary, tmp_path)
    assert "No candidate holds P:" in console.file.getvalue()


def test_curves_charge_everything_and_never_fall(ledger):
    summary = summarise(ledger)
    assert summary.initial_cost == 1.0
    # After LiA at the target fidelity: 1 + 0.1 + 1; the failure costs too; then LiB and LiC.
    assert summary.campaign.cost == pytest.approx([2.1, 3.1, 4.1, 4.2])
    assert summary.campaign.best == [-4.0, -4.0, -4.0, -4.0]
    assert summary.baseline is not None
    assert (summary.baseline.cost, summary.baseline.best) == ([2.0], [-9.0])
    assert summary.spent == pytest.approx(4.2)
    assert summary.numbers["sigma"] == {"observed": 3, "failed": 1, "abandoned": 0}


def test_what_a_pool_is_begun_with_is_found_by_both_searches(tmp_path):
    with Ledger(tmp_path / "pool.sqlite") as ledger:
        ledger.start({"config": {"pool": ["embedded"]}, "oracles": ORACLES})
        ledger.propose("campaign", 0, [proposal("LiA", 1), proposal("LiB", 1)], {})
        ledger.propose("campaign", 1, [proposal("LiC", 1)], {})
        ledger.propose("baseline", 1, [proposal("LiD", 1)], {})
        values = {"LiA": -3.0, "LiB": -5.0, "LiC": -4.0, "LiD": -2.0}
        for query in ledger.pending("campaign") + ledger.pending("baseline"):
            value = values[query.crystal.formula]
            ledger.conclude(query, Outcome(value, None, "ok", 0.0, {"pool": "pool:x"}))
        summary = summarise(ledger)
    assert summary.campaign.cost == [1.0, 2.0, 3.0]
    assert summary.campaign.best == [-3.0, -3.0, -3.0]
    assert summary.baseline is not None
    assert summary.baseline.best == [-3.0, -3.0, -2.0]
    assert summary.best_known is None
    assert {candidate.standing for candidate in summary.candidates} == {"pool"}
    assert "candidates drawn from the pool" in words(summary)


def test_where_lower_is_better_the_ranking_turns_round(tmp_path):
    with Ledger(tmp_path / "low.sqlite") as ledger:
        ledger.start({"config": {}, "oracles": ORACLES[:1]})
        ledger.propose("campaign", 1, [proposal("LiA", 0), proposal("LiB", 0)], {})
        for query, value in zip(ledger.pending("campaign"), (0.2, 0.9), strict=True):
            ledger.conclude(query, Outcome(value, None, "ok", 0.0, {}))
        summary = summarise(ledger)
    assert [c.crystal.formula for c in summary.candidates] == ["LiA", "LiB"]
    assert summary.campaign.best == [0.2, 0.2]


def test_csv_and_cifs(ledger, tmp_path):
    summary = summarise(ledger)
    written = write_candidates(summary, tmp_path)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "candidates.csv").read_text())))
    assert [row["formula"] for row in rows] == ["LiA", "LiC", "LiB"]
    first, second, _ = rows
    assert first["sigma [log10 S/cm]"] == "-4"
    assert first["cheap_answer [eV]"] == "0.4"
    assert first["highest_fidelity_asked"] == "sigma"
    assert second["sigma_status"] == "not asked"
    assert second["basis"] == "predicted"
    assert {tmp_path / row["cif"] for row in rows} == set(written[1:])
    text = (tmp_path / first["cif"]).read_text()
    assert text.endswith(CIF)
    assert "rank 1" in text
    assert len(candidate_table(summary)[0]) == len(set(candidate_table(summary)[0]))


def test_where_atoms_have_another_group_row_and_cif_say_so(ledger, tmp_path):
    candidate = summarise(ledger).candidates[0]
    cif = "data_x\n_symmetry_Int_Tables_number   221\n"
    detail = {"answers": [-4.5, -3.5], "typical": 1, "tried": 3}
    observed = {m: a._replace(detail=detail) for m, a in candidate.observed.items()}
    changed = candidate._replace(cif=cif, observed=observed)
    own = changed.crystal.space_group
    assert changed.groups == f"{own} → 221"
    assert changed.values_of_atoms == {0: -3.5, 1: -3.5}
    summary = summarise(ledger)._replace(candidates=[changed])
    (row,) = csv.DictReader(io.StringIO((write_candidates(summary, tmp_path)[0]).read_text()))
    assert (row["space_group"], row["space_group_of_atoms"]) == (str(own), "221")
    text = (tmp_path / row["cif"]).read_text()
    assert "# sigma 1 of these atoms: -3.5 log10 S/cm" in text
    assert f"# proposed in space group {own}, its atoms have 221" in text


def test_a_formula_cannot_choose_where_its_file_goes(ledger):
    candidate = summarise(ledger).candidates[0]
    evil = candidate._replace(crystal=candidate.crystal._replace(formula="../../etc/<b>Li"))
    assert "/" not in evil.file_name
    assert "." not in evil.file_name.removesuffix(".cif")


def test_json_is_plain_and_whole(ledger):
    data = json.loads(summary_to_json(summarise(ledger)))
    assert [c["rank"] for c in data["candidates"]] == [1, 2, 3]
    assert data["candidates"][0]["answers"]["sigma"]["value"] == -4.0
    assert data["baseline"]["best"] == [-9.0]


def test_plot_shows_both_searches(ledger, tmp_path):
    from matplotlib.figure import Figure

    figure = best_against_cost(summarise(ledger))
    path, table = write_figure(figure, tmp_path)
    assert path.read_bytes()[:4] == b"\x89PNG"
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [row["best sigma [log10 S/cm]"] for row in rows] == ["-4", "-4", "-4", "-4", "-9"]
    axes = Figure().subplots()
    figure.draw(axes)
    campaign, random, known = (text.get_text() for text in axes.get_legend().get_texts())
    assert "-4.00" in campaign
    assert "funnel" in random
    assert "-9.00" in random
    assert "LiK" in known
    assert "CPU time" in axes.get_xlabel()
    assert "log10 S/cm" in axes.get_ylabel()


def test_terminal_page(ledger, tmp_path):
    console = Console(width=140, record=True, file=io.StringIO())
    print_summary(console, summarise(ledger), tmp_path)
    text = console.export_text()
    assert text.index("LiA") < text.index("LiC") < text.index("LiB")
    assert "the baseline (funnel) at equal CPU time: -9.00" in text
    assert "Spent 4.2 CPU s, of which 1 on known" in text
    assert "sigma 3 answered, 1 failed" in text


@pytest.mark.parametrize("terminal", [False, True])
def test_display_tells_stage_budget_mix_and_best(tmp_path, terminal):
    file = io.StringIO()
    console = Console(file=file, width=120, force_terminal=terminal)
    oracle = Oracle("sigma", "1", 0, 1.0, "log10 S/cm", True, (-20.0, 2.0), lambda s: [])
    progress = Progress(
        Account(10.0, 4.0, 1.0), (7,), ("sigma",), 1, Best("LiA", 225, -4.0, "log10 S/cm", False)
    )
    with show_progress(console, CampaignConfig(), [oracle], tmp_path) as notify:
        notify(Event("train", 2, 5, "training the sampler", 10, 40, progress))
        notify(Event("query", 2, 5, "LiA (no. 225), sigma: -4", 1, 1, progress))
    text = file.getvalue()
    assert "[2/5] train" in text
    assert "best LiA (no. 225) -4 log10 S/cm" in text or terminal
    assert ("\x1b[" in text) == terminal
    if not terminal:
        assert "spent 4 of 10 CPU s" in text


def test_a_campaign_that_has_proposed_nothing_yet_has_a_report(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.start({"config": {}, "oracles": ORACLES})
        ledger.propose("campaign", 0, [proposal("LiK", 1, known=True)], {})
        before = write_page(summarise(ledger), tmp_path)
        ledger.conclude(ledger.pending("campaign")[0], Outcome(-5.0, None, "ok", 0.0, {}))
        after = write_page(summarise(ledger), tmp_path)
    assert before[0] == tmp_path / "report.html"
    text = before[0].read_text()
    assert "still under way" in text
    assert "Nothing to draw yet: best proposal so far against cost" in text
    assert tmp_path / "figures" / "fidelity_mix.png" in set(after) - set(before)


def relaxed(hull_distance: float) -> dict:
    """What an answer says of relaxed atoms."""
    return {
        "potential": "CHGNet 0.3.0",
        "energy_ev_per_atom": -4.0,
        "energies_ev_per_atom": [-3.9, -4.0],
        "energy_spread_ev_per_atom": 0.1,
        "statuses": ["converged", "steps used up"],
        "lowest": 1,
        "volume_change": -0.05,
        "shift_angstrom": 0.2,
        "space_group_before": 225,
        "space_group_after": 221,
        "survived": False,
        "steps": 30,
        "cell_before": [3.0, 3.0, 3.0, 90.0, 90.0, 90.0],
        "cell_after": [2.9, 2.9, 2.9, 90.0, 90.0, 90.0],
        "hull_distance_ev_per_atom": hull_distance,
        "hull_bounded": hull_distance > 0,
        "decomposition": {"Li2O": 0.75, "O2": 0.25},
    }


def test_known_compounds_and_unstable_ones_stand_apart(tmp_path):
    """The best value is a known compound's, the next misses the hull; neither is a discovery."""
    config = {"stability": {"mode": "constraint", "max_hull_distance": 0.1, "low": 0, "high": 0}}
    rows = [("LiA", -1.0, 0.0, "LiA, mp-1"), ("LiB", -2.0, 0.3, ""), ("LiC", -3.0, 0.05, "")]
    lowest = {"imaginary": 2, "lowest_thz": -1.5}
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.start({"config": config, "oracles": ORACLES})
        ledger.propose("campaign", 1, [proposal(name, 1) for name, *_ in rows], {})
        for query, (_, value, distance, known_as) in zip(
            ledger.pending("campaign"), rows, strict=True
        ):
            detail = {"cif": CIF, "relaxation": relaxed(distance), "known_as": known_as}
            ledger.conclude(query, Outcome(value, None, "ok", 1.0, detail))
        last = proposal("LiC", 1)._replace(oracle="imaginary_modes", fidelity=2)
        ledger.propose("finalists", 2, [last], {})
        (query,) = ledger.pending("finalists")
        ledger.conclude(query, Outcome(2.0, None, "ok", 1.0, {"provenance": lowest}))
        summary = summarise(ledger)
    ranks = [(c.rank, c.crystal.formula, c.standing) for c in summary.candidates]
    assert ranks == [(1, "LiC", "new"), (2, "LiA", "known"), (3, "LiB", "unstable")]
    assert summary.campaign.best == [-3.0]  # found with the last answer, after paying for all
    assert summary.campaign.cost == pytest.approx([3.0])

    header, table = candidate_table(summary)
    first, row, _ = (dict(zip(header, cells, strict=True)) for cells in table)
    assert (first["imaginary_modes"], first["lowest_frequency [THz]"]) == ("2", "-1.500")
    assert row["imaginary_modes"] == "not asked"
    plain = json.loads(summary_to_json(summary))["candidates"]
    assert [row["vibrations"] for row in plain] == [{"status": "ok", **lowest}, None, None]
    assert row["known_as"] == "LiA, mp-1"
    assert row["relaxed_by"] == "CHGNet 0.3.0 (steps used up)"
    assert row["decomposes_to"] == "0.75 Li2O + 0.25 O2"
    assert (row["volume_change [%]"], row["relaxed_space_group"]) == ("-5.00", 221)
    assert (row["structure_survived"], row["relaxed_a [Å]"]) == ("no", "2.9000")

    page = io.StringIO()
    print_summary(Console(file=page, width=160), summary, tmp_path)
    best, _, rest = page.getvalue().partition("Known compounds")
    assert "LiC" in best
    assert "0.050" in best
    assert "LiA, mp-1" in rest
    assert "≥ 0.000" in rest
    assert "LiB" in rest.partition("miss the requirement")[2]
    write_page(summary, tmp_path)
    assert "known as LiA, mp-1" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_results_come_as_frame_structures_html_and_picture(ledger, tmp_path):
    summary = read_summary(tmp_path)
    frame = candidate_frame(summary)
    assert list(frame["formula"]) == [c.crystal.formula for c in summary.candidates]
    assert frame["sigma [log10 S/cm]"].dtype == float
    assert frame["sigma [log10 S/cm]"][0] == -4.0
    assert math.isnan(frame["cheap_answer [eV]"][2])  # of the target alone
    shown = summary._repr_html_()
    assert shown.count("<tr>") == 1 + len(summary.candidates)
    assert "<td>LiA</td>" in shown
    assert "sigma, log10 S/cm" in shown
    assert best_against_cost(summary)._repr_png_().startswith(b"\x89PNG")
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4), ["Li", "F"], [[0] * 3, [0.5] * 3])
    candidate = summary.candidates[0]._replace(cif=structure_to_cif(salt))
    assert candidate.structure.composition.reduced_formula == "LiF"
    assert candidate._replace(cif=None).structure is None
