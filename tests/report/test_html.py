"""The report's page: whole in itself, safe against what materials are named, drawn by a browser."""

import csv
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from importlib.resources import files

import pytest

from mfal.campaign.ledger.book import Ledger
from mfal.campaign.ledger.records import CrystalRecord, Outcome, Proposal
from mfal.cli import main
from mfal.crystals.elements import SYMBOLS
from mfal.report.html import write_page
from mfal.report.periodic import place
from mfal.report.summary import summarise

EVIL = '<script>alert("x")</script><img src=x onerror=alert(1)>$\\bad{$'
CIF = """data_LiF
_symmetry_space_group_name_H-M   'P 1'
_cell_length_a   4.0
_cell_length_b   4.0
_cell_length_c   4.0
_cell_angle_alpha   90.0
_cell_angle_beta   90.0
_cell_angle_gamma   90.0
_symmetry_Int_Tables_number   1
loop_
 _symmetry_equiv_pos_site_id
 _symmetry_equiv_pos_as_xyz
  1  'x, y, z'
loop_
 _atom_site_type_symbol
 _atom_site_label
 _atom_site_fract_x
 _atom_site_fract_y
 _atom_site_fract_z
 _atom_site_occupancy
  Li  Li0  0.25  0.25  0.25  1
  F  F1  0.75  0.75  0.75  1
"""


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """A campaign whose first candidate and oracle are named to do harm."""
    tmp_path = tmp_path_factory.mktemp("campaign")
    oracle = {
        "name": "target</script>",
        "version": EVIL,
        "unit": "eV",
        "cost": 1.0,
        "higher_is_better": True,
    }
    lattice = (4.0, 4.0, 4.0, 90.0, 90.0, 90.0)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.start({"config": {}, "oracles": [oracle]})
        proposals = [
            Proposal(
                CrystalRecord(
                    f"{n:032x}",
                    name,
                    {"Li": 1, "F": 1},
                    225,
                    lattice,
                    {"Li": 1, "F": -1},
                    "sampled",
                ),
                0,
                oracle["name"],
                "1",
                1.0,
                1,
                {"mean": [0.5], "std": [0.1]},
            )
            for n, name in enumerate((EVIL, "LiF"))
        ]
        ledger.propose("campaign", 1, proposals, {})
        for value, query in enumerate(ledger.pending("campaign")):
            cif = CIF + ("# </script><b>\n" if value == 0 else "")
            ledger.conclude(query, Outcome(-float(value), None, "ok", 0.0, {"cif": cif}))
        ledger.propose("campaign", 2, [], {"final": True, "fidelities": [EVIL]})
    return tmp_path


class Page(HTMLParser):
    """Elements of a page, the text of its scripts, and whatever it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.scripts: dict[str, str] = {}
        self.text: list[str] = []
        self.script: str | None = None
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        found = dict(attrs)
        self.found.append((tag, found))
        self.loads += [found[key] for key in ("src", "href") if key in found]
        self.handlers += [key for key in found if key.startswith("on")]
        if tag == "script":
            self.script = found.get("id", f"script {len(self.scripts)}")
            self.scripts[self.script] = ""

    def handle_endtag(self, tag):
        if tag == "script":
            self.script = None

    def handle_data(self, data):
        if self.script is None:
            self.text.append(data)
        else:
            self.scripts[self.script] += data


@pytest.fixture(scope="module")
def page(campaign):
    with Ledger(campaign / "ledger.sqlite", readonly=True) as ledger:
        path = write_page(summarise(ledger), campaign)[0]
    return Page(path.read_text())


def test_names_stay_text(page):
    assert page.tags.count("script") == 3  # data, viewer, page
    assert page.handlers == []
    assert EVIL in "".join(page.text)
    structures = json.loads(page.scripts["structures"])
    assert EVIL in structures[f"{0:032x}"]["label"]
    assert "</script><b>" in structures[f"{0:032x}"]["cif"]


def test_nothing_is_loaded_from_elsewhere(page):
    assert page.loads
    assert all(address.startswith(("data:", "#")) for address in page.loads)
    assert "3dmol" in page.scripts["script 1"].lower()


def test_images_and_headings_are_labelled(page, campaign):
    text = (campaign / "report.html").read_text()
    assert all("alt=" in tag for tag in re.findall(r"<img [^>]*>", text.split("<script")[0]))
    assert '<html lang="en">' in text
    assert page.tags.count("h1") == 1
    assert 'aria-label="3-D view' in text
    assert page.tags.count("table") == page.tags.count("caption") > 3
    assert all(found.get("scope") for tag, found in page.found if tag == "th")
    named = [found["id"] for _, found in page.found if "id" in found]
    assert len(named) == len(set(named))
    targets = [f["aria-labelledby"] for _, f in page.found if "aria-labelledby" in f]
    targets += [address[1:] for address in page.loads if address.startswith("#")]
    assert len(targets) > 10
    assert set(targets) <= set(named)


@pytest.mark.parametrize("dark", [False, True])
def test_ink_stands_out_from_paper(dark):
    """WCAG 2.1's contrast, at least 4.5 for every pair that the style sheet puts together."""
    style = (files("mfal.report") / "assets" / "page.css").read_text()
    style = style.split("@media screen and (prefers-color-scheme: dark)")[dark]

    def luminance(colour: str) -> float:
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    shades = {name: luminance(value) for name, value in re.findall(r"--(\w+): (#\w{6})", style)}
    shades["unused"] = luminance(re.search(r"unused { color: (#\w{6})", style).group(1))
    for ink in ("ink", "soft", "accent", "unused"):
        for paper in ("paper", "band", "wash") if ink != "unused" else ("paper",):
            darker, lighter = sorted((shades[paper], shades[ink]))
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (ink, paper)


