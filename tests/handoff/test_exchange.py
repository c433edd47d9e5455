"""Candidates go out to be measured and their answers come back, once."""

import csv
import shutil
import tomllib
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from mfal.campaign.config import CampaignConfig
from mfal.campaign.folder import PRICES, campaign_id, open_campaign, read_campaign
from mfal.campaign.ledger.book import Ledger
from mfal.campaign.ledger.records import CrystalRecord, Outcome, Proposal
from mfal.campaign.toml import to_toml
from mfal.cli import main
from mfal.crystals.structures import structure_to_cif
from mfal.report.summary import summarise
from tests.vasp_runs import vasprun, write_run

HALIDES = ("F", "Cl", "Br")


@pytest.fixture
def campaign(finished, tmp_path):
    """A copy of the campaign that the test may change."""
    return Path(shutil.copytree(finished, tmp_path / "my campaign"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Three rock salts, the fluoride first in rank."""
    folder = tmp_path_factory.mktemp("finished") / "my campaign"
    folder.mkdir()
    oracle = {"name": "top", "version": "1", "unit": "eV", "cost": 1.0, "higher_is_better": True}
    with Ledger(folder / "ledger.sqlite") as ledger:
        config = tomllib.loads(to_toml(CampaignConfig()))
        ledger.start({"config": config, "oracles": [oracle], "prices": PRICES})
        proposals = [
            Proposal(
                CrystalRecord(
                    f"{n:032x}",
                    f"Li{anion}",
                    {"Li": 4, anion: 4},
                    225,
                    (4.0, 4.0, 4.0, 90.0, 90.0, 90.0),
                    {"Li": 1, anion: -1},
                    "sampled",
                ),
                0,
                "top",
                "1",
                1.0,
                1,
                {},
            )
            for n, anion in enumerate(HALIDES)
        ]
        ledger.propose("campaign", 1, proposals, {})
        for n, query in enumerate(ledger.pending("campaign")):
            structure = Structure.from_spacegroup(
                "Fm-3m", Lattice.cubic(4.0 + n), ["Li", HALIDES[n]], [[0, 0, 0], [0.5, 0.5, 0.5]]
            )
            detail = {"cif": structure_to_cif(structure)}
            ledger.conclude(query, Outcome(-float(n), None, "ok", 0.0, detail))
    return folder


def fill(batch, *answers):
    """Write status, value and note into the lines of a batch's table."""
    path = batch / "answers.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, (status, value) in zip(rows, answers, strict=False):
        row["status"], row["value"] = status, value
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return [row["formula"] for row in rows]


def ask(campaign, batch, number=3):
    return main(["ask", str(campaign), "--number", str(number), "--batch", str(batch), "--no-vasp"])


def measured(campaign):
    with read_campaign(campaign) as ledger:
        return {c.crystal.formula: c.measured for c in summarise(ledger).candidates}


def test_answers_come_back_to_their_candidates_and_cost_the_campaign_nothing(campaign, tmp_path):
    batch = tmp_path / "batch"
    assert ask(campaign, batch) == 0
    assert fill(batch, ("ok", "1e-4"), ("failed", ""), ("abandoned", "")) == ["LiF", "LiCl", "LiBr"]
    assert main(["tell", str(campaign), str(batch)]) == 0
    found = measured(campaign)
    assert found["LiF"] == {"ionic_conductivity": "-4 log10 S/cm"}
    assert found["LiCl"]["ionic_conductivity"].startswith("failed")
    assert found["LiBr"]["ionic_conductivity"].startswith("abandoned")
    with read_campaign(campaign) as ledger:
        assert summarise(ledger).spent == 3.0


def test_a_told_limit_decides_what_is_best(campaign, tmp_path, capsys):
    """The target oracle here gives eV, so a barrier is what overrules it."""
    batch = tmp_path / "batch"
    options = ["--batch", str(batch), "--measurement", "migration_barrier", "--no-vasp"]
    main(["ask", str(campaign), *options])
    assert fill(batch, ("ok", "<0.2"), ("failed", ""), ("ok", "0.15")) == ["LiF", "LiCl", "LiBr"]
    main(["tell", str(campaign), str(batch)])
    capsys.readouterr()
    assert main(["status", str(campaign)]) == 0
    best = [line for line in capsys.readouterr().out.splitlines() if line.startswith("best")]
    assert best[0].startswith("best     LiBr (space group 225): 0.15 eV measured")
    assert best[1].startswith("best     LiF (space group 225): 0 eV calculated")
    with read_campaign(campaign) as ledger:
        assert summarise(ledger).candidates[0].crystal.formula == "LiBr"


def test_a_wrong_line_changes_nothing_unless_partial(campaign, tmp_path, capsys):
    batch = tmp_path / "batch"
    ask(campaign, batch)
    fill(batch, ("ok", "1e-4"), ("ok", "-3"), ("ok", "many"))
    assert main(["tell", str(campaign), str(batch)]) == 2
    assert "nothing was changed" in capsys.readouterr().err
    assert measured(campaign)["LiF"] == {}
    assert main(["tell", str(campaign), str(batch), "--partial"]) == 1
    assert measured(campaign)["LiF"] == {"ionic_conductivity": "-4 log10 S/cm"}
    assert measured(campaign)["LiCl"] == {}


def test_open_questions_are_asked_again_and_answered_ones_are_not(campaign, tmp_path):
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    ask(campaign, first, 2)
    ask(campaign, second, 2)  # the first batch was lost
    assert fill(first) == fill(second) == ["LiF", "LiCl"]
    fill(second, ("ok", "1e-4"), ("ok", "1e-5"))
    assert main(["tell", str(campaign), str(second)]) == 0
    assert main(["tell", str(campaign), str(second)]) == 0  # again: nothing new
    ask(campaign, third, 2)
    assert fill(third) == ["LiBr"]
    fill(third, ("ok", "1e-6"))
    main(["tell", str(campaign), str(third)])
    assert ask(campaign, tmp_path / "fourth", 2) == 2


def test_a_folder_that_is_there_already_leaves_nothing_open(campaign, tmp_path, capsys):
    (tmp_path / "there").mkdir()
    assert ask(campaign, tmp_path / "there") == 2
    assert "there: exists already" in capsys.readouterr().err
    with read_campaign(campaign) as ledger:
        assert not ledger.pending("handoff")


def test_a_batch_that_is_not_there_is_named(campaign, tmp_path, capsys):
    for name in ("nowhere", "nowhere.csv"):
        assert main(["tell", str(campaign), str(tmp_path / name)]) == 2
        assert f"{tmp_path / name}: no such file or folder" in capsys.readouterr().err


def test_a_renamed_campaign_takes_its_answers(campaign, tmp_path):
    batch = tmp_path / "batch"
    ask(campaign, batch)
    fill(batch, ("ok", "1e-4"), ("failed", ""), ("abandoned", ""))
    moved = campaign.rename(tmp_path / "other")
    assert main(["tell", str(moved), str(batch)]) == 0
    assert measured(moved)["LiF"] == {"ionic_conductivity": "-4 log10 S/cm"}


def test_the_batch_of_another_campaign_is_refused(campaign, finished, tmp_path, capsys):
    batch = tmp_path / "batch"
    ask(campaign, batch)
    fill(batch, ("ok", "1e-4"), ("failed", ""), ("abandoned", ""))
    # Begun before campaigns had names of their own, in a folder of the same name.
    old = Path(shutil.copytree(finished, tmp_path / "elsewhere" / "my campaign"))
    assert main(["tell", str(old), str(batch)]) == 2
    assert "this campaign never asked my-campaign-00004 (LiF)" in capsys.readouterr().err
    renamed = Path(shutil.copytree(finished, tmp_path / "third"))
    assert main(["tell", str(renamed), str(batch)]) == 2
    assert "belongs to campaign my-campaign, not to third" in capsys.readouterr().err


def test_new_campaigns_of_one_name_have_different_ids(tmp_path):
    ids = set()
    for place in ("a", "b"):
        folder = tmp_path / place / "camp"
        with open_campaign(folder, CampaignConfig(), []) as ledger:
            ids.add(campaign_id(folder.rename(tmp_path / f"{place}-moved"), ledger))
    assert len(ids) == 2
    assert all(name.startswith("camp-") for name in ids)


def test_a_batch_is_withdrawn_and_its_candidates_asked_anew(campaign, tmp_path, capsys):
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    ask(campaign, first)
    assert ask(campaign, second, 1) == 0
    assert main(["ask", str(campaign), "--withdraw", "nothing"]) == 2
    assert "first (2 open), second (1 open)" in capsys.readouterr().err
    assert main(["ask", str(campaign), "--withdraw", "first"]) == 0
    assert "first: 2 questions taken back: LiCl, LiBr" in capsys.readouterr().out
    fill(first, ("ok", "1e-4"), ("ok", "1e-4"), ("ok", "1e-4"))
    assert main(["tell", str(campaign), str(first)]) == 2
    assert "2 of its questions were withdrawn" in capsys.readouterr().err
    assert ask(campaign, third, 2) == 0
    assert fill(third, ("ok", "1e-4"), ("ok", "1e-5")) == ["LiF", "LiCl"]
    assert main(["tell", str(campaign), str(third)]) == 0
    assert measured(campaign)["LiCl"] == {"ionic_conductivity": "-5 log10 S/cm"}


def test_one_candidate_may_be_asked_for_two_quantities(campaign, tmp_path):
    ask(campaign, tmp_path / "a")
    again = ["--measurement", "migration_barrier", "--no-vasp"]
    assert main(["ask", str(campaign), "--batch", str(tmp_path / "b"), *again]) == 0
    assert fill(tmp_path / "b") == ["LiF", "LiCl", "LiBr"]


def test_wrong_requests_are_named(campaign, tmp_path, capsys):
    options = ["--batch", str(tmp_path / "b"), "--measurement", "colour"]
    assert main(["ask", str(campaign), *options]) == 2
    assert "colour" in capsys.readouterr().err
    assert main(["ask", str(campaign), "--withdraw", "b", "--number", "3"]) == 2
    assert "--number beside --withdraw" in capsys.readouterr().err


def test_finished_vasp_runs_are_taken_from_the_batchs_folder(campaign, tmp_path, capsys):
    """Inputs go out, one run comes back finished, one of another compound, one not at all."""
    batch = tmp_path / "batch"
    options = ["--number", "3", "--batch", str(batch), "--measurement", "total_energy"]
    assert main(["ask", str(campaign), *options]) == 0
    folders = sorted(path for path in batch.iterdir() if path.is_dir())
    for folder in folders:
        names = {path.name for path in folder.iterdir()}
        assert names == {f"{folder.name}.cif", "POSCAR", "INCAR", "KPOINTS", "POTCAR.spec"}
    for folder in folders[:2]:
        write_run(folder, anion="F")  # Li3F, which isn't what was asked
    assert main(["tell", str(campaign), str(batch)]) == 2
    said = capsys.readouterr().err
    assert "vasprun.xml is of Li3F, not LiF" in said
    assert f"{folders[2].name}: no answer" in said
    # The run's three lithium atoms become two and a second fluorine: LiF.
    text = vasprun(anion="F").replace("<c>Li</c><c>1</c>", "<c>F</c><c>2</c>", 1)
    (folders[0] / "vasprun.xml").write_text(text)
    assert main(["tell", str(campaign), str(batch), "--partial"]) == 1
    assert measured(campaign)["LiF"] == {"total_energy": "-3.9 eV/atom"}
    assert measured(campaign)["LiCl"] == {}
    assert "refused: " in capsys.readouterr().out
