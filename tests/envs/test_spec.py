"""Specs: normal forms, and one clear line for each mistake."""

import pytest

from mfal.envs import CrystalSpec, crystal_environment, production_like_spec
from mfal.envs.crystal.spec import count_bounds, parse_stoichiometry, species_list
from mfal.errors import MfalError


def test_forms_that_mean_the_same_are_equal():
    a = CrystalSpec({"Li": [1], "O": [-2]}, fractions={"O": (0.2, 0.5)}, groups=(225, 62, 62))
    b = CrystalSpec(("O", "Li"), fractions=(("O", (0.2, 0.5)),), groups=(62, 225))
    assert set(a.states) == set(b.states)
    assert a.groups == b.groups == (62, 225)
    # O has a least share, so it is required, and required elements come first.
    assert set(a.required) == {"Li", "O"}
    assert hash(CrystalSpec()) == hash(CrystalSpec())


def test_stoichiometry_sets_the_composition():
    spec = CrystalSpec(stoichiometry="Li14La6Zr4O24", max_atoms=96)
    assert spec.stoichiometry == (("Li", 7), ("La", 3), ("Zr", 2), ("O", 12))
    assert [count_bounds(spec, s, 48) for s in ("Li", "La", "Zr", "O")] == [
        (14, 14),
        (6, 6),
        (4, 4),
        (24, 24),
    ]


def test_formulas():
    assert dict(parse_stoichiometry("Li(PO3)2F")) == {"Li": 1, "P": 2, "O": 6, "F": 1}
    for wrong in ("", "Li0.5", "Li2(O", "li2o", "Li)2", "LiO0"):
        with pytest.raises(MfalError, match="stoichiometry"):
            parse_stoichiometry(wrong)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"elements": ("Li", "Xx")}, "Xx"),
        ({"elements": {"Li": (1,), "O": (0, -2)}}, "oxidation states"),
        ({"required": ("Na",)}, "Na not among the elements"),
        ({"element_limits": (4, 3)}, "element_limits"),
        ({"min_atoms": 9, "max_atoms": 8}, "atoms from 9 to 8"),
        ({"fractions": {"O": (0.6, 0.4)}}, "fraction of O"),
        ({"fractions": {"Na": (0.1, 0.4)}}, "Na not among"),
        ({"groups": (0, 12)}, "groups"),
        ({"max_angle": 180.0}, "max_angle"),
        ({"min_length": 9.0}, "min_length 9.0 Å is too long"),
        ({"max_length": 5.0}, "max_length 5.0 Å is too short"),
        ({"packing": (2.0, 1.0)}, "packing from 2.0 to 1.0"),
        ({"elements": ("Li", "Na")}, "cations and anions"),
        ({"elements": {"Li": (1,), "Mn": (1.5,), "O": (-2,)}}, "oxidation state 1.5 of Mn"),
        ({"max_atoms": 16.0}, "max_atoms 16.0"),
        ({"mixed_valence": True}, "mixed_valence True"),
    ],
)
def test_mistakes_are_named(fields, words):
    with pytest.raises(MfalError, match=words):
        CrystalSpec(**fields)


def test_unknown_fields_are_errors():
    with pytest.raises(TypeError, match="max_atom"):
        CrystalSpec(max_atom=20)


@pytest.mark.parametrize(
    "fields",
    [
        # Ia-3d has no room for 8 atoms.
        {"groups": (230,), "max_atoms": 8},
        # No charge balance: an odd number of Li+ against O2-.
        {"elements": ("Li", "O"), "fractions": {"Li": (0.5, 0.5)}},
        # Cubic cells need right angles.
        {"groups": (225,), "min_angle": 100.0, "max_angle": 120.0},
    ],
)
def test_empty_specs_are_refused(fields):
    with pytest.raises(MfalError, match="no crystal obeys the spec"):
        crystal_environment(CrystalSpec(**fields))


def test_production_like_spec_builds():
    env = crystal_environment(production_like_spec())
    assert env.num_actions == 7 + 32 + 230 + 24 + 16 + 1 + 6
    assert bool(env.action_mask(env.initial_state())[:7].all())


def test_mixtures_have_whole_charges():
    spec = CrystalSpec({"Li": (1,), "Sn": (2, 4), "O": (-2,)}, mixed_valence=2)
    mixture = next(s for s in species_list(spec) if s.repeat == 2)
    # 1:1 of Sn2+ and Sn4+: mean state 3, but only an even number of atoms has it.
    assert (mixture.symbol, mixture.state) == ("Sn", 3)
