"""The OPTIMADE loader against a real server on loopback, and against one that misbehaves."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher

from mfal.data import MaterialTable, load_embedded
from mfal.data.optimade import ATTEMPTS, fetch_optimade
from mfal.errors import MfalError
from tests.data.optimade_server import Moody, entry, moody_servers, page

HULL = "_exmpl_hull"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFAL_CACHE", str(tmp_path / "cache"))


def ordered_oxides() -> MaterialTable:
    table = load_embedded()
    keep = [
        "O" in row.composition and structure.is_ordered and len(structure) <= 60
        for row, structure in zip(table, table.structures(), strict=True)
    ]
    return table.select(np.array(keep)).select(np.arange(25))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """optimade-python-tools' own server, in its own process, with crystals of ours."""
    pytest.importorskip("optimade", reason="needs optimade[server]")
    pytest.importorskip("uvicorn", reason="needs optimade[server]")
    from optimade.adapters import Structure as Adapter

    folder = tmp_path_factory.mktemp("optimade")
    oxides = ordered_oxides()
    lines: list[dict[str, Any]] = [{"x-optimade": {"meta": {"api_version": "1.2.0"}}}]
    for i, (row, structure) in enumerate(zip(oxides, oxides.structures(), strict=True)):
        plain = structure.copy().remove_oxidation_states()
        attributes = Adapter.ingest_from(plain, format="pymatgen").attributes.model_dump()
        # The server adds the provider's prefix to fields of its own.
        attributes |= {"hull": 0.01 * i, "last_modified": "2024-01-01T00:00:00Z"}
        lines.append({"id": row.id, "type": "structures", "attributes": attributes})
    (folder / "data.jsonl").write_text("\n".join(json.dumps(x, default=str) for x in lines))
    config = {
        "database_backend": "mongomock",
        "insert_test_data": False,
        "insert_from_jsonl": str(folder / "data.jsonl"),
        "provider": {"prefix": "exmpl", "name": "Example", "description": "A test"},
        "provider_fields": {
            "structures": [{"name": "hull", "type": "float", "unit": "eV", "description": "x"}]
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "uvicorn", "optimade.server.main:app"),
            *("--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"),
        ],
        env={**os.environ, "OPTIMADE_CONFIG_FILE": str(folder / "config.json")},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{url}/v1/info", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, "the OPTIMADE server ended"
                time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait()


def test_structures_arrive_as_they_were_sent(server: str) -> None:
    sent = ordered_oxides()
    counts = []
    got = fetch_optimade(
        ["Li", "O"],
        server,
        page_size=7,
        pause=0,
        progress=lambda done, total: counts.append((done, total)),
    )
    assert counts == [(7, 25), (14, 25), (21, 25), (25, 25)]  # four pages
    assert not got.from_cache
    assert not got.skipped
    assert sorted(got.table.ids) == sorted(sent.ids)
    match = StructureMatcher(scale=False)
    for row, structure in zip(got.table, got.table.structures(), strict=True):
        original = sent.row(sent.index(row.id))
        assert row.space_group_number == original.space_group_number
        np.testing.assert_allclose(row.lattice, original.lattice, rtol=1e-4)
        assert row.composition == pytest.approx(original.composition)
        assert match.fit(structure, sent.structure(sent.index(row.id)).remove_oxidation_states())
        assert row.licence == "see the server"


def test_filters_are_the_servers(server: str) -> None:
    sent = ordered_oxides()
    phosphates = fetch_optimade(["Li", "P", "O"], server).table
    expected = {row.id for row in sent if {"P", "O"} <= set(row.composition)}
    assert set(phosphates.ids) == expected
    assert expected
    near = fetch_optimade(["Li", "O"], server, max_hull=0.045, hull_field=HULL).table
    assert set(near.ids) == set(sent.ids[:5])
    assert {row.details["hull_eV_per_atom"] for row in near} == {0.0, 0.01, 0.02, 0.03, 0.04}
    small = fetch_optimade(["Li", "O"], server, max_sites=10).table
    assert 0 < len(small) < len(sent)
    assert len(fetch_optimade(["Li", "O"], server, page_size=5, limit=8).table) == 8
    assert len(fetch_optimade(["Li", "Xe"], server).table) == 0


def test_a_query_that_the_server_refuses(server: str) -> None:
    with pytest.raises(MfalError, match=r"127\.0\.0\.1 refuses the query \(4\d\d"):
        fetch_optimade(["Li"], server, max_hull=0.1, hull_field="_exmpl_hull<=1 AND OR nsites")


# A server that does what real ones do on bad days.


@pytest.fixture
def moody() -> Iterator[Moody]:
    with moody_servers() as start:
        yield start


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


def fetch(url: str) -> Any:
    return fetch_optimade(["Li"], url)


def test_the_cache_answers_the_second_time(moody: Moody) -> None:
    url = moody(page(entry("a"), after="/v1/structures?page=2"), page(entry("b")))
    first = fetch(url)
    assert not first.from_cache
    second = fetch(url)
    assert second.from_cache
    assert [*second.table] == [*first.table]
    assert len(moody.asked) == 2
    fetch_optimade(["Li"], url, refresh=True)
    assert len(moody.asked) > 2


