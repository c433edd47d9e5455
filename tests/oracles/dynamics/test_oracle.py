"""The oracle on potentials with closed forms: a crystal that is still, and one that melts."""

import json

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from mfal.crystals.structures import standard_setting
from mfal.errors import MfalError
from mfal.oracles import dynamics_oracle, load_oracles
from mfal.oracles.dynamics import DynamicsOptions, running, write_dynamics_files
from mfal.oracles.dynamics.cells import fill_mobile_sites, simulated_cells
from mfal.oracles.dynamics.displacements import Displacements, diffusion
from mfal.oracles.dynamics.estimates import (
    PREFACTOR,
    carried_bound,
    conductivity_of,
    simulated_conductivity,
)
from mfal.oracles.dynamics.oracle import simulate_together
from mfal.oracles.dynamics.running import CellRun, kept_trajectory, simulate_cell, simulate_cells
from mfal.oracles.dynamics.short import run_of_length
from mfal.oracles.dynamics.store import steps_done
from mfal.oracles.progress import listening
from mfal.potentials import neighbours
from mfal.potentials.neighbours import sizes_of
from tests.potentials.analytic import lennard_jones

QUICK = DynamicsOptions(
    temperatures=(1000.0,),
    length=1.0,
    equilibration=0.5,
    timestep=4.0,
    skin=1.0,
    every=5,
    width=5.0,
    relax=False,
)
STILL = lennard_jones(0.5, 2.4, 5.0)  # far from melting at 1000 K


def _crystal(a: float = 3.74) -> Structure:
    """Lithium and fluorine in layers of a face-centred lattice, where Lennard-Jones atoms stay."""
    places = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Structure(Lattice.cubic(a), ["Li", "Li", "F", "F"], places)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("MFAL_CACHE", str(tmp_path / "cache"))


def test_a_still_crystal_is_answered_by_a_limit_and_files_tell_of_it(tmp_path) -> None:  # type: ignore[no-untyped-def]
    heard: list[tuple[str, int, int, str]] = []
    oracle = dynamics_oracle(QUICK, STILL)
    with listening(lambda *said: heard.append(said)):
        (answer,) = oracle.evaluate([_crystal()])
    record = answer.provenance
    assert answer.status == "ok"
    assert answer.uncertainty is None
    assert (record["state"], record["censoring"]) == ("few hops", "below")
    assert min(record["widths"]) >= 5.0
    (run,) = record["simulated"]
    assert run["hops_counted"] == 0
    ions, duration = run["mobile_ions"], run["duration_ps"]
    bound = 3.0 * 9.0 / (6 * ions * duration)  # Å²/ps, three hops
    volume = ions * 3.74**3 / 2
    expected = conductivity_of(bound, ions, volume, 1000.0)
    assert 10**answer.value == pytest.approx(expected, rel=0.1)
    assert any("no hop" in said for said in record["warnings"])
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert heard[0][1:3] == (0, 1)
    assert heard[-1][1] == heard[-1][2] > 1
    assert heard[-1][0] == "LiF: moving at 1000 K"
    assert heard[-1][3] == "2.0 of 2.0 ps, 0 hops"
    # A longer run goes on from the shorter, and the first is answered again without one.
    heard.clear()
    with listening(lambda *said: heard.append(said)):
        (again,) = oracle.evaluate([_crystal()])
    assert again.value == answer.value
    assert {done / total for _, done, total, _ in heard} == {1.0}
    files = write_dynamics_files(record, tmp_path / "shown", "LiF")
    assert [one.name for one in files] == ["LiF-msd.csv", "LiF-msd.png", "LiF-1000K.cube"]
    assert all(one.stat().st_size > 500 for one in files)


