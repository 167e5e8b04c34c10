"""Which number a session gets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from masking.domain.numbers import PoolNumber, candidates
from tests.domain.conversation import at

pools = st.lists(
    st.builds(
        PoolNumber,
        number=st.integers(0, 99).map(lambda n: f"+120255501{n:02}"),
        country=st.sampled_from(["US", "IN"]),
        rank=st.integers(0, 1000),
        last_used=st.none() | st.integers(-1000, 1000).map(at),
        rests=st.booleans(),
    ),
    unique_by=lambda number: number.number,
)


@given(pools)
def test_no_candidate_rests_and_none_is_forgotten(pool: list[PoolNumber]) -> None:
    assert set(candidates(pool)) == {number for number in pool if not number.rests}


@given(pools)
def test_what_neither_ever_used_comes_first_by_rank_then_the_longest_unused(pool: list[PoolNumber]) -> None:
    found = candidates(pool)

    unused = [number for number in found if number.last_used is None]
    again = [number.last_used for number in found if number.last_used is not None]
    assert found[: len(unused)] == unused
    assert [number.rank for number in unused] == sorted(number.rank for number in unused)
    assert again == sorted(again)
