import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.phase_diagram import PhaseDiagram
from pymatgen.core import Composition, Element, Lattice, Structure
from pymatgen.entries.computed_entries import ComputedEntry

from experiments.stability_windows import published_windows
from mfal.data.units import KJ_PER_EV
from mfal.errors import MfalError
from mfal.oracles.stability.energies import Energies
from mfal.oracles.stability.thermochemistry import (
    computed_energies,
    embedded_energies,
    measured_energies,
    measured_table,
    potential_energies,
)
from mfal.oracles.stability.window import (
    equilibrium_window,
    first_bounded_window,
    stability_oracle,
    stability_window,
)


def table(formation: dict[str, float], *, metal: float = 0.0, exhaustive: bool = True) -> Energies:
    """A toy table: formation energies in eV per formula; lithium metal at `metal` eV."""
    elements = {e.symbol for name in formation for e in Composition(name).elements} | {"Li"}
    entries = [ComputedEntry(symbol, metal if symbol == "Li" else 0.0) for symbol in elements]
    entries += [
        ComputedEntry(name, energy + metal * Composition(name)["Li"])
        for name, energy in formation.items()
    ]
    return Energies(tuple(entries), "toy", exhaustive)


@pytest.mark.parametrize("metal", [0.0, -1.9])
def test_binary_oxidation_is_the_formation_energy_per_lithium(metal):
    window = stability_window("Li2S", table({"Li2S": -4.2}, metal=metal))
    assert window.reduction == 0.0
    assert window.oxidation == pytest.approx(2.1)
    assert window.hull_distance == 0.0
    assert window.reduced_to is None
    assert window.oxidised_to == "Li2S -> S + 2 Li"


@pytest.mark.parametrize("metal", [0.0, -1.9])
def test_ternary_window_in_closed_form(metal):
    # Li2SiO3 + 4 Li -> Si + 3 Li2O and Li2SiO3 -> SiO2 + 1/2 O2 + 2 Li, no other phase.
    energies = table({"Li2O": -6.0, "SiO2": -9.0, "Li2SiO3": -16.4}, metal=metal)
    window = stability_window("Li2SiO3", energies)
    assert window.reduction == pytest.approx((3 * 6.0 - 16.4) / 4)
    assert window.oxidation == pytest.approx((16.4 - 9.0) / 2)
    assert window.width == pytest.approx(3.7 - 0.4)


def test_intermediate_phase_narrows_the_window_by_its_own_plateau():
    two_steps = table({"Li2S": -4.2, "LiS": -2.4})
    assert stability_window("Li2S", two_steps).oxidation == pytest.approx(4.2 - 2.4)
    middle = stability_window("LiS", two_steps)
    assert middle.reduction == pytest.approx(1.8)
    assert middle.oxidation == pytest.approx(2.4)


def test_metastable_phase_has_the_window_of_its_products_and_reports_its_distance():
    energies = table({"Li2S": -4.2, "LiCl": -3.9, "Li3SCl": -7.9})
    window = stability_window("Li3SCl", energies)
    assert window.hull_distance == pytest.approx(0.2 / 5)
    assert window.decomposition == {"Li2S": 0.6, "LiCl": 0.4}
    assert (window.reduction, window.oxidation) == (0.0, pytest.approx(2.1))
    assert stability_window("Li3SCl", energies).hull_distance == pytest.approx(0.04)


def test_composition_inside_a_plateau_has_no_window():
    # Half lithiated: takes up and releases lithium at one and the same voltage.
    window = stability_window("Li3S2", table({"Li2S": -4.2, "LiS": -2.4, "Li3S2": -6.0}))
    assert window.reduction == pytest.approx(1.8)
    assert window.oxidation == pytest.approx(1.8)
    assert window.width == pytest.approx(0.0, abs=1e-6)


def test_without_lithium_nothing_can_be_released():
    energies = table({"Li2O": -6.0, "SiO2": -9.0, "Li2SiO3": -16.4})
    window = stability_window("SiO2", energies)
    assert window.oxidation == math.inf
    # 3 SiO2 + 4 Li -> 2 Li2SiO3 + Si
    assert window.reduction == pytest.approx((2 * 16.4 - 27.0) / 4)
    assert window.oxidised_to is None


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-4, 0.3), min_size=5, max_size=5), st.floats(-3, 3))
def test_limits_are_transitions_of_the_phase_diagram_and_ignore_the_zero_of_lithium(values, metal):
    names = ("Li3PO4", "Li2O", "Li3P", "P2O5", "Li4P2O7")
    depths = dict(zip(names, values, strict=True))
    formation = {name: e * Composition(name).num_atoms / 2 for name, e in depths.items()}
    window = stability_window("Li3PO4", table(formation))
    diagram = PhaseDiagram(list(table(formation).entries))
    transitions = [-mu for mu in diagram.get_transition_chempots(Element("Li"))]
    assert window.reduction is not None
    assert window.oxidation is not None
    assert window.reduction <= window.oxidation + 1e-6
    for limit in (window.reduction, window.oxidation):
        if limit > 1e-6:
            assert min(abs(limit - volts) for volts in transitions) < 1e-5
    shifted = stability_window("Li3PO4", table(formation, metal=metal))
    assert shifted.reduction == pytest.approx(window.reduction, abs=1e-5)
    assert shifted.oxidation == pytest.approx(window.oxidation, abs=1e-5)