def test_a_killed_run_goes_on_bit_for_bit_and_nothing_is_simulated_twice(tmp_path) -> None:  # type: ignore[no-untyped-def]
    crystal = simulated_cells(_crystal(), STILL, QUICK).cells[0]
    whole = simulate_cell(STILL, CellRun(crystal, 1000.0, QUICK, tmp_path / "whole"))
    run = CellRun(crystal, 1000.0, QUICK, tmp_path / "parts")

    class Killed(Exception):
        pass

    def kill(done: int, total: int, hops: int) -> None:
        seen.append(done)
        if len(seen) == 3:
            raise Killed

    seen: list[int] = []
    with pytest.raises(Killed):
        simulate_cell(STILL, run, kill)
    # A file that was being written when it was killed counts for nothing.
    (tmp_path / "parts" / "frames-000000300.npz").write_bytes(b"half")
    parts = simulate_cell(STILL, run, lambda *s: seen.append(s[0]))
    assert seen == sorted(seen)
    assert seen.count(seen[2]) == 2  # where it was killed, told twice and simulated once
    assert parts.positions.tobytes() == whole.positions.tobytes()


def _bits(run: CellRun) -> bytes:
    found = kept_trajectory(run.folder, run.crystal[2], run.options)
    assert found is not None
    return found.positions.tobytes()


def _shapes(run: CellRun) -> dict[str, tuple[int, ...]]:
    with np.load(run.folder / "state.npz") as file:
        return {name: file[name].shape for name in file.files}


@pytest.mark.parametrize("outgrown", [False, True])
def test_runs_of_a_batch_have_the_bits_that_they_have_alone(
    tmp_path, monkeypatch, outgrown
) -> None:  # type: ignore[no-untyped-def]
    """Colder, hotter, longer, begun before, and one of another size."""
    if outgrown:  # tables for the crystal at rest, which the hottest run outgrows

        def at_rest(potential, crystal, temperature, skin):  # type: ignore[no-untyped-def]
            return sizes_of(potential.neighbours(*crystal, skin=skin))

        monkeypatch.setattr(running, "hot_sizes", at_rest)
        monkeypatch.setattr(neighbours, "_ROOM", (1.0,) * 5)
    small, other = _crystal(3.9 if outgrown else 3.74), _crystal()
    other.make_supercell([2, 2, 2])
    cells = [simulated_cells(each, STILL, QUICK).cells[0] for each in (small, other)]
    longer = DynamicsOptions(**{**vars(QUICK), "length": 1.6})
    asked = [(0, 1000.0, QUICK), (0, 20.0, QUICK), (0, 30.0, longer), (1, 700.0, QUICK)]

    def runs(place: str) -> list[CellRun]:
        return [
            CellRun(cells[k], kelvin, options, tmp_path / place / str(number))
            for number, (k, kelvin, options) in enumerate(asked)
        ]

    begun = DynamicsOptions(**{**vars(QUICK), "length": 0.8})
    simulate_cell(STILL, runs("plain")[1])
    simulate_cells(STILL, [runs("together")[1]._replace(options=begun)], places=3)
    assert simulate_cells(STILL, runs("together"), places=3) == [None] * 4
    for each in runs("alone"):
        assert simulate_cells(STILL, [each], places=3) == [None]
    assert [_bits(a) for a in runs("together")] == [_bits(a) for a in runs("alone")]
    # And tables as large: the order of sums depends on them.
    assert [_shapes(a) for a in runs("together")] == [_shapes(a) for a in runs("alone")]
    if outgrown:
        assert _shapes(runs("alone")[0]) != _shapes(runs("alone")[1])
    # On a CPU places change nothing, as crystals are computed one after another.
    assert _bits(runs("together")[1]) == _bits(runs("plain")[1])


def test_a_run_that_explodes_takes_no_other_along(tmp_path) -> None:  # type: ignore[no-untyped-def]
    crystal = simulated_cells(_crystal(), STILL, QUICK).cells[0]
    close = (crystal[0].copy(), *crystal[1:])
    close[0][1] = close[0][0] + 0.4  # two atoms on top of one another
    good, bad = (
        CellRun(cell, 1000.0, QUICK, tmp_path / name)
        for cell, name in ((crystal, "good"), (close, "bad"))
    )
    errors = simulate_cells(STILL, [bad, good], places=2)
    assert errors[1] is None
    assert errors[0] is not None
    assert "exploded" in errors[0].what
    alone = good._replace(folder=tmp_path / "alone")
    simulate_cells(STILL, [alone], places=2)
    assert _bits(good) == _bits(alone)