def test_the_same_comes_as_json_csv_and_png(page, campaign):
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    data = json.loads((campaign / "report.json").read_text(), parse_constant=refuse)
    assert data["candidates"][0]["formula"] == EVIL
    assert data["windows"][f"{1:032x}"]["reduction"] == 0.0  # LiF
    assert data["windows"][f"{0:032x}"]["reduction"] is None
    folder = campaign / "figures"
    for name, figure in data["figures"].items():
        rows = list(csv.reader((folder / f"{name}.csv").open(newline="")))
        assert rows[0] == figure["columns"]
        assert len(rows) == len(figure["rows"]) + 1
        drawn = folder / f"{name}.png"
        assert not drawn.exists() or drawn.read_bytes()[:4] == b"\x89PNG"
    assert (folder / "best_against_cost.png").exists()
    assert (folder / "parity.png").exists()
    assert list(folder.glob("*_site_energy.cube"))


def test_every_element_has_a_place_of_its_own():
    places = [place(number) for number in range(1, len(SYMBOLS) + 1)]
    assert len(set(places)) == len(places)
    assert (place(1), place(2), place(3), place(9)) == ((1, 1), (1, 18), (2, 1), (2, 17))
    # Titanium stands in group 4, bromine in 17, lanthanum below, hafnium in 4, lead in 14.
    assert [place(z) for z in (22, 35, 57, 72, 82)] == [(4, 4), (4, 17), (8, 3), (6, 4), (6, 14)]


def test_the_command_writes_the_page_and_says_where(campaign, capsys):
    assert main(["report", str(campaign)]) == 0
    assert str(campaign / "report.html") in capsys.readouterr().out
    assert main(["report", "--json", str(campaign)]) == 0
    assert json.load(io.StringIO(capsys.readouterr().out))["finished"]


USE = """<script>
(function () {
  const holder = document.getElementById("viewer");
  const say = function (name, value) { document.body.setAttribute("data-" + name, value); };
  say("first", holder.dataset.surface);
  const level = document.getElementById("level");
  level.value = "0.5";
  level.dispatchEvent(new Event("input"));
  say("lowered", holder.dataset.surface);
  document.getElementById("names").click();
  document.getElementById("surface").click();
  say("hidden", String(holder.dataset.surface));
  const page = document.documentElement;
  say("wide", String(page.scrollWidth > page.clientWidth));
  document.querySelectorAll("button[data-id]")[1].click();
  document.querySelector("[data-turn]").click();
  document.querySelector("[data-zoom]").click();
  say("pressed", document.querySelectorAll("[aria-pressed=true]").length);
}());
</script></body>"""


@pytest.mark.parametrize("size", ["1280,900", "390,844"])
def test_a_browser_draws_it_without_network_and_without_complaint(page, campaign, size, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs chromium")
    used = tmp_path / "used.html"
    used.write_text((campaign / "report.html").read_text().replace("</body>", USE))
    shown = subprocess.run(
        [
            browser,
            "--headless=new",
            "--no-sandbox",
            "--use-gl=angle",
            "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={size}",
            "--virtual-time-budget=8000",
            "--dump-dom",
            used.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    complaints = [line for line in shown.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []
    # The script says what it drew: both atoms of the candidate chosen last, on a canvas.
    assert f'data-shown="{1:032x}"' in shown.stdout
    assert 'data-atoms="2"' in shown.stdout
    assert re.search(r'id="viewer".*?<canvas', shown.stdout, re.DOTALL)
    # The surface follows its level and its switch; nothing sticks out of the page.
    first = re.search(r'data-first="([0-9.]+)"', shown.stdout)
    assert first is not None
    level = json.loads(page.scripts["structures"])[f"{0:032x}"]["map"]["level"]
    assert float(first.group(1)) == pytest.approx(level + 0.02, abs=0.02)
    for said in ('lowered="0.50"', 'hidden="undefined"', 'wide="false"', 'pressed="1"'):
        assert f"data-{said}" in shown.stdout, said