# Zhu, He and Mo (2015); Richards et al. (2016).
PUBLISHED_MEASURED = [
    ("Li2S", 0.0, 2.01),
    ("Li2O", 0.0, 2.9),
    ("Li3N", 0.0, 0.44),
    ("Li2SiO3", 0.76, 3.74),
]


def test_computed_energies_give_the_published_window_of_the_phosphate():
    window = stability_window("Li3PO4", computed_energies())
    assert window.reduction == pytest.approx(0.69, abs=0.05)
    assert window.oxidation == pytest.approx(4.21, abs=0.05)
    assert window.reduced_to == "Li3PO4 + 8 Li -> 4 Li2O + Li3P"


@pytest.mark.parametrize(("formula", "low", "high"), PUBLISHED_MEASURED)
def test_measured_energies_give_published_windows(formula, low, high):
    window = stability_window(formula, measured_energies())
    assert window.reduction == pytest.approx(low, abs=0.3)
    assert window.oxidation == pytest.approx(high, abs=0.3)


@pytest.mark.parametrize(
    "name", ["Li2S", "Li3PS4", "LGPS", "Li4GeS4", "Li6PS5Cl", "LLZO", "Li3PO4", "LiNbO3", "Li2O"]
)
def test_potential_energies_give_published_windows(name):
    published = {window.name: window for window in published_windows()}[name]
    window = stability_window(published.formula, potential_energies())
    assert window.reduction == pytest.approx(published.reduction, abs=0.3)
    assert window.oxidation == pytest.approx(published.oxidation, abs=0.3)


def test_measured_and_computed_energies_agree_on_the_oxidation_of_the_phosphates():
    for formula in ("Li2O", "Li3PO4", "Li4P2O7", "LiPO3"):
        measured, computed = (
            stability_window(formula, source, limits=("oxidation",)).oxidation
            for source in (measured_energies(), computed_energies())
        )
        assert measured == pytest.approx(computed, abs=0.15), formula


def test_decomposition_voltages_of_the_halides_are_their_gibbs_energies():
    # NIST-JANAF tables, kJ/mol.
    for formula, gibbs in (("LiF", 588.7), ("LiCl", 384.0), ("LiI", 269.7)):
        window = stability_window(formula, measured_energies())
        assert window.oxidation == pytest.approx(gibbs / KJ_PER_EV, abs=0.005)


def test_measured_table_is_sound():
    rows = measured_table()
    assert len(rows) > 900
    assert len({row.formula for row in rows}) == len(rows)
    for row in rows:
        composition = Composition(row.formula)
        assert composition.reduced_formula in (row.formula, f"{row.formula}4"), row
        assert -6.5 < row.gibbs / KJ_PER_EV / composition.num_atoms < 3.5, row
        assert row.citation, row
        assert row.source, row
    values = {row.formula: row.gibbs for row in rows}
    # CODATA key values and the NBS tables, kJ/mol.
    for formula, gibbs in {"Al2O3": -1582.3, "SiO2": -856.3, "CO2": -394.4, "LiH": -68.3}.items():
        assert values[formula] == pytest.approx(gibbs, abs=1.0), formula
    assert values["Li3Sb"] == pytest.approx(-KJ_PER_EV * (2 * 0.910 + 0.875), abs=0.1)


@pytest.mark.parametrize(
    ("formula", "limit", "lacks"),
    [
        ("Li3PS4", "oxidation", "the energy of Li3PS4 itself"),
        ("Li3PO4", "reduction", "any Li-P compound"),
        ("LiBO2", "reduction", "any B-Li compound"),
        ("Li7La3Zr2O12", "oxidation", "any compound of Li, La and O"),
        ("LiPu", "oxidation", "the element Pu"),
    ],
)
def test_chemistry_that_can_not_be_bounded_is_refused_by_name(formula, limit, lacks):
    with pytest.raises(MfalError) as error:
        stability_window(formula, measured_energies(), limits=(limit,))
    assert lacks in error.value.what
    assert formula in error.value.what
    assert "Materials Project" in error.value.remedy


def test_one_limit_may_be_bounded_without_the_other():
    window = stability_window("Li3PO4", measured_energies(), limits=("oxidation",))
    assert window.oxidation == pytest.approx(4.21, abs=0.3)
    assert window.reduction is None
    assert math.isnan(window.width)


def test_missing_competitors_would_widen_the_window_and_are_noticed():
    full = computed_energies()
    entries = tuple(
        entry
        for entry in full.entries
        if {element.symbol for element in entry.composition.elements} != {"Li", "P"}
    )
    wrong = stability_window("Li3PO4", full._replace(entries=entries))
    right = stability_window("Li3PO4", full)
    assert wrong.reduction < right.reduction - 0.1
    with pytest.raises(MfalError, match="any Li-P compound"):
        stability_window("Li3PO4", Energies(entries, "thinned", exhaustive=False))


