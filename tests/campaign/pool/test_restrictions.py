"""What may be a candidate: the same rule for pools, generated crystals and traced rewards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mfal.campaign.config import SpaceConfig
from mfal.campaign.pool.restrictions import check_restrictions, restrictions_met
from mfal.campaign.problem import make_spec
from mfal.crystals.elements import SYMBOLS
from mfal.crystals.formulas import formula_amounts
from mfal.errors import MfalError

FORMULAS = ["Li3PS4", "Li2SO4", "Li6PS5Cl", "Li3P", "Li3OBr", "Na3PS4", "LiCoO2", "Li6P2S8"]


def met(space: SpaceConfig, formulas=FORMULAS, groups=None) -> list[str]:
    """The formulas that meet all restrictions, by NumPy and by a traced function alike."""
    composition = np.zeros((len(formulas), len(SYMBOLS)), np.float32)
    for row, formula in zip(composition, formulas, strict=True):
        for symbol, amount in formula_amounts(formula).items():
            row[SYMBOLS.index(symbol)] = 2 * amount
    groups = np.array(groups or [62] * len(formulas), np.int32)
    plain = np.stack(
        [np.ones(len(formulas), bool), *restrictions_met(space, composition, groups).values()]
    ).all(0)

    def one(counts, group):
        found = restrictions_met(space, counts, group, jnp)
        return jnp.stack([jnp.asarray(True), *found.values()]).all(0)

    traced = jax.jit(jax.vmap(one))(composition, groups)
    np.testing.assert_array_equal(traced, plain)
    return [formula for formula, good in zip(formulas, plain, strict=True) if good]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({}, ["Li3PS4", "Li2SO4", "Li6PS5Cl", "Li3P", "Li3OBr", "LiCoO2", "Li6P2S8"]),
        ({"must_contain": ("Na",)}, ["Na3PS4"]),
        ({"elements": ("Li", "P", "S")}, ["Li3PS4", "Li3P", "Li6P2S8"]),
        ({"banned": ("Co", "P")}, ["Li2SO4", "Li3OBr"]),
        # Sulfur is the anion of a thiophosphate, a cation in a sulfate; P is one in Li3P alone.
        ({"anions": ("S",)}, ["Li3PS4", "Li6P2S8"]),
        ({"anions": ("O",)}, ["Li2SO4", "LiCoO2"]),
        ({"anions": ("P",)}, ["Li3P"]),
        ({"anions": ("O", "Br")}, ["Li2SO4", "Li3OBr", "LiCoO2"]),
        # Proportions count, not how many formula units there are.
        ({"formula": ("Li3PS4",)}, ["Li3PS4", "Li6P2S8"]),
        ({"formula": ("Li-P-S", "LiCoO2")}, ["Li3PS4", "LiCoO2", "Li6P2S8"]),
        ({"formula": ("Li-*-S",)}, ["Li3PS4", "Li2SO4", "Li6P2S8"]),
        ({"max_atoms": 10}, ["Li3P", "Li3OBr", "LiCoO2"]),
        ({"max_price": 30.0, "must_contain": ()}, ["Na3PS4"]),
        ({"banned_toxicity": ("1", "2A"), "anions": ("O", "Br")}, ["Li2SO4", "Li3OBr"]),
    ],
)
def test_restrictions(options, left) -> None:
    assert met(SpaceConfig(**options)) == left


def test_space_groups() -> None:
    space = SpaceConfig(groups=(1, 230))
    assert met(space, ["Li2O"] * 4, [1, 2, 229, 230]) == ["Li2O"] * 2
    assert met(SpaceConfig(groups=()), ["Li2O"], [7]) == ["Li2O"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"banned": ("Xx",)}, "space.banned 'Xx' is no element"),
        ({"max_price": 30.0}, "space.must_contain Li, which no candidate may hold"),
        ({"banned_toxicity": ("4",)}, "space.banned_toxicity '4' is no class"),
        ({"formula": ("Li-p-S",)}, "write a system as Li-P-S"),
        ({"formula": ("hello",)}, "space.formula 'hello'"),
        ({"groups": (231,)}, "space.groups 231"),
        ({"banned": ("Li",)}, "must_contain Li, which no candidate may hold"),
        ({"elements": ("Li", "O"), "must_contain": ("S",)}, "space.must_contain S"),
    ],
)
def test_what_makes_no_sense_is_said(options, said) -> None:
    with pytest.raises(MfalError, match=said):
        check_restrictions(SpaceConfig(**options))


def test_the_sampler_is_confined_by_the_same_words() -> None:
    spec = make_spec(SpaceConfig(banned=("Co", "P"), anions=("S", "Cl"), must_contain=("Li", "Ga")))
    elements = {symbol for symbol, _ in spec.states}
    assert {"Li", "Ga", "S", "Cl"} <= elements
    assert not elements & {"O", "F", "N", "Br", "P", "Co"}
    assert set(spec.required) >= {"Li", "Ga"}
    assert {s for s, _ in make_spec(SpaceConfig(formula=("Li-P-S",))).states} == {"Li", "P", "S"}
    # With the options of before, the space of before.
    assert make_spec(SpaceConfig()).max_atoms == 36
