"""The arithmetic of the experiments, and that their scripts run."""

import importlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.campaign.ledger.crystals import plain_structure
from mfal.data import load_embedded
from mfal.envs.hypergrid import HypergridSpec, hypergrid
from mfal.oracles.stability.thermochemistry import measured_table

FOLDER = Path(__file__).parents[2] / "experiments"


@pytest.fixture(scope="module")
def script():
    """A module of the folder by its name."""
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module
    sys.path.remove(str(FOLDER))


def test_intraclass_correlation_of_shrout_and_fleiss(script):
    # Table 2 of Psychol. Bull. 86, 420 (1979): six targets, four judges; ICC(1, 1) is .17.
    ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    intraclass = script("triple_defines_crystal").intraclass
    assert intraclass([np.array(row, float) for row in ratings]) == pytest.approx(0.17, abs=0.005)


def test_interval_is_the_normal_one_for_many_items(script):
    items = np.random.default_rng(1).normal(3.0, 2.0, 400)
    found = script("shared").interval(items)
    half = 1.645 * items.std() / 20
    assert found.middle == pytest.approx(items.mean())
    assert found.low == pytest.approx(items.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(items.mean() + half, abs=0.15 * half)


def test_pieces_are_done_once_and_a_torn_line_again(script, tmp_path):
    do_pieces, ran = script("shared").do_pieces, Counter()

    def task(name):
        ran[name] += 1
        return {"name": name, "value": 1.5}

    tasks = {name: lambda name=name: task(name) for name in "abc"}
    path = tmp_path / "pieces.jsonl"
    first = do_pieces(path, {name: tasks[name] for name in "ab"})
    path.write_text(path.read_text() + '["c", {"name"')  # killed while it wrote
    assert do_pieces(path, tasks) == {**first, "c": {"name": "c", "value": 1.5}}
    assert do_pieces(path, tasks)["c"]["value"] == 1.5
    assert ran == {"a": 1, "b": 1, "c": 1}


def test_growth_of_a_power_law(script):
    points = [(n, [2e-3 * n**1.5 * f for f in (0.99, 1.0, 1.01)]) for n in (10, 100, 1000)]
    found = script("scale").exponent(points)
    assert found.middle == pytest.approx(1.5, abs=1e-6)
    assert found.low <= 1.5 <= found.high < 1.51


def test_places_not_filled_count_as_the_floor(script):
    mean_of_best = script("campaigns_compared").mean_of_best
    assert mean_of_best([], -20.0) == -20.0
    assert mean_of_best([-4.0, -2.0], -20.0) == pytest.approx(-16.6)
    assert mean_of_best([-3.0] * 4 + [-1.0] * 8, -20.0) == pytest.approx(-1.4)


def test_a_level_is_reached_when_ten_formulas_have_it_in_the_mean(script):
    seconds_to = script("campaigns_compared").seconds_to
    course = [(10.0 * k, f"formula {k}", -4.0) for k in range(1, 11)]
    course += [(200.0, "formula 1", -6.0), (300.0, "formula 1", -3.0)]  # worse polymorph, better
    assert seconds_to(-4.0, course, -20.0) == 100.0
    assert seconds_to(-20.0, course, -20.0) == 10.0
    assert seconds_to(-3.9, course, -20.0) == 300.0
    assert seconds_to(-3.8, course, -20.0) == float("inf")


def test_window_of_a_binary_salt(script):
    """LiCl withstands lithium; chlorine is set free where 2 LiCl -> 2 Li + Cl2 takes no work."""
    gibbs = next(row.gibbs for row in measured_table() if row.formula == "LiCl")
    faraday = 96.48533212  # kJ/mol per eV: CODATA's e times Avogadro's constant
    assert script("rewards").window("LiCl") == pytest.approx(-gibbs / faraday, abs=2e-3)


@pytest.mark.slow
def test_metropolis_keeps_the_reweighed_random_search(script):
    """Chains on a small grid, against the random search's own draws weighed by exp(w)."""
    searches = script("searches")
    env = hypergrid(HypergridSpec(2, 3))

    def weight(params, state):
        return params * jnp.sum(state.position**2)

    def shares(states, weights):
        cells = np.asarray(states.position[..., 0] * 3 + states.position[..., 1]).ravel()
        total = np.bincount(cells, np.asarray(weights).ravel(), minlength=9)
        return total / total.sum()

    drawn = searches.random_search(env, weight, 0.4, jax.random.key(0), 4096, 4)
    expected = shares(drawn.states, np.exp(drawn.log_weight))
    chains = searches.metropolis(env, weight, 0.4, jax.random.key(1), 512, 60)
    later = jax.tree.map(lambda leaf: leaf[20:], chains)
    found = shares(later.states, jnp.ones_like(later.log_weight))
    assert np.abs(found - expected).sum() / 2 < 0.03
    assert np.abs(shares(drawn.states, jnp.ones_like(drawn.log_weight)) - expected).sum() / 2 > 0.1


def test_a_batch_in_hindsight_does_not_buy_the_same_twice(script):
    choose = script("retrospective_obelix").choose
    # Rows 0 and 1 are the same to the model; row 2 is less promising but unrelated.
    covariance = np.array([[1, 0.999, 0], [0.999, 1, 0], [0, 0, 1]]) + 0.0
    covariance = np.pad(covariance, (0, 17))
    mean = np.concatenate([[1.0, 0.99, 0.9], np.full(17, -9.0)])
    picked = choose(mean, covariance, 0.01, np.arange(20), 1.0)
    assert picked[:2].tolist() == [0, 2]
    assert len(set(picked.tolist())) == 5
    assert 0 not in choose(mean, covariance, 0.01, np.arange(1, 20), 1.0)


def test_the_year_that_a_doi_tells(script):
    year_of = script("obelix_years").year_of
    told = {
        "10.1016/j.ssi.2004.01.001": 2004,
        "10.1016/0167-2738(81)90341-9": 1981,
        "10.1016/S0167-2738(01)00841-5": 2001,
        "10.1021/acs.chemmater.6b02648": 2016,
        "10.1021/jacs.0c10735": 2020,
        "10.1039/c5ta02917g": 2015,
        "10.1002/zaac.200500231": 2005,
        "10.1007/s11581-006-0011-9": 2006,
        "10.1021/cm203303y": 2011,
        "10.1021/ic030208w": 2003,
        "10.1021/jp973296c": 1997,
        "10.1063/1.2357843": 0,
    }
    assert {doi: year_of(doi) for doi in told} == told


def test_slopes_of_cheap_answers_are_those_of_a_bayesian_regression(script):
    retrospective = script("retrospective_obelix")
    rng = np.random.default_rng(2)
    answers = rng.normal(size=(40, 2))
    value = 3 + answers @ [1.5, 0.0] + 0.5 * rng.normal(size=40)
    slope, covariance = retrospective.slopes(value, answers)
    # The prior is an observation of its mean, worth so many rows each.
    rows = np.concatenate([answers, np.sqrt(retrospective.SLOPE_ROWS) * np.eye(2)])
    prior = retrospective.SLOPE * value.std() * np.ones(2)
    ends = np.concatenate([value - value.mean(), np.sqrt(retrospective.SLOPE_ROWS) * prior])
    np.testing.assert_allclose(slope, np.linalg.lstsq(rows, ends)[0], rtol=1e-6)
    left = np.mean((value - value.mean() - answers @ slope) ** 2)
    np.testing.assert_allclose(covariance, left * np.linalg.inv(rows.T @ rows), rtol=1e-6)


def test_forecasts_are_mixed_by_their_moments_and_papers_stay_whole(script):
    regression = script("obelix_regression")
    rng = np.random.default_rng(3)
    parts = [regression.Forecast(np.full(1, m), np.full(1, s), np.ones(1), 1.0)
             for m, s in ((-1.0, 0.5), (2.0, 1.0))]  # fmt: skip
    draws = np.concatenate([rng.normal(p.mean, p.std, 400_000) for p in parts])
    both = regression.mixture(*parts)
    assert both.mean[0] == pytest.approx(draws.mean(), abs=0.01)
    assert both.std[0] == pytest.approx(draws.std(), abs=0.01)
    rows = regression.Rows(None, None, None, rng.integers(0, 30, 100), None, None)
    folds = regression.folds_by_paper(rows, np.arange(100), 5, 0)
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(100))
    for train, test in folds:
        assert not set(rows.paper[train]) & set(rows.paper[test])


