"""Candidates in words."""

from collections import Counter

import hypothesis
import pytest
from hypothesis import strategies as st

from mfal.campaign.ledger.book import Ledger
from mfal.campaign.ledger.records import CrystalRecord, Outcome, Proposal
from mfal.crystals.formulas import formula_amounts
from mfal.report.html import write_page
from mfal.report.portraits import becomes, portraits
from mfal.report.summary import summarise

ORACLE = {"name": "sigma", "version": "1", "unit": "log10 S/cm", "cost": 1.0}
ORACLE |= {"higher_is_better": True}
LATTICE = (5.5, 5.5, 10.9, 90.0, 90.0, 120.0)
RELAXED = {
    "energies_ev_per_atom": [-5.7, -5.78],
    "volume_change": -0.03,
    "survived": True,
    "cell_after": list(LATTICE),
    "hull_distance_ev_per_atom": 0.028,
    "hull_bounded": True,
    "hull_lacking": [],
    "decomposition": {"Li4SiO4": 0.6, "Li2O": 0.4},
}


def test_a_decomposition_is_written_as_a_reaction():
    products = {"Li4SiO4": 0.6, "Li2O": 0.4}
    assert becomes("Li8SiO6", products) == "Li8SiO6 → Li4SiO4 + 2 Li2O"
    assert becomes("Li2SiF6", {"SiF4": 5 / 9, "LiF": 4 / 9}) == "Li2SiF6 → SiF4 + 2 LiF"
    assert becomes("Li2SiF6", {}) == ""


@hypothesis.given(
    st.dictionaries(
        st.sampled_from(["Li2O", "SiO2", "Li2S", "P2S5", "LiCl"]), st.integers(1, 8), min_size=1
    )
)
def test_reactions_balance(parts):
    whole: Counter = Counter()
    for name, number in parts.items():
        whole.update({s: int(number * n) for s, n in formula_amounts(name).items()})
    formula = "".join(f"{symbol}{n}" for symbol, n in whole.items())
    atoms = {name: number * sum(formula_amounts(name).values()) for name, number in parts.items()}
    shares = {name: n / sum(whole.values()) for name, n in atoms.items()}
    right = becomes(formula, shares).partition(" → ")[2]
    found: Counter = Counter()
    for term in right.split(" + "):
        number, _, name = term.rpartition(" ")
        found.update({s: int(number or 1) * n for s, n in formula_amounts(name).items()})
    assert found == whole


def summary_of(folder, *details, source="sampled", formula="Li8SiO6"):
    """A campaign of one candidate for each detail; imaginary modes, where it is told."""
    with Ledger(folder / "ledger.sqlite") as ledger:
        ledger.start({"config": {}, "oracles": [ORACLE]})
        proposals = [
            Proposal(
                CrystalRecord(
                    f"{n:032x}", formula, {"Li": 16, "Si": 2, "O": 12}, 185, LATTICE,
                    {"Li": 1, "Si": 4, "O": -2}, source,
                ), 0, "sigma", "1", 1.0, 1, {},
            )
            for n in range(len(details))
        ]  # fmt: skip
        ledger.propose("campaign", 1, proposals, {})
        for query, detail in zip(ledger.pending("campaign"), details, strict=True):
            ledger.conclude(query, Outcome(-2.6, None, "ok", 1.0, detail))
        asked = [
            p._replace(oracle="imaginary_modes", fidelity=1)
            for p, detail in zip(proposals, details, strict=True)
            if "modes" in detail
        ]
        ledger.propose("finalists", 1, asked, {})
        for query in ledger.pending("finalists"):
            number = details[int(query.crystal.hash, 16)]["modes"]
            found = {"provenance": {"lowest_thz": -4.0}}
            ledger.conclude(query, Outcome(number, None, "ok", 1.0, found))
        return summarise(ledger)


def told(summary, **maps):
    (found,) = portraits(summary, {}, maps, 1)
    return dict(found.answers)


def test_a_candidate_at_a_minimum(tmp_path):
    detail = {"relaxation": RELAXED, "cif": "data_x\n", "modes": 0.0}
    summary = summary_of(tmp_path, detail, source="exchanged:known:mp-1")
    said = told(summary)
    assert said["What is it?"].startswith(
        "Made by exchanging ions in mp-1, in space group 185; 30 "
    )
    assert said["Does it exist?"] == (
        "It lies 0.028 eV per atom above the hull of known phases."
        " No mode of vibration is imaginary: it is at a minimum."
    )
    assert said["What would it become?"] == "Li8SiO6 → Li4SiO4 + 2 Li2O."
    assert "None of them has its formula" in said["Is it new?"]
    assert said["Does lithium move?"] == "sigma: -2.60 log10 S/cm."
    assert "0.080 eV per atom higher" in said["How sure is that?"]
    assert "Precursors to try: Li4SiO4 + 2 Li2O." in said["What next?"]
    write_page(summary, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Li<sub>8</sub>SiO<sub>6</sub>" in page
    assert page.index("Does it exist?") < page.index("How the search went")


@pytest.mark.parametrize(
    ("detail", "question", "said"),
    [
        ({}, "Does it exist?", "were not relaxed"),
        ({}, "What would it become?", "Not known"),
        ({"relaxation": RELAXED, "modes": 33.0}, "Does it exist?", "33 modes are imaginary"),
        ({"relaxation": RELAXED, "modes": 33.0}, "What next?", "Follow its softest mode"),
        (
            {"relaxation": {**RELAXED, "hull_bounded": False, "hull_lacking": ["SiO2"]}},
            "Does it exist?",
            "at least 0.028 eV per atom, as the table of known phases lacks SiO2",
        ),
        (
            {"relaxation": {**RELAXED, "hull_distance_ev_per_atom": -0.028}},
            "Does it exist?",
            "0.028 eV per atom below",
        ),
        (
            {"relaxation": {**RELAXED, "volume_change": 0.41, "survived": False}},
            "Does it exist?",
            "volume by +41% and made another structure",
        ),
        (
            {"relaxation": {**RELAXED, "decomposition": {"Li8SiO6": 1.0}}},
            "What would it become?",
            "The most stable known form of Li8SiO6.",
        ),
    ],
)
def test_what_speaks_against_it_is_said(tmp_path, detail, question, said):
    assert said in told(summary_of(tmp_path, detail))[question]


def test_a_known_formula_in_another_structure(tmp_path):
    summary = summary_of(tmp_path, {"relaxation": RELAXED}, formula="Li2O")
    assert "known in another structure (" in told(summary)["Is it new?"]
