import math
import sys

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from mfal.errors import MfalError
from mfal.oracles.stability.potential_energy import (
    RelaxationConfig,
    energies_from_calculator,
    entry_from_calculator,
    formation_energy_oracle,
    load_calculator,
    reference_energies,
    relax_with,
)
from mfal.oracles.stability.window import stability_oracle, stability_window

pytest.importorskip("ase")

AS_IT_STANDS = RelaxationConfig(max_steps=0)


def fcc(symbol: str, a: float) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [symbol], [[0, 0, 0]])


def ordered_alloy(a: float = 3.75) -> Structure:
    sites = [[0, 0, 0], [0.5, 0.5, 0]]
    return Structure.from_spacegroup("Pm-3m", Lattice.cubic(a), ["Au", "Cu"], sites)


def tabulated(energies, fail=()):
    """An ASE calculator whose energies are known by hand: so much for each atom of a compound."""
    from ase.calculators.calculator import Calculator, all_changes

    class Table(Calculator):
        implemented_properties = ("energy", "forces", "stress")

        def calculate(self, atoms=None, properties=("energy",), changes=all_changes):
            super().calculate(atoms, properties, changes)
            symbols = self.atoms.get_chemical_symbols()
            if set(symbols) & set(fail):
                raise RuntimeError("unknown\nelement")
            self.results = {
                "energy": sum(energies[frozenset(symbols)][s] for s in symbols),
                "forces": np.zeros((len(symbols), 3)),
                "stress": np.zeros(6),
            }

    return Table()


LITHIUM_SULFIDE = {
    frozenset({"Li"}): {"Li": -1.9},
    frozenset({"S"}): {"S": -4.1},
    frozenset({"Li", "S"}): {"Li": -2.5, "S": -7.1},
}


def antifluorite() -> Structure:
    sites = [[0.25, 0.25, 0.25], [0, 0, 0]]
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.71), ["Li", "S"], sites)


def test_relaxation_finds_the_equilibrium_of_copper():
    # Jacobsen, Stoltze and Norskov's potential is fitted to copper at a = 3.61 Å.
    relaxed = relax_with(fcc("Cu", 3.9), load_calculator("emt"))
    assert relaxed.converged
    assert relaxed.structure.volume ** (1 / 3) == pytest.approx(3.6, abs=0.03)
    assert relaxed.energy < relax_with(fcc("Cu", 3.9), load_calculator("emt"), AS_IT_STANDS).energy


def test_fixed_cell_stays():
    relaxed = relax_with(fcc("Cu", 3.9), load_calculator("emt"), RelaxationConfig(cell=False))
    assert relaxed.structure.volume == pytest.approx(3.9**3)


def test_formation_energy_is_per_atom_from_the_calculators_own_elements():
    calculator = load_calculator("emt")
    elements = energies_from_calculator([fcc("Cu", 3.61), fcc("Au", 4.08)], calculator)
    references = reference_energies(elements)
    oracle = formation_energy_oracle(calculator, references)
    pure, alloy = oracle.evaluate([fcc("Cu", 3.7), ordered_alloy()])
    assert pure.value == pytest.approx(0.0, abs=1e-3)
    # Copper and gold order, in EMT weakly (measured: -0.07 eV per atom).
    assert -0.08 < alloy.value < -0.005
    assert alloy.provenance["converged"]
    assert not oracle.higher_is_better


def test_formation_energy_by_hand():
    calculator = tabulated(LITHIUM_SULFIDE)
    oracle = formation_energy_oracle(calculator, {"Li": -1.9, "S": -4.1}, config=AS_IT_STANDS)
    (answer,) = oracle.evaluate([antifluorite()])
    assert answer.value == pytest.approx((2 * -0.6 - 3.0) / 3)


def test_window_from_one_calculator_for_all_phases():
    calculator = tabulated(LITHIUM_SULFIDE)
    metal = Structure(Lattice.cubic(3.5), ["Li", "Li"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    sulfur = Structure(Lattice.cubic(4.0), ["S"], [[0, 0, 0]])
    table = energies_from_calculator([metal, sulfur, antifluorite()], calculator, AS_IT_STANDS)
    window = stability_window("Li2S", table)
    assert window.oxidation == pytest.approx((2 * 0.6 + 3.0) / 2)
    elements_only = energies_from_calculator([metal, sulfur], calculator, AS_IT_STANDS)
    oracle = stability_oracle(
        elements_only,
        entry_of=lambda structure: entry_from_calculator(structure, calculator, AS_IT_STANDS),
    )
    (answer,) = oracle.evaluate([antifluorite()])
    assert answer.value == pytest.approx(2.1)


def test_reference_is_the_most_stable_form():
    calculator = load_calculator("emt")
    good, stretched = fcc("Cu", 3.61), fcc("Cu", 4.2)
    table = energies_from_calculator([stretched, good], calculator, AS_IT_STANDS)
    assert reference_energies(table)["Cu"] == table.entries[1].energy_per_atom


@pytest.mark.parametrize(
    ("structure", "says"),
    [
        (Structure(Lattice.cubic(4), [{"Cu": 0.5}], [[0, 0, 0]]), "partial occupancies"),
        (fcc("Xe", 6.0), "no energy of the element Xe by EMT"),
    ],
)
def test_failures_are_observations(structure, says):
    oracle = formation_energy_oracle(load_calculator("emt"), {"Cu": -0.006})
    (answer,) = oracle.evaluate([structure])
    assert not answer.ok
    assert math.isnan(answer.value)
    assert says in answer.status
    assert "\n" not in answer.status


def test_calculator_that_raises_is_named_in_one_line():
    calculator = tabulated({}, fail=("Cu",))
    with pytest.raises(MfalError, match=r"Cu: Table failed \(unknown element\)"):
        relax_with(fcc("Cu", 3.6), calculator, AS_IT_STANDS)


def test_collapsed_structures_are_refused():
    near = Structure(Lattice.cubic(4), ["Cu", "Cu"], [[0, 0, 0], [0.05, 0, 0]])
    with pytest.raises(MfalError, match="Cu: collapsed under EMT"):
        relax_with(near, load_calculator("emt"), AS_IT_STANDS)


def test_unfinished_relaxation_is_no_entry():
    shaken = ordered_alloy(4.2)
    shaken.perturb(0.1, seed=1)
    with pytest.raises(MfalError, match=r"forces of \d+\.\d\d eV/Å are left after 1 steps"):
        entry_from_calculator(shaken, load_calculator("emt"), RelaxationConfig(max_steps=1))


def test_unknown_and_absent_calculators_are_named(monkeypatch):
    with pytest.raises(MfalError, match="dft: no such calculator; use one of chgnet"):
        load_calculator("dft")
    monkeypatch.setitem(sys.modules, "chgnet", None)
    with pytest.raises(MfalError, match=r"pip install 'mfal\[mlip\]'"):
        load_calculator("chgnet")


@pytest.mark.slow
def test_chgnet_prefers_the_antifluorite():
    pytest.importorskip("chgnet")
    calculator = load_calculator("chgnet")
    relaxed = relax_with(antifluorite(), calculator)
    assert relaxed.structure.volume ** (1 / 3) == pytest.approx(5.71, rel=0.02)
