import numpy as np
import pytest

from mfal.errors import MfalError
from mfal.proxies.dataset import EXACT, capacity_for, make_dataset


def test_padding_keeps_rows_and_marks_the_rest():
    x = np.arange(10.0).reshape(5, 2)
    data = make_dataset(x, [0, 1, 0, 1, 0], [1, 2, 3, 4, 5], capacity=8)
    assert data.crystal.shape == (8, 2)
    assert data.valid.tolist() == [True] * 5 + [False] * 3
    np.testing.assert_array_equal(data.crystal[:5], x)
    assert data.value[:5].tolist() == [1, 2, 3, 4, 5]
    assert (data.censoring == EXACT).all()


def test_equal_crystals_share_a_material_and_a_group():
    x = np.array([[0.0, 1.0], [2.0, 3.0], [0.0, 1.0]])
    data = make_dataset(x, [0, 0, 1], [1, 2, 3], capacity=4)
    assert data.material[0] == data.material[2] != data.material[1]
    assert data.group[0] == data.group[2] != data.group[1]
    by_family = make_dataset(x, [0, 0, 1], [1, 2, 3], group=[7, 7, 9], capacity=4)
    assert by_family.group[0] == by_family.group[1] != by_family.group[2]
    assert by_family.material[0] == by_family.material[2] != by_family.material[1]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    with pytest.raises(MfalError, match="observation 1 has the value"):
        make_dataset(np.zeros((2, 1)), [0, 0], [1.0, bad])


def test_misfits_are_refused():
    with pytest.raises(MfalError, match="exceed the capacity 1"):
        make_dataset(np.zeros((2, 1)), [0, 0], [1.0, 2.0], capacity=1)
    with pytest.raises(MfalError, match="lengths"):
        make_dataset(np.zeros((3, 1)), [0, 0], [1.0, 2.0])


def test_capacities_double():
    assert [capacity_for(n) for n in (0, 1, 64, 65, 500, 513)] == [64, 64, 64, 128, 512, 1024]
