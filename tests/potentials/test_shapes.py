from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mfal.potentials.neighbours import Sizes
from mfal.potentials.shapes import PaddedShape, grouped, rung

crystals = st.lists(
    st.tuples(
        st.integers(1, 60),
        st.builds(Sizes, *[st.integers(1, most) for most in (300, 2000, 200, 6000, 40)]),
    ),
    max_size=12,
)
LADDER = (
    PaddedShape(24, Sizes(96, 672, 64, 240, 8)),
    PaddedShape(24, Sizes(240, 1920, 192, 3456, 24)),
)


def split(rows, shapes=()):
    atoms = {number: count for number, (count, _) in enumerate(rows)}
    sizes = {number: size for number, (_, size) in enumerate(rows)}
    return list(grouped(atoms, sizes, shapes))


def test_rungs_rise_by_no_more_than_a_half():
    rungs = sorted({rung(size) for size in range(1, 5000)})
    assert all(b <= 1.5 * a for a, b in pairwise(rungs[1:]))
    assert all(rung(size) >= size and rung(rung(size)) == rung(size) for size in range(1, 300))


@given(crystals)
def test_each_crystal_has_room_in_the_shape_of_its_group(rows):
    groups = split(rows, LADDER)
    assert sorted(n for numbers, _ in groups for n in numbers) == list(range(len(rows)))
    for numbers, shape in groups:
        for number in numbers:
            count, sizes = rows[number]
            assert count <= shape.atoms
            assert all(a + a // 8 <= b for a, b in zip(sizes, shape.sizes, strict=True))


def test_shapes_given_are_taken_first_and_the_smallest_that_fits():
    small, large = Sizes(80, 500, 50, 200, 6), Sizes(200, 1000, 100, 1500, 20)
    groups = {shape: numbers for numbers, shape in split([(20, small), (20, large)], LADDER)}
    assert groups == {LADDER[0]: [0], LADDER[1]: [1]}


def test_programs_are_as_many_as_pay():
    light, heavy = Sizes(24, 300, 40, 60, 3), Sizes(150, 1000, 160, 3000, 22)
    assert len(split([(16, light)] * 3 + [(16, Sizes(26, 310, 40, 70, 3))])) == 1
    # Twenty light crystals padded to one heavy one would wait for longer than compilation takes.
    assert len(split([(16, light)] * 20 + [(16, heavy)])) == 2
    assert len(split([(16, light), (16, heavy)])) == 1
