import numpy as np
import pytest

from forewarn.core.readings import SeriesKey
from forewarn.core.slots import Column, Registry, Table

COLUMNS = {"n": Column(np.int64), "at": Column(np.float64, (), np.nan), "window": Column(np.float32, (2, 3), 7.0)}


def test_a_row_starts_with_what_its_column_holds_and_can_be_made_so_again() -> None:
    table = Table(COLUMNS, rows=4)
    table["n"][2], table["at"][2], table["window"][2] = 5, 1.0, 0.0
    table.reset(np.array([2, 1]))
    assert (table["n"][2], table["window"][2].tolist()) == (0, [[7.0] * 3] * 2)
    assert np.isnan(table["at"][2])


def test_growing_keeps_what_there_is_and_never_shrinks() -> None:
    table = Table(COLUMNS, rows=2)
    table["n"][:] = [3, 4]
    table.grow(5)
    table.grow(1)
    assert table.rows == 5
    assert table["n"].tolist() == [3, 4, 0, 0, 0]
    assert table["window"].shape == (5, 2, 3)


def test_two_parts_cannot_have_one_column() -> None:
    with pytest.raises(ValueError, match="stand for two things"):
        Table(COLUMNS, {"n": Column(np.bool_)})


def test_a_dump_is_a_copy_that_another_table_can_take() -> None:
    table = Table(COLUMNS, rows=4)
    table["n"][:] = [1, 2, 3, 4]
    dumped = table.dump(np.arange(3))
    table["n"][:] = 0
    other = Table(COLUMNS, rows=3)
    other.load(dumped, np.arange(3))
    assert other["n"].tolist() == [1, 2, 3]
    other["n"][0] = 9
    assert dumped["n"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_another_type_or_shape_are_refused_and_change_nothing(name: str) -> None:
    table = Table(COLUMNS, rows=3)
    table["n"][:] = [8, 9, 7]
    good = Table(COLUMNS, rows=3).dump(np.arange(3))
    for bad in (good[name].astype(np.complex128), good[name][:2], good[name][..., None]):
        with pytest.raises(ValueError, match=f"column {name} has another type or shape"):
            table.load({**good, name: bad}, np.arange(3))
    assert (table.rows, table["n"].tolist()) == (3, [8, 9, 7])


def test_a_column_that_the_dump_has_not_stays_fresh_and_one_that_the_table_has_not_is_passed_over() -> None:
    table = Table(COLUMNS, rows=2)
    table["n"][:] = [8, 9]
    dumped = {name: array for name, array in table.dump(np.arange(2)).items() if name != "at"} | {"gone": np.zeros(2)}
    other = Table(COLUMNS, rows=1)
    other["at"][:] = 5.0
    other.clear(2)
    other.load(dumped, np.arange(2))
    assert (other.rows, other["n"].tolist()) == (2, [8, 9])
    assert np.isnan(other["at"]).all()


def test_a_registry_gives_slots_in_turn_and_a_slot_to_another_series() -> None:
    a, b, c = (SeriesKey(name, "t") for name in "abc")
    registry = Registry(cap=2)
    assert (registry.add(a), registry.full, registry.add(b), registry.full) == (0, False, 1, True)
    assert registry.replace(0, c) == a
    assert registry.keys == [c, b]
    assert registry.slots == {c: 0, b: 1}