def test_scores_are_read_or_asked_once(script, tmp_path):
    oracles = script("obelix_oracles")
    asked = []

    def oracle(version):
        def evaluate(structures):
            asked.append(version)
            return [SimpleNamespace(value=99.0, seconds=0.5)]

        return SimpleNamespace(
            name="cheap", version=version, bounds=(0.0, 3.0), higher_is_better=False,
            evaluate=evaluate,
        )  # fmt: skip

    table = SimpleNamespace(
        ids=["a", "b", "c"], has_structure=np.array([True, False, True]), structures=lambda: "abc"
    )
    for version in "112":
        found = oracles.ask_oracles(table, [oracle(version)], tmp_path / "scores.json")
        # Clipped, turned so that larger is better, of today's oracles alone.
        assert found == {f"cheap {version}": {"seconds": 1.0, "scores": {"a": -3.0, "c": -3.0}}}
    assert asked == ["1", "1", "2", "2"]
    given = tmp_path / "given.json"
    given.write_text("{}")
    assert oracles.known_or_asked(given, tmp_path, tmp_path) == {}


def test_what_lies_lower_than_the_known_crystal_is_told_from_what_was_missed(script, capsys):
    one = {"atoms": 8, "same as measured": True, "seconds": 2.0}
    records = {
        "found": one | {"recovered": True, "above known": 0.0},
        "lower": one | {"recovered": False, "above known": -0.02},
        "level": one | {"recovered": False, "above known": 0.0005},
        "missed": one | {"recovered": False, "above known": 0.05},
        "none": {"atoms": 30, "same as measured": False, "recovered": False, "reason": "no atoms"},
    }
    found = script("triple_defines_crystal").relaxed_table(records)
    assert found["recovered"].middle == pytest.approx(0.2, abs=0.05)
    assert (found["lower"], found["higher"], found["others"], found["none"]) == (1, 1, 3, 1)
    assert found["25 to 36 atoms"].middle == 0.0
    assert found["stays"].middle == pytest.approx(0.8, abs=0.05)
    assert "1 lie lower than the known one, 1 higher, by 0.050 eV" in capsys.readouterr().out


