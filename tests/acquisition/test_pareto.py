import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfal.acquisition.pareto import pareto_front, pareto_ranks


def by_definition(points):
    return [
        not any(
            all(a >= b for a, b in zip(other, point, strict=True)) and tuple(other) != tuple(point)
            for other in points
        )
        for point in points
    ]


@given(
    st.lists(st.tuples(*[st.integers(-3, 3)] * 3), max_size=25),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_front_is_the_definition_for_all_directions(points, maximise):
    values = np.array(points, dtype=float).reshape(-1, 3)
    signed = np.where(maximise, values, -values)
    assert pareto_front(values, maximise=maximise).tolist() == by_definition(signed.tolist())


def test_equal_points_do_not_beat_each_other():
    assert pareto_front([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0]]).tolist() == [True, True, False]


def test_constraints_and_missing_values_are_left_out():
    values = [[9.0, 9.0], [1.0, np.nan], [1.0, 2.0], [0.0, 1.0]]
    feasible = [False, True, True, True]
    assert pareto_front(values, feasible=feasible).tolist() == [False, False, True, False]
    assert pareto_ranks(values, feasible=feasible).tolist() == [-1, -1, 0, 1]


def test_infinite_window_is_a_value():
    assert pareto_front([[1.0, np.inf], [2.0, 1.0], [0.5, np.inf]]).tolist() == [True, True, False]


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=1, max_size=20))
def test_ranks_peel_fronts(points):
    values = np.array(points, dtype=float)
    ranks = pareto_ranks(values)
    assert (ranks == 0).tolist() == pareto_front(values).tolist()
    for rank in range(1, ranks.max() + 1):
        rest = values[ranks >= rank]
        assert pareto_front(rest).tolist() == (ranks[ranks >= rank] == rank).tolist()


def test_no_points_have_no_front():
    assert pareto_front(np.zeros((0, 2))).shape == (0,)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="two axes"):
        pareto_front([1.0, 2.0])
