"""The development split: the same everywhere, and never through a group."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunegate_trainer.data.splitting import split

groups = st.lists(st.integers(0, 30).map(str), max_size=200)


@given(groups, st.floats(0, 0.9), st.integers(0, 100))
def test_every_row_is_on_one_side_and_no_group_on_two(names: list[str], fraction: float, seed: int) -> None:
    parts = split(names, fraction, seed)

    assert sorted(parts.training + parts.development) == list(range(len(names)))
    assert not {names[index] for index in parts.training} & {names[index] for index in parts.development}


@given(groups, st.floats(0.01, 0.9), st.integers(0, 100))
def test_with_two_groups_both_sides_have_rows(names: list[str], fraction: float, seed: int) -> None:
    parts = split(names, fraction, seed)

    if len(set(names)) > 1:
        assert parts.training
        assert parts.development


@given(groups, st.integers(0, 100))
def test_fraction_zero_keeps_every_row_for_training(names: list[str], seed: int) -> None:
    assert split(names, 0, seed).development == ()


def test_another_order_moves_no_group() -> None:
    names = [f"doc-{number}" for number in range(50)]
    backwards = names[::-1]

    assert {names[i] for i in split(names, 0.2, 17).development} == {
        backwards[i] for i in split(backwards, 0.2, 17).development
    }


def test_another_seed_is_another_split() -> None:
    names = [f"doc-{number}" for number in range(50)]

    assert split(names, 0.2, 1) != split(names, 0.2, 2)


def test_the_share_is_what_was_asked() -> None:
    names = [f"doc-{number}" for number in range(200)]

    assert len(split(names, 0.2, 17).development) == 40