def test_candidate_of_another_compound_is_refused():
    with pytest.raises(MfalError, match="the energy given is of LiCl"):
        stability_window("Li2S", table({"Li2S": -4.2}), candidate=ComputedEntry("LiCl", -4.0))


def test_first_source_that_can_bound_a_window_gives_all_of_it():
    sources = embedded_energies()
    assert first_bounded_window("Li2S", sources).source == sources[0].source
    phosphate = first_bounded_window("Li3PO4", sources)
    assert phosphate.source == sources[1].source
    assert phosphate.reduction == pytest.approx(0.69, abs=0.05)
    with pytest.raises(MfalError, match="measured Gibbs energies"):
        first_bounded_window("LiPu", sources)
    with pytest.raises(MfalError, match="no source"):
        first_bounded_window("Li2S", [])


def test_a_stable_compound_widens_the_window_of_what_it_is_made_of():
    """Compounds left out of a table: theirs is the wider window, or the same."""
    energies = potential_energies()
    narrower = 0
    for formula in ("Li3PS4", "LiNbO3", "Li3PO4", "Li6PS5Cl", "Li2GeS3", "Li2ZrO3"):
        others = tuple(e for e in energies.entries if e.composition.reduced_formula != formula)
        whole = stability_window(formula, energies)
        without = equilibrium_window(formula, energies._replace(entries=others))
        assert math.isnan(without.hull_distance)
        assert without.reduction >= whole.reduction - 1e-6
        assert without.oxidation <= whole.oxidation + 1e-6
        narrower += without.width < whole.width - 1e-3
        if whole.hull_distance > 0:
            assert without[1:3] == pytest.approx(whole[1:3], abs=1e-6)
    assert narrower >= 2


def test_an_equilibrium_needs_the_competing_phases_all_the_same():
    with pytest.raises(MfalError, match="any Ge-Li compound"):
        equilibrium_window("Li5GeN3", measured_energies(), limits=("reduction",))
    window = first_bounded_window("Li3ClO", (measured_energies(),), itself=False)
    assert set(window.decomposition) == {"Li2O", "LiCl"}
    with pytest.raises(MfalError, match="the energy of Li3ClO itself"):
        first_bounded_window("Li3ClO", (measured_energies(),))


def test_formula_that_is_none_is_refused():
    with pytest.raises(MfalError, match="not a formula"):
        stability_window("Li2Qq", measured_energies())


def antifluorite(anion: str, a: float) -> Structure:
    sites = [[0.25, 0.25, 0.25], [0, 0, 0]]
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), ["Li", anion], sites)


def test_oracle_answers_and_fails_like_an_oracle():
    oracle = stability_oracle(measured_energies(), fidelity=1, cost=0.2)
    good, bad = oracle.evaluate([antifluorite("S", 5.71), antifluorite("Po", 6.4)])
    assert good.ok
    assert good.value == pytest.approx(2.27, abs=0.01)
    assert good.provenance["oxidised_to"] == "Li2S -> S + 2 Li"
    json.dumps(good.provenance)
    assert not bad.ok
    assert math.isnan(bad.value)
    assert "the element Po" in bad.status
    assert (oracle.unit, oracle.fidelity, oracle.cost) == ("V", 1, 0.2)


def test_oracle_asks_its_sources_in_turn():
    oracle = stability_oracle(embedded_energies(), quantity="oxidation")
    sulfide = Structure(Lattice.cubic(6.0), ["Li"] * 3 + ["P"] + ["S"] * 4, np.eye(8)[:, :3])
    (answer,) = oracle.evaluate([sulfide])
    assert answer.provenance["source"] == "CHGNet 0.3.0"
    assert answer.value == pytest.approx(2.31, abs=0.3)
    with pytest.raises(MfalError, match="competitors of one source"):
        stability_oracle(embedded_energies(), entry_of=lambda _: ComputedEntry("Li", 0.0))


def test_oracle_takes_the_energy_of_the_structure_itself():
    def deeper(structure: Structure) -> ComputedEntry:
        return ComputedEntry(structure.composition, -4.6 * structure.composition["S"])

    oracle = stability_oracle(table({"Li2S": -4.2}), quantity="oxidation", entry_of=deeper)
    (answer,) = oracle.evaluate([antifluorite("S", 5.71)])
    assert answer.value == pytest.approx(2.3)


def test_hull_distance_as_an_oracle_tells_the_window_too():
    def shallower(structure: Structure) -> ComputedEntry:
        return ComputedEntry(structure.composition, -3.9 * structure.composition["S"])

    oracle = stability_oracle(table({"Li2S": -4.2}), quantity="hull_distance", entry_of=shallower)
    (answer,) = oracle.evaluate([antifluorite("S", 5.71)])
    assert answer.value == pytest.approx(0.1)
    assert answer.provenance["oxidation"] == pytest.approx(2.1)
    assert (oracle.name, oracle.unit, oracle.higher_is_better) == (
        "hull_distance",
        "eV/atom",
        False,
    )