def test_a_broken_fetch_goes_on_where_it_stopped(moody: Moody, tmp_path: Path) -> None:
    first = page(entry("a"), after="/v1/structures?page=2")
    second = page(entry("b"), after="/v1/structures?page=3")
    cut = (400, {}, json.dumps({"errors": [{"detail": "cable cut"}]}).encode())
    url = moody(first, second, cut, second, page(entry("c")))
    with pytest.raises(MfalError, match="cable cut"):
        fetch(url)
    # a page that was written only in half is asked for again
    kept = next((tmp_path / "cache").glob("optimade/*/page-000002.json"))
    kept.write_text(kept.read_text()[:300])
    assert fetch(url).table.ids == ("a", "b", "c")
    assert [path.partition("?")[2] for path in moody.asked[1:]] == [
        *("page=2", "page=3"),
        *("page=2", "page=3"),
    ]


def test_passing_faults_are_ridden_out(moody: Moody, quick: list[float]) -> None:
    good = page(entry("a"))
    url = moody(
        (503, {"Retry-After": "7"}, b"busy"),
        (429, {}, b"{}"),
        (200, {"Content-Length": "9999"}, good[2][:90]),  # cut short
        (200, {}, good[2][:40]),  # half a JSON
        good,
    )
    assert fetch(url).table.ids == ("a",)
    assert len(quick) == 4
    assert quick[0] == 7


def test_pages_of_another_schema_are_asked_for_again(moody: Moody, tmp_path: Path) -> None:
    url = moody(page(entry("a"), after="/v1/structures?page=2"), page(entry("b")), page(entry("c")))
    assert fetch(url).table.ids == ("a", "b")
    assert fetch(url).from_cache
    (second,) = (tmp_path / "cache").glob("optimade/*/page-000002.json")
    second.write_text(second.read_text().replace('"schema": 1', '"schema": 99'))
    again = fetch(url)
    assert not again.from_cache
    assert again.table.ids == ("a", "c")


def test_a_dead_server(quick: list[float]) -> None:
    with pytest.raises(MfalError, match=r"cannot be reached.*run the same command again"):
        fetch(f"http://127.0.0.1:{free_port()}")
    assert len(quick) == ATTEMPTS - 1
    assert quick == sorted(quick)


def test_a_server_that_stays_broken(moody: Moody) -> None:
    with pytest.raises(MfalError, match=r"cannot be reached \(500"):
        fetch(moody((500, {}, b"oops")))
    said = json.dumps({"errors": [{"detail": "no such property"}]}).encode()
    with pytest.raises(MfalError, match=r"refuses the query \(400: no such property"):
        fetch(moody((400, {}, said)))
    with pytest.raises(MfalError, match="does not speak OPTIMADE"):
        fetch(moody((200, {}, b'{"hello": "world"}')))


def test_entries_that_cannot_be_used_are_counted(moody: Moody) -> None:
    half = [{"name": "Li", "chemical_symbols": ["Li", "vacancy"], "concentration": [0.5, 0.5]}]
    unknown = [{"name": "Li", "chemical_symbols": ["X"], "concentration": [1.0]}]
    chlorine = entry("x")["attributes"]["species"][1:]
    url = moody(
        page(
            entry("good"),
            entry("half", species=[*half, *chlorine]),
            entry("no positions", cartesian_site_positions=None),
            entry("null", cartesian_site_positions=[[0, 0, None], [2, 2, 2]]),
            entry("unknown", species=[*unknown, *chlorine]),
            entry("clash", cartesian_site_positions=[[0, 0, 0], [0, 0, 0]]),
            entry("flat", lattice_vectors=[[4, 0, 0], [0, 4, 0], [4, 0, 0]]),
            entry("ragged", species_at_sites=["Li"]),
            {"id": "empty"},
            None,
            entry("good"),
        )
    )
    got = fetch(url)
    assert got.table.ids == ("good", "half")
    assert got.table.row(1).composition == {"Li": 0.5, "Cl": 1}
    assert sum(got.skipped.values()) == 9
    assert got.skipped["no positions"] == 2
    assert got.skipped["unknown element"] == 1
    assert got.skipped["sent twice"] == 1


def test_links_are_not_followed_astray(moody: Moody) -> None:
    with pytest.raises(MfalError, match=r"points to another host, evil\.example"):
        fetch(moody(page(entry("a"), after="http://evil.example/v1/structures")))
    with pytest.raises(MfalError, match="in a circle"):
        fetch(moody(page(entry("a"), after={"href": "/v1/structures?page=2"})))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"provider": "ftp://x"}, "provider 'ftp://x'; give one of mp, cod"),
        ({"provider": "nonsense"}, "provider 'nonsense'"),
        ({"provider": "cod", "max_hull": 0.1}, "cod doesn't tell the distance"),
        ({"elements": ["Li", "Zz"]}, "Zz"),
        ({"elements": []}, "no elements"),
    ],
)
def test_bad_questions(call: dict[str, Any], message: str) -> None:
    with pytest.raises(MfalError, match=message):
        fetch_optimade(**{"elements": ["Li"], **call})