def test_a_generated_crystal_counts_by_what_it_meets_at_once(script):
    quality = script("generation_quality")
    table = load_embedded()
    structure = table.structure(table.index("mp-dielectric-4595"))  # Li2O, which conducts
    one = {"formula": "Li2O", "crystal": [{"Li": 2, "O": 1}], "valid": True, "known_as": ""}
    one |= {"energy": 0.0, "arrangement": plain_structure(structure)}
    on_hull, _ = quality.place(one)

    def at(distance, **changes):
        return one | {"energy": distance - on_hull} | changes

    assert quality.place(at(0.05))[0] == pytest.approx(0.05, abs=1e-9)
    alone = {
        "stable": at(-0.01),
        "near": at(0.02),
        "metastable": at(0.05),
        "high": at(0.2),
        "known": at(-0.01, known_as="Li2O"),
        "restless": at(-0.01, valid=False),
    }
    met = {name: quality.verdicts([row]) for name, row in alone.items()}
    expected = {
        "sun": {"stable"},
        "near": {"stable", "near"},
        "msun": {"stable", "near", "metastable"},
        "conducting": {"stable", "near", "metastable"},
    }
    for measure, names in expected.items():
        assert {name for name, found in met.items() if found[measure][0]} == names, measure
    twice = quality.verdicts([at(0.05), at(0.05)])
    assert twice["metastable"].tolist() == [True, True]
    assert twice["msun"].tolist() == twice["conducting"].tolist() == [True, False]
    lithium_fluoride = table.structure(table.index("mp-dielectric-4602"))
    still = at(0.05, arrangement=plain_structure(lithium_fluoride))
    assert quality.verdicts([still])["msun"][0]
    assert not quality.verdicts([still])["conducting"][0]


