"""The Materials Project loader: the real client against a server of its interface on loopback."""

import csv
import http.server
import json
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfal.campaign.config import CampaignConfig
from mfal.campaign.pool import open_pool, prepare_pool
from mfal.cli import main
from mfal.data import MaterialTable, load_embedded
from mfal.data.materials_project import fetch_materials_project
from mfal.errors import MfalError

KEY = "k" * 32


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MP_API_KEY", KEY)


def materials() -> MaterialTable:
    table = load_embedded()
    dft = np.array(
        [
            d["kind"] == "dft" and "O" in f
            for d, f in zip(table.details, table.formulas, strict=True)
        ]
    )
    return table.select(dft).select(np.arange(12))


class Service:
    """Answers `heartbeat` and `materials/summary` as the Materials Project's interface does."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.keys: set[str] = set()
        self.fail_after: int | None = None
        table = materials()
        self.documents = []
        for i, (row, structure) in enumerate(zip(table, table.structures(), strict=True)):
            self.documents.append(
                {
                    "material_id": f"mp-{100 + i}",
                    "formula_pretty": row.formula,
                    "structure": structure.as_dict(),
                    "energy_above_hull": 0.01 * i,
                    "formation_energy_per_atom": -2.0,
                    "band_gap": 4.0,
                    "theoretical": False,
                    "deprecated": False,
                }
            )

    def answer(self, path: str, query: dict[str, str], key: str) -> tuple[int, Any]:
        if path.startswith("/heartbeat"):
            return 200, {
                "version": "0.90.0",
                "db_version": "2025.09.25",
                "access_controlled_batch_ids": "",
            }
        assert path.startswith("/materials/summary"), path
        self.asked.append(query)
        self.keys.add(key)
        if self.fail_after is not None and len(self.asked) > self.fail_after:
            return 400, {"detail": "out of order"}
        highest = float(query.get("energy_above_hull_max", "inf"))
        found = [d for d in self.documents if d["energy_above_hull"] <= highest]
        size, page = int(query["_per_page"]), int(query["_page"])
        fields = query["_fields"].split(",")
        chosen = found[size * (page - 1) : size * page]
        data = [{f: d.get(f) for f in fields} for d in chosen]
        return 200, {"data": data, "meta": {"total_doc": len(found)}}


@pytest.fixture
def service() -> Iterator[tuple[Service, str]]:
    pytest.importorskip("mp_api", reason="needs mp-api")
    service = Service()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(parts.query))
            code, body = service.answer(parts.path, query, self.headers.get("x-api-key", ""))
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield service, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_pages_become_one_table(service: tuple[Service, str]) -> None:
    handler, url = service
    got = fetch_materials_project(["O", "Li"], endpoint=url, page_size=5, pause=0)
    assert got.table.ids == tuple(f"mp-{100 + i}" for i in range(12))
    assert not got.skipped
    assert handler.keys == {KEY}
    assert [q["_page"] for q in handler.asked] == ["1", "2", "3"]
    question = handler.asked[0]
    assert question["elements"] == "Li,O"
    assert question["batch_id_not_eq"] == "gnome_r2scan_statics"  # include_gnome=False
    sent = materials()
    for i, row in enumerate(got.table):
        assert row.space_group_number == int(sent.space_group_number[i])
        np.testing.assert_allclose(row.lattice, sent.lattice[i], rtol=1e-4)
        assert row.details["hull_eV_per_atom"] == pytest.approx(0.01 * i)
        assert row.licence.startswith("CC BY 4.0")


def test_hull_limit_cache_and_refresh(service: tuple[Service, str]) -> None:
    handler, url = service
    near = fetch_materials_project(["Li"], endpoint=url, max_hull=0.035, pause=0)
    assert near.table.ids == ("mp-100", "mp-101", "mp-102", "mp-103")
    asked = len(handler.asked)
    again = fetch_materials_project(["Li"], endpoint=url, max_hull=0.035, pause=0)
    assert again.from_cache
    assert [*again.table] == [*near.table]
    assert len(handler.asked) == asked
    fetch_materials_project(["Li"], endpoint=url, max_hull=0.035, pause=0, refresh=True)
    assert len(handler.asked) == asked + 1
    few = fetch_materials_project(["Li"], endpoint=url, page_size=3, limit=4, pause=0)
    assert len(few.table) == 4


def test_a_broken_fetch_goes_on(service: tuple[Service, str]) -> None:
    handler, url = service
    handler.fail_after = 2
    with pytest.raises(MfalError, match=r"broke off.*2 pages are kept"):
        fetch_materials_project(["Li"], endpoint=url, page_size=5, pause=0)
    handler.fail_after = None
    handler.asked.clear()
    got = fetch_materials_project(["Li"], endpoint=url, page_size=5, pause=0)
    assert len(got.table) == 12
    assert [q["_page"] for q in handler.asked] == ["3"]


def test_bad_documents_are_counted(service: tuple[Service, str]) -> None:
    handler, url = service
    handler.documents[1]["structure"] = None
    handler.documents[2]["structure"] = {"lattice": "?"}
    got = fetch_materials_project(["Li"], endpoint=url, pause=0)
    assert len(got.table) == 10
    assert got.skipped == {"malformed": 2}


def test_a_key_to_a_pool_in_two_commands(
    service: tuple[Service, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, url = service
    monkeypatch.setenv("MP_API_ENDPOINT", url)
    table = tmp_path / "oxides.json"
    assert main(
        ["data", "fetch", "mp", "--elements", "Li", "O", "--max-hull", "0.05", "--out", str(table)]
    ) == 0  # fmt: skip
    fetched, asked = CampaignConfig(pool=(str(table),)), len(handler.asked)
    facts = prepare_pool(tmp_path / "fetched", fetched)
    assert facts.candidates == facts.with_atoms == 6
    # The query is a source itself; what it asks has been answered, and the pool is the same.
    query = CampaignConfig(pool=("mp:Li-O,max_hull=0.05",))
    assert prepare_pool(tmp_path / "query", query).fingerprint == facts.fingerprint
    assert len(handler.asked) == asked
    record = open_pool(tmp_path / "fetched").record(0)
    assert record.pool_name == "mp-100"
    assert "The Materials Project" in record.source
    assert "CC BY 4.0" in record.source


@pytest.mark.slow
def test_a_key_to_a_ranked_list_in_two_commands(
    service: tuple[Service, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MP_API_ENDPOINT", service[1])
    monkeypatch.chdir(tmp_path)
    assert main(["data", "fetch", "mp", "--elements", "Li", "O", "--out", "oxides.json"]) == 0
    command = ["discover", "--pool", "oxides.json", "--budget", "60", "--rounds", "1"]
    command += ["--initial", "3", "--baseline", "none", "--max-atoms", "60", "--out", "campaign"]
    assert main([*command, "--proxy-members", "3", "--proxy-steps", "40"]) == 0
    with (tmp_path / "campaign" / "candidates.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert all(row["source"].startswith("pool:mp-") for row in rows)
    assert all((tmp_path / "campaign" / row["cif"]).is_file() for row in rows if row["cif"])


def test_no_network() -> None:
    pytest.importorskip("mp_api", reason="needs mp-api")
    with pytest.raises(MfalError, match="cannot be reached"):
        fetch_materials_project(["Li"], endpoint="http://127.0.0.1:9/")


@pytest.mark.parametrize(("key", "state"), [("", "is not set"), ("short", "has 5 characters")])
def test_no_key(key: str, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mp_api", reason="needs mp-api")
    monkeypatch.setenv("MP_API_KEY", key)
    with pytest.raises(MfalError, match=f"MP_API_KEY {state}"):
        fetch_materials_project(["Li"])


def test_no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    # Where an earlier test has imported the client, the package alone would still be found.
    for module in ("mp_api", "mp_api.client"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MfalError, match="needs the package mp-api; pip install"):
        fetch_materials_project(["Li"])


def test_bad_questions() -> None:
    with pytest.raises(MfalError, match="Zz"):
        fetch_materials_project(["Zz"])
    with pytest.raises(MfalError, match="no elements"):
        fetch_materials_project([])
