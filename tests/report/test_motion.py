"""What the report says and shows of dynamics, from recorded answers."""

import csv
import re

import numpy as np
import pytest

from mfal.campaign.ledger.book import Ledger
from mfal.campaign.ledger.records import CrystalRecord, Outcome, Proposal, crystal_hash
from mfal.oracles.dynamics.displacements import Displacements
from mfal.oracles.dynamics.estimates import simulated_conductivity
from mfal.oracles.dynamics.options import DynamicsOptions
from mfal.report.export import candidate_table
from mfal.report.html import write_page
from mfal.report.motion import dynamics_command, motions
from mfal.report.plain import summary_to_dict
from mfal.report.summary import summarise
from mfal.report.terminal import print_summary

LATTICE = (4.0, 4.0, 4.0, 90.0, 90.0, 90.0)
TARGET = {"name": "dynamics", "version": "1", "unit": "log10 S/cm", "cost": 1.0}
TARGET |= {"higher_is_better": True, "bounds": [-4.0, 2.0]}


def _detail(kelvins: tuple[float, ...], speed: float) -> dict:
    """An answer's detail, of ions that walk at so many Å²/ps per K."""
    lag = np.linspace(0, 5, 100)
    options = DynamicsOptions(temperatures=kelvins)
    shown = {}
    for kelvin in kelvins:
        mobile = np.repeat(0.2 + 2 * speed * kelvin * lag[:, None], 3, axis=1)
        shown[kelvin] = [Displacements(lag, mobile, {9: 0 * lag + 0.2}, 300 * (speed > 0), 30, 10)]
    found = simulated_conductivity(shown, 600.0, options)
    protocol = {**vars(options), "temperatures": list(kelvins)}
    return {"provenance": {**found.record, "protocol": protocol, "atoms": 60, "potential": "P 1"}}


def _proposal(formula: str, oracle: str = "dynamics") -> Proposal:
    name = crystal_hash({"Li": 1}, 225, LATTICE, formula)
    crystal = CrystalRecord(name, formula, {"Li": 1, "F": 1}, 225, LATTICE, {}, "sampled")
    return Proposal(crystal, 0, oracle, "1", 1.0, 1, {"mean": [0.0], "std": [1.0]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three temperatures of one candidate, a bound of the next, a failure, and one left out."""
    path = tmp_path_factory.mktemp("moved")
    answers = {
        "LiF": (-1.0, _detail((800.0, 1000.0, 1200.0), 1e-3)),
        "LiCl": (-2.0, {}),
        "LiBr": (-3.0, {}),
        "LiI": (-4.0, {}),
    }
    with Ledger(path / "ledger.sqlite") as ledger:
        ledger.start({"config": {"execution": {"workers": 2}}, "oracles": [TARGET]})
        ledger.propose("campaign", 1, [_proposal(formula) for formula in answers], {})
        for query in ledger.pending("campaign"):
            value, detail = answers[query.crystal.formula]
            ledger.conclude(query, Outcome(value, None, "ok", 0.0, detail))
        ledger.propose("campaign", 2, [], {"final": True})
        facts = {
            _proposal(formula).crystal.hash: {
                "seconds_left": seconds,
                "length_ps": 10.0,
                "simulated_ps": simulated,
            }
            for formula, seconds, simulated in (("LiCl", 70.0, 4.0), ("LiBr", 600.0, 0.0))
        }
        asked = [_proposal("LiCl", "Li_4000fs"), _proposal("LiBr", "Li_4000fs")]
        ledger.propose("motion", 1, asked, {"finalists": facts})
        for query in ledger.pending("motion"):
            if query.crystal.formula == "LiCl":
                ledger.conclude(query, Outcome(-1.5, None, "ok", 0.0, _detail((1000.0,), 0.0)))
            else:
                ledger.conclude(query, Outcome(None, None, "failed: it exploded", 0.0, {}))
    return path


@pytest.fixture(scope="module")
def summary(folder):
    with Ledger(folder / "ledger.sqlite", readonly=True) as ledger:
        return summarise(ledger)


def test_page_figures_and_files_tell_of_each_run(folder, summary) -> None:
    page = write_page(summary, folder)[0].read_text()
    motion = page[page.index('id="motion"') : page.index('id="search"')]
    assert 'href="#motion"' in page
    assert len(re.findall(r"<img ", motion)) == 3  # two of displacements, one of Arrhenius
    for alt in re.findall(r'<img alt="([^"]*)"', motion):
        assert "space group 225" in alt
    assert "no hop in 10 ps at 1000 K: D below" in motion
    assert "cm²/s at 1200 K, " in motion
    assert "LiBr: failed: it exploded" in motion
    assert "LiCl 2 min, LiBr 10 min" in motion
    assert "mfal discover --out . --config config.toml --dynamics 10m" in motion
    shown = motions(summary)
    assert [one.candidate.crystal.formula for one in shown] == ["LiF", "LiCl"]
    rows = list(csv.DictReader((folder / "figures" / f"{shown[0].stem}_msd.csv").open()))
    assert {row["species"] for row in rows} == {"Li", "F"}
    assert len(rows) == 3 * 2 * 60  # temperatures, species, points that the ledger keeps
    rows = list(csv.DictReader((folder / "figures" / f"{shown[0].stem}_arrhenius.csv").open()))
    assert [float(row["D [cm2/s]"]) for row in rows] == pytest.approx([8e-5, 1e-4, 1.2e-4], 1e-3)


def test_table_json_and_terminal_say_the_same(summary, tmp_path) -> None:
    from io import StringIO

    from rich.console import Console

    header, rows = candidate_table(summary)
    found = {row[1]: dict(zip(header, row, strict=True)) for row in rows}
    assert float(found["LiF"]["dynamics_D [cm2/s]"]) == pytest.approx(1.2e-4, rel=1e-3)
    assert found["LiF"]["dynamics_D_below [cm2/s]"] == ""
    assert found["LiCl"]["dynamics_D [cm2/s]"] == ""
    bound = 2.996 * 9 / (6 * 30 * 10) * 1e-4
    assert float(found["LiCl"]["dynamics_D_below [cm2/s]"]) == pytest.approx(bound, rel=1e-3)
    assert found["LiI"]["dynamics_state"] == ""
    plain = {one["formula"]: one["dynamics"] for one in summary_to_dict(summary)["candidates"]}
    assert plain["LiCl"]["state"] == "few hops"
    assert plain["LiBr"] == {"status": "failed: it exploded"}
    assert plain["LiI"] is None
    assert dynamics_command(summary, "a b")[1] == (
        "mfal discover --out 'a b' --config 'a b/config.toml' --dynamics 10m"
    )
    text = StringIO()
    print_summary(Console(file=text, width=100), summary, tmp_path)
    assert "LiCl, space group 225: no hop in 10 ps at 1000 K" in text.getvalue()
    assert "Dynamics of LiBr failed: it exploded." in text.getvalue()
    assert f"--out {tmp_path} " in text.getvalue()