def test_what_was_simulated_beforehand_is_only_analysed() -> None:
    oracle = dynamics_oracle(QUICK, STILL)
    assert oracle.beforehand is not None
    assert oracle.beforehand.together is simulate_together
    nothing = Structure(Lattice.cubic(4.0), ["Na", "F"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    asked = [_crystal(), nothing, _crystal(3.76), _crystal()]
    work = oracle.beforehand.together([(each, oracle.beforehand.terms) for each in asked])
    assert [each > 0 for each in work] == [True, False, True, False]
    heard: list[float] = []
    with listening(lambda what, done, total, note: heard.append(done / total)):
        answers = oracle.evaluate(asked)
    assert set(heard) <= {0.0, 1.0}
    assert [each.ok for each in answers] == [True, False, True, True]
    assert answers[0].value == answers[3].value


def test_three_temperatures_follow_arrhenius_exactly() -> None:
    barrier, kelvins = 0.3, (800.0, 1000.0, 1200.0)
    options = DynamicsOptions(temperatures=kelvins)

    def found(coefficient: float) -> Displacements:
        lag = np.linspace(0, 50.0, 200)
        mobile = np.repeat(2 * coefficient * lag[:, None], 3, axis=1)
        return Displacements(lag, mobile, {16: np.full(200, 0.5)}, 1000, 100, 100.0)

    shown = {t: [found(PREFACTOR * np.exp(-barrier / (8.617333262e-5 * t)))] for t in kelvins}
    answer = simulated_conductivity(shown, 5000.0, options)
    exact = PREFACTOR * np.exp(-barrier / (8.617333262e-5 * 300.0))
    assert 10**answer.log10 == pytest.approx(conductivity_of(exact, 100, 5000.0, 300.0), rel=1e-3)
    assert answer.record["activation_energy"][0] == pytest.approx(barrier, rel=1e-4)
    assert not answer.censored
    assert answer.error is not None
    assert answer.error > 0.1
    # Without hops at the coldest two the bound of the hotter of them says most.
    still = found(0.0)._replace(hops=0)
    bounded = simulated_conductivity({**shown, 800.0: [still], 1000.0: [still]}, 5000.0, options)
    assert bounded.censored
    limit = carried_bound(diffusion(still).bound, 1000.0, 300.0)
    assert 10**bounded.log10 == pytest.approx(conductivity_of(limit, 100, 5000.0, 300.0))


def test_any_calculator_will_do_and_its_runs_are_not_kept(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from ase.calculators.calculator import Calculator

    class Springs(Calculator):
        implemented_properties = ("energy", "forces")
        sites = None

        def calculate(self, atoms=None, properties=None, system_changes=None):  # type: ignore[no-untyped-def]
            super().calculate(atoms, properties, system_changes)
            self.sites = atoms.positions.copy() if self.sites is None else self.sites
            moved = atoms.positions - self.sites
            self.results = {"energy": float((moved**2).sum()), "forces": -2 * moved}

    (answer,) = dynamics_oracle(QUICK, Springs()).evaluate([_crystal()])
    assert answer.status == "ok", answer.status
    assert answer.provenance["state"] == "few hops"
    assert "kept" not in answer.provenance
    assert answer.provenance["potential"] == "Springs unknown"
    assert not any((tmp_path / "cache").rglob("*.npz"))


def test_what_cannot_be_simulated_says_so() -> None:
    oracle = dynamics_oracle(QUICK, STILL)
    sodium = _crystal().replace_species({"Li": "Na"})
    metal = Structure(Lattice.cubic(3.5), ["Li"], [[0, 0, 0]])
    wide = dynamics_oracle(DynamicsOptions(width=30.0), STILL)
    found = [one.status for one in oracle.evaluate([sodium, metal])]
    found += [one.status for one in wide.evaluate([_crystal()])]
    for status, words in zip(found, ("no Li in NaF", "nothing but Li", "atoms"), strict=True):
        assert status.startswith("failed: ")
        assert words in status
    with pytest.raises(MfalError, match="one, for ranking, or three or more"):
        DynamicsOptions(temperatures=(800.0, 1000.0))


def test_partly_occupied_crystals_are_drawn_neutral_and_ranked() -> None:
    lattice = Lattice.cubic(4.2)
    mixed = Structure(
        lattice,
        [{"Ti4+": 0.5, "Nb5+": 0.5}, "O2-", "O2-", "O2-", {"Li+": 0.9}, {"Li+": 0.6}],
        [[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5], [0.5, 0.5, 0], [0.5, 0.5, 0.3]],
    )
    options = DynamicsOptions(width=8.0, drawn=6, relax=False)
    large = mixed * (2, 2, 2)
    for seed in range(4):
        drawn = fill_mobile_sites(large, seed, options)
        amounts = drawn.composition.get_el_amt_dict()
        assert amounts["Ti"] == amounts["Nb"] == 4
        # Sites for 16, in pairs at 1.3 Å; the charge asks for 12.
        assert amounts["Li"] == 24 * 2 - 4 * 4 - 4 * 5
        lithium = [k for k, site in enumerate(drawn) if site.specie.symbol == "Li"]
        apart = drawn.distance_matrix[np.ix_(lithium, lithium)][np.triu_indices(len(lithium), 1)]
        assert apart.min() > 1.0
    shared = Structure(lattice, [{"Li+": 0.5, "Mg2+": 0.5}, "O2-"], [[0, 0, 0], [0.5] * 3]) * (
        2,
        2,
        2,
    )
    drawn = fill_mobile_sites(shared, 0, options)
    assert drawn.composition.get_el_amt_dict() == {"Mg": 4, "Li": 4, "O": 8}
    assert drawn.distance_matrix[~np.eye(16, dtype=bool)].min() > 2.0
    potential = lennard_jones(0.1, 1.5, 4.0)
    cells = simulated_cells(mixed, potential, options)
    assert len(cells.cells) == 3
    energies = cells.record["decoration_energies"]
    assert energies == sorted(energies)
    assert cells.record["occupancy"] == "3 decorations"


def test_the_command_lines_name_leads_to_it() -> None:
    (oracle,) = load_oracles(("mfal.oracles:dynamics",))
    assert oracle.name == "dynamics"
    assert oracle.version == dynamics_oracle().version
    assert "700K" in oracle.version
    ladder = load_oracles(("mfal.oracles:default_oracles", "mfal.oracles:dynamics"))
    assert [one.name for one in ladder][-1] == "dynamics"
    assert all(one.cost < oracle.cost / 100 for one in ladder[:-1])


def test_a_potential_by_another_name_has_another_version() -> None:
    other = STILL._replace(name="springs", version="7")
    assert dynamics_oracle(QUICK, other).version.startswith("4-springs-7-Li-1000K")


@pytest.mark.slow
def test_chgnet_simulates_a_crystal_at_rest_for_as_long_as_its_name_says(tmp_path) -> None:  # type: ignore[no-untyped-def]
    salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(6.0), ["Li+", "I-"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    planned = run_of_length(salt, "Li", 1.0)
    assert planned.price.total == 1000
    assert planned.price.bought(planned.price.seconds()) == 1.0
    heard: list[tuple[str, int, int, str]] = []
    for name, steps in (("Li_1000fs", [0, 1000]), ("Li_1400fs", [1000, 1200])):
        (oracle,) = load_oracles((f"mfal.oracles.dynamics.short:{name}",))
        heard.clear()
        with listening(lambda *said: heard.append(said)):
            (answer,) = oracle.evaluate([standard_setting(salt)])
        assert answer.status == "ok", answer.status
        moving = [done for what, done, *_ in heard if "at 1000 K" in what or "to 1000 K" in what]
        assert [moving[0], moving[-1]] == steps  # what is kept is not simulated again
        assert steps_done(planned.folder) == steps[-1]
        (run,) = answer.provenance["simulated"]
        assert run["duration_ps"] == pytest.approx(1e-3 * 2.0 * (steps[-1] - 500), abs=0.05)
        assert run["msd"][-1] > 0.1  # it is hot
    files = write_dynamics_files(answer.provenance, tmp_path / "shown", "LiI")
    assert [one.suffix for one in files] == [".csv", ".png", ".cube"]