SMOKE = {
    "triple_defines_crystal": [
        "--crystals",
        "2",
        "--seeds",
        "1",
        "--tries",
        "16",
        "--oracles",
        "1",
        "--relaxed",
        "1",
    ],
    "gflownet_rewards": ["--labels", "10", "--steps", "20", "--samples", "3", "--top", "2"],
    "campaigns_compared": ["--seeds", "1", "--budget", "60", "--strategies", "random"],
    "scale": ["--size", "small", "--axes", "ensemble rows", "observations"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMOKE)
def test_smoke(name, tmp_path):
    command = [sys.executable, str(FOLDER / f"{name}.py"), *SMOKE[name], "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "What would overturn this" in done.stdout
    assert (tmp_path / f"{name}.json").exists()
    assert (tmp_path / f"{name}.png").exists()


def test_rho_inside_families_knows_nothing_of_what_lies_between_them(script):
    transport = script("transport_vs_experiment")
    families = np.repeat(["O", "S", "Cl"], [8, 8, 3])
    target = np.concatenate([np.arange(8.0), 20 + np.arange(8.0), [50.0, 51.0, 52.0]])
    turned = np.concatenate([-np.arange(8.0), 20 - np.arange(8.0), [50.0, 51.0, 52.0]])
    assert transport.inside(target, target, families) == pytest.approx(1.0, abs=0.01)
    assert transport.inside(turned, target, families) == pytest.approx(-1.0, abs=0.01)
    assert np.isnan(transport.inside(target[16:], target[16:], families[16:]))  # too few rows


def test_limits_rank_below_what_hopped_and_failures_not_at_all(script):
    score = script("transport_vs_experiment").score

    def piece(state, hops, value, status="ok"):
        simulated = [{"hops_counted": hops}]
        return {"status": status, "state": state, "value": value, "simulated": simulated}

    still, few = piece("few hops", 0, -1.5), piece("few hops", 4, -1.8)
    slow, fast = piece("diffusing", 12, -2.0), piece("diffusing", 90, 0.3)
    ranks = [score("dynamics", each) for each in (still, few, slow, fast)]
    assert ranks == sorted(ranks)
    assert np.isnan(score("dynamics", piece("melted", 90, 0.3)))
    assert np.isnan(score("dynamics", piece("few hops", 0, -1.5, "failed: it exploded")))
    assert score("bvse", {"status": "ok", "value": "inf"}) == -5.0


@pytest.fixture
def accelerator(monkeypatch):
    folder = FOLDER / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))
    return importlib.import_module("accelerator")


def test_a_device_is_compared_with_the_cpu_and_what_is_left_out_is_named(
    accelerator, tmp_path, capsys
):
    folders = [tmp_path / name for name in ("cpu", "same", "other", "late")]
    for folder in folders:
        folder.mkdir()
    cpu, same, other, late = folders
    accelerator.measure(["maps"], True, 60.0, cpu)
    for folder in (same, other):
        for file in cpu.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
    answers = {name: value + 2e-3 for name, value in np.load(cpu / "answers.npz").items()}
    np.savez(other / "answers.npz", **answers)
    accelerator.measure(["maps"], True, 0.0, late)
    shown = []
    for device in (same, other, late):
        accelerator.show(accelerator.compared(cpu, device))
        shown.append(capsys.readouterr().out.splitlines()[1])
    assert "1.00x" in shown[0]
    assert "  equal (0.0e+00, 0.001 allowed)" in shown[0]
    assert "NOT EQUAL (2.0e-03, 0.001 allowed)" in shown[1]
    assert "device: left out (no time left)" in shown[2]


@pytest.mark.slow
def test_all_of_it_runs_with_a_cpu_in_the_devices_place(tmp_path):
    output = tmp_path / "report.json"
    done = subprocess.run(
        [
            *(sys.executable, str(FOLDER / "benchmarks" / "accelerator.py"), "--small"),
            *("--pretend=--xla_cpu_multi_thread_eigen=false", "--output", str(output)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(output.read_text())["rows"]
    assert len(rows) == 9
    assert all(row["device"]["equal"] for row in rows)
