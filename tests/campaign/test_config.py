"""Configuration: types, unknown options, TOML there and back, differences."""

import dataclasses
import tomllib

import pytest

from mfal.campaign.config import (
    CampaignConfig,
    ExecutionConfig,
    ProxyConfig,
    SamplerConfig,
    SpaceConfig,
    StabilityConfig,
)
from mfal.campaign.options import describe_differences, from_mapping, option_paths
from mfal.campaign.toml import read_toml, to_toml
from mfal.errors import MfalError


def test_toml_there_and_back_keeps_every_option():
    config = CampaignConfig(
        budget=7.25,
        seed=3,
        baseline="random",
        oracles=('a:b"c\\', "m:n\n"),
        space=SpaceConfig(elements=("Li", "O")),
        proxy=ProxyConfig(members=3),
        sampler=SamplerConfig(learning_rate=3e-4),
        limits=("bvse=20", "sendek=0.5"),
        target=-2.5,
        overlap=0.25,
        execution=ExecutionConfig(
            executor="dask://host:8786", retries=2, timeouts=("bvse=7",), hours=1.5
        ),
    )
    assert from_mapping(tomllib.loads(to_toml(config))) == config


def test_every_option_has_help_and_a_default_of_its_type():
    paths = [path for path, *_ in option_paths()]
    assert len(paths) == len(set(paths))
    assert {"budget", "seed", "space.elements", "execution.workers"} <= set(paths)
    assert all(text for *_, text in option_paths())
    assert not any(default is dataclasses.MISSING for _, _, default, _ in option_paths())


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"budgit": 3.0}, "budgit"),
        ({"proxy": {"membres": 3}}, "proxy.membres"),
        ({"seed": 1.5}, "seed"),
        ({"seed": True}, "seed"),
        ({"baseline": 1}, "baseline"),
        ({"baseline": "fungel"}, "baseline 'fungel'"),
        ({"strategy": "none"}, "strategy 'none'"),
        ({"space": {"elements": 3}}, "space.elements"),
        ({"space": {"elements": ["Li", 3]}}, "space.elements[1] is 3"),
        ({"space": {"groups": "225, Fm-3m"}}, "space.groups is '225, Fm-3m'"),
        ({"execution": {"hours": "two"}}, "execution.hours is 'two'"),
        ({"proxy": 3}, "proxy"),
        ({"budget": -1}, "budget -1"),
        ({"budget": 0}, "budget 0"),
        ({"budget": float("nan")}, "budget nan"),
        ({"budget": float("inf")}, "budget inf"),
        ({"rounds": 0}, "rounds 0"),
        ({"seed": -1}, "seed -1"),
        ({"sampler": {"steps": 0}}, "sampler.steps 0"),
        ({"sampler": {"learning_rate": float("nan")}}, "sampler.learning_rate nan"),
        ({"sampler": {"sharpness": -2.0}}, "sampler.sharpness -2"),
        ({"oracles": []}, "no oracles"),
        ({"execution": {"timeout": 0.0}}, "execution.timeout 0"),
        ({"execution": {"hours": -1.0}}, "execution.hours -1"),
        ({"execution": {"timeouts": ["bvse"]}}, "execution.timeouts 'bvse'"),
        ({"limits": ["bvse=-3"]}, "limits 'bvse=-3'"),
        ({"limits": ["=3"]}, "limits '=3'"),
        ({"limits": ["bvse=much"]}, "limits 'bvse=much'"),
        ({"limits": ["bvse=inf"]}, "limits 'bvse=inf'"),
        ({"limits": ["bvse=1", "bvse=2"]}, "limits names bvse twice"),
        ({"overlap": 1.0}, "overlap 1"),
        ({"target": float("nan")}, "target nan"),
    ],
)
def test_a_wrong_option_is_named_with_a_remedy(values, named):
    with pytest.raises(MfalError) as caught:
        from_mapping(values)
    assert named in caught.value.what
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("values", "meant"),
    [
        ({"budgit": 3}, "budget"),
        ({"elements": ["Li"]}, "space.elements"),
        ({"samplr": {"steps": 3}}, "sampler"),
        ({"proxy": {"sampls": 3}}, "sampler.samples"),
        ({"nothing_like_it": 3}, "--help"),
    ],
)
def test_an_unknown_option_comes_with_those_that_may_have_been_meant(values, meant):
    with pytest.raises(MfalError, match="unknown option") as caught:
        from_mapping(values)
    assert meant in caught.value.remedy


def test_text_with_commas_is_a_list():
    config = from_mapping({"space": {"elements": "Li,P, S", "groups": "225,227"}, "oracles": "a:b"})
    assert config.space.elements == ("Li", "P", "S")
    assert config.space.groups == (225, 227)
    assert config.oracles == ("a:b",)
    assert from_mapping({"space": {"groups": ""}}).space.groups == ()


def test_a_whole_number_serves_where_a_number_is_asked_for():
    config = from_mapping({"budget": 7, "execution": {"hours": 2}})
    assert isinstance(config.budget, float)
    assert isinstance(config.execution.hours, float)


def test_an_unreadable_or_broken_file_is_named(tmp_path):
    broken = tmp_path / "broken.toml"
    broken.write_text("budget = = 3")
    with pytest.raises(MfalError, match=r"broken\.toml: not valid TOML"):
        read_toml(broken)
    with pytest.raises(MfalError, match=r"none\.toml"):
        read_toml(tmp_path / "none.toml")


def test_differences_name_the_option_and_leave_out_how_queries_run():
    old = CampaignConfig()
    assert describe_differences(old, CampaignConfig()) == []
    assert describe_differences(old, CampaignConfig(execution=ExecutionConfig(workers=7))) == []
    assert describe_differences(old, CampaignConfig(target=1.5)) == ["target: none -> 1.5"]
    new = CampaignConfig(seed=4, proxy=ProxyConfig(members=9))
    assert describe_differences(old, new) == ["seed: 0 -> 4", "proxy.members: 8 -> 9"]


def test_a_configuration_that_was_read_is_written_whole():
    read = from_mapping({"stability": {"mode": "constraint", "high": 2.0}})
    assert tomllib.loads(to_toml(read)) == tomllib.loads(
        to_toml(CampaignConfig(stability=StabilityConfig(mode="constraint", high=2.0)))
    )
    assert tomllib.loads(to_toml(read))["stability"]["max_hull_distance"] == 0.1
