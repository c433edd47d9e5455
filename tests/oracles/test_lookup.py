"""Labels looked up: recognised crystals, censored values, nothing given away."""

import math
import pickle

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from mfal.data import CONDUCTIVITY, Label, MaterialTable, load_embedded, load_obelix, load_set41
from mfal.errors import MfalError
from mfal.oracles.lookup import hide_labels, lookup_oracle, with_material
from tests.shared_data import shared_data


def labelled() -> MaterialTable:
    table = load_embedded()
    return table.select(np.array([bool(labels) for labels in table.labels]))


def test_every_labelled_crystal_is_recognised_and_answered() -> None:
    table = labelled()
    oracle = lookup_oracle(table, fidelity=2, cost=3.0)
    assert (oracle.unit, oracle.fidelity, oracle.cost) == ("log10 S/cm", 2, 3.0)
    structures = [structure.copy() for structure in table.structures()]
    answers = oracle.evaluate(structures)
    for row, answer in zip(table, answers, strict=True):
        assert answer.ok, (row.id, answer.status)
        exact = [math.log10(x.value) for x in row.labels if x.censoring == "exact"]
        if answer.provenance["material"] == row.id and exact:
            assert answer.value == pytest.approx(np.median(exact))
            assert oracle.bounds[0] <= answer.value <= oracle.bounds[1]
    own = [a.provenance["material"] == row.id for a, row in zip(answers, table, strict=True)]
    assert np.mean(own) > 0.9  # some rows are one crystal measured twice


def test_a_crystal_is_recognised_in_another_cell() -> None:
    table = labelled()
    row = table.ids.index("obelix-9lo")
    structure = table.structure(row)
    assert structure is not None
    moved = structure.remove_oxidation_states() * (1, 2, 1)
    moved.translate_sites(list(range(len(moved))), [0.1, 0.2, 0.3])
    answer = lookup_oracle(table).evaluate([moved])[0]
    assert answer.ok
    assert answer.value == pytest.approx(math.log10(1.75e-13))


def rock_salt(a: float, anion: str = "Br-") -> Structure:
    """Primitive cell, with charges, which would take long to find."""
    lattice = Lattice([[0, a / 2, a / 2], [a / 2, 0, a / 2], [a / 2, a / 2, 0]])
    return Structure(lattice, ["Li+", anion], [[0, 0, 0], [0.5, 0.5, 0.5]])


def made_up(*labels: Label) -> MaterialTable:
    from mfal.data.rows import material_from_structure

    row = material_from_structure("x", rock_salt(5.5), labels=labels)
    return MaterialTable.from_rows([row, material_from_structure("y", rock_salt(6.5))])


def ask(table: MaterialTable, structure: Structure, quantity: str = CONDUCTIVITY) -> object:
    return lookup_oracle(table, quantity).evaluate([structure])[0]


def sigma(value: float, censoring: str = "exact", upper: float = math.nan) -> Label:
    return Label(CONDUCTIVITY, value, "S/cm", censoring, upper, "paper")


def test_repeated_censored_and_interval_labels() -> None:
    crystal = rock_salt(5.5)
    answer = ask(made_up(sigma(1e-3), sigma(1e-5), sigma(1e-10, "below")), crystal)
    assert answer.value == pytest.approx(-4)
    assert answer.uncertainty == pytest.approx(math.sqrt(2))  # of -3 and -5
    answer = ask(made_up(sigma(1e-10, "below")), crystal)
    assert (answer.value, answer.provenance["censoring"]) == (-10, "below")
    answer = ask(made_up(sigma(1e-6, "interval", 1e-4)), crystal)
    assert answer.value == pytest.approx(-5)
    assert answer.uncertainty == pytest.approx(1)
    answer = ask(made_up(Label("barrier", 0.3, "eV")), crystal, "barrier")
    assert answer.value == 0.3
    assert answer.provenance["sources"] == []


def test_unknown_crystals_fail_and_say_why() -> None:
    table = made_up(sigma(1e-3))
    oracle = lookup_oracle(table)
    foreign = rock_salt(5.5, "Cl-")
    other, bare, wide, named = oracle.evaluate(
        [foreign, rock_salt(6.5), rock_salt(5.9), with_material(rock_salt(5.5), "z")]
    )
    assert other.status.startswith("failed: LiCl is not in the table")
    assert bare.status.startswith("failed: y has no ionic_conductivity")
    assert wide.status.startswith("failed: LiBr is not in the table")
    assert named.status.startswith("failed: LiBr is not in the table")
    assert all(math.isnan(answer.value) for answer in (other, bare, wide, named))
    # the id decides where it is given
    assert oracle.evaluate([with_material(foreign, "x")])[0].value == -3


def test_nothing_is_given_away_unasked() -> None:
    """Neither the hidden table nor the oracle's own fields hold a label."""
    secret = 1.2345e-3
    table = made_up(sigma(secret))
    hidden = hide_labels(table)
    assert hidden.labels == ((), ())
    assert (hidden.label_arrays().censoring == -1).all()
    oracle = lookup_oracle(table)
    shown = repr(oracle._replace(evaluate=len)) + repr([*hidden])
    for trace in (f"{secret}", f"{math.log10(secret)}"[:7], "paper"):
        assert trace not in shown
    assert pickle.loads(pickle.dumps(hidden)).ids == table.ids
    # a failed answer tells nothing either
    assert str(oracle.evaluate([rock_salt(6.5)])[0].provenance) == "{}"


def test_hiding_one_quantity_keeps_the_others() -> None:
    both = made_up(sigma(1e-3), Label("barrier", 0.3, "eV"))
    assert [x.quantity for x in hide_labels(both, [CONDUCTIVITY]).labels[0]] == ["barrier"]
    noted = load_obelix(shared_data("obelix"))
    assert any("note" in details for details in noted.details)
    assert not any("note" in details for details in hide_labels(noted).details)


def test_version_follows_the_labels() -> None:
    versions = {
        lookup_oracle(made_up(sigma(x))).version for x in (1e-3, 1e-3 * (1 + 1e-12), 2e-3, 1e-3)
    }
    assert len(versions) == 3


def test_no_numbers_to_answer_with() -> None:
    with pytest.raises(MfalError, match="choose among ionic_conductivity"):
        lookup_oracle(labelled(), "barrier")
    with pytest.raises(MfalError, match="it has no labels"):
        lookup_oracle(made_up())
    with pytest.raises(MfalError, match="no numbers of one unit"):
        lookup_oracle(made_up(Label("kind", 1, "0 slow, 1 fast", "class")), "kind")
    assert lookup_oracle(load_set41(), "md_conductivity").unit == "log10 S/cm"


def test_obelix_is_answered_by_id() -> None:
    table = load_obelix(shared_data("obelix"))
    oracle = lookup_oracle(table, name="experiment")
    structure = rock_salt(5.0)
    row = table.row(table.index("obelix-47i"))
    answer = oracle.evaluate([with_material(structure, row.id)])[0]
    assert (answer.value, answer.provenance["censoring"]) == (-10, "below")
