"""The development split: the same everywhere, and never through a group."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunegate_trainer.data.splitting import group_key, in_development

groups = st.lists(st.integers(0, 30).map(str), max_size=200)


def development(names: list[str], fraction: float, seed: int = 17) -> list[bool]:
    aside = in_development([group_key(name, seed) for name in names], fraction)
    return [bool(each) for each in aside]


@given(groups, st.floats(0, 0.9), st.integers(0, 100))
def test_every_row_is_on_one_side_and_no_group_on_two(names: list[str], fraction: float, seed: int) -> None:
    sides = development(names, fraction, seed)

    assert len(sides) == len(names)
    assert len(set(zip(names, sides, strict=True))) == len(set(names))


@given(groups, st.floats(0.01, 0.9), st.integers(0, 100))
def test_with_two_groups_both_sides_have_rows(names: list[str], fraction: float, seed: int) -> None:
    if len(set(names)) > 1:
        assert set(development(names, fraction, seed)) == {True, False}


@given(groups, st.integers(0, 100))
def test_fraction_zero_keeps_every_row_for_training(names: list[str], seed: int) -> None:
    assert not any(development(names, 0, seed))


def test_another_order_moves_no_group() -> None:
    names = [f"doc-{number}" for number in range(50)]

    assert development(names[::-1], 0.2) == development(names, 0.2)[::-1]


def test_any_name_has_a_place() -> None:
    assert group_key("\ud800", 1) != group_key("\ud801", 1)


def test_another_seed_is_another_split() -> None:
    names = [f"doc-{number}" for number in range(50)]

    assert development(names, 0.2, 1) != development(names, 0.2, 2)


def test_the_share_is_what_was_asked() -> None:
    names = [f"doc-{number}" for number in range(200)]

    assert sum(development(names, 0.2)) == 40
