import json

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from mfal.cli.command import main
from mfal.data.embedded import load_embedded
from mfal.oracles import conductivity_oracle, default_oracles, kmc, kmc_oracle
from mfal.oracles.bond_valence.maps import MapOptions
from mfal.oracles.hopping.conductivity import slowest_axis
from mfal.oracles.loading import load_oracles

COARSE = MapOptions(resolution=0.3)
QUICK = 500_000


def _embedded(name: str) -> Structure:
    table = load_embedded()
    return table.structures()[table.ids.index(name)].copy()


def _mixed() -> Structure:
    """A framework whose titanium and niobium share their sites."""
    lattice = Lattice.orthorhombic(4.2, 4.4, 4.3)
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    species = ["Li+", {"Ti4+": 0.5, "Nb5+": 0.5}, "O2-", "O2-", "O2-"]
    return Structure(lattice, species, places) * (1, 1, 2)


def test_without_repulsion_kmc_is_the_exact_network() -> None:
    structure = _embedded("mp-dielectric-3263")  # Li3PO4
    (exact,) = conductivity_oracle(COARSE, 700.0).evaluate([structure])
    sampled = kmc_oracle(COARSE, 700.0, repulsion=False).evaluate([structure])[0]
    network = np.log10(slowest_axis(np.array(exact.provenance["principal"])))
    assert sampled.uncertainty is not None
    assert 0 < sampled.uncertainty < 0.4
    # Half the sites are filled, and unequal: what the network's mean field leaves out is small.
    assert abs(sampled.value - network) < 3 * sampled.uncertainty + 0.2


def test_the_record_tells_what_was_simulated() -> None:
    structure = _embedded("mp-dielectric-3263")
    oracle = kmc_oracle(COARSE, attempts=QUICK)
    one, two = oracle.evaluate([structure, structure])
    assert one.value == two.value  # the same seed, the same bits
    record = one.provenance
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["repulsion"] is True
    assert len(record["simulated"]) >= 2
    for run in record["simulated"]:
        assert run["temperature"] > 300
        value, error = run["haven_ratio"]
        assert value > 0
        assert error > 0
        assert run["tracer_cm2_per_s"][0] > 0
    assert any("extrapolated from" in note for note in record["warnings"])
    other = kmc_oracle(COARSE, attempts=QUICK, seed=1)
    assert other.version != oracle.version
    assert other.evaluate([structure])[0].value != one.value


def test_partial_occupancy_gives_the_mean_and_spread_over_decorations() -> None:
    options = MapOptions(resolution=0.4, decorations=3)
    (drawn,) = kmc_oracle(options, attempts=QUICK).evaluate([_mixed()])
    assert drawn.ok, drawn.status
    values = drawn.provenance["values"]
    assert len(values) == 3
    assert drawn.value == pytest.approx(np.mean(values))
    assert drawn.uncertainty is not None
    # The simulations' own errors come on top of the spread.
    assert drawn.uncertainty > np.std(values)
    assert "3 decorations" in drawn.provenance["occupancy"]
    assert kmc().version.startswith("2-Li-0.15-3d-300")


def test_kmc_stands_above_the_default_ladder() -> None:
    oracles = load_oracles(("mfal.oracles:default_oracles", "mfal.oracles:kmc"))
    assert [oracle.name for oracle in oracles] == ["sendek", "bvse", "conductivity", "kmc"]
    costs = [oracle.cost for oracle in oracles]
    assert costs == sorted(costs)
    assert len(default_oracles()) == 3


def test_a_bad_structure_is_an_answer() -> None:
    rock_salt = Structure(Lattice.cubic(4.0), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    (answer,) = kmc().evaluate([rock_salt])
    assert answer.status.startswith("failed: no Li")


def test_the_command_line_reaches_it(tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "lithia.cif"
    _embedded("mp-dielectric-4595").to(filename=str(path))
    code = main(["score", str(path), "--oracles", "mfal.oracles:kmc", "--json"])
    (result,) = json.loads(capsys.readouterr().out)
    (answer,) = result["oracles"]
    assert answer["oracle"] == "kmc"
    assert answer["unit"] == "log10 S/cm"
    assert code == (0 if answer["status"] == "ok" else 1)
    if code == 0:
        assert "in two of three cases" in answer["expected_conductivity"]["words"]
