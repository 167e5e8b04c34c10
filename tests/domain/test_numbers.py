"""Which number a session gets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from masking.domain.pool.choice import LastHold, PoolNumber, candidates, may_meet_again
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


people = st.sampled_from(["courier", "Ada", "Ben", "Cleo"])
pairs = st.lists(people, min_size=2, max_size=2, unique=True).map(tuple)


@given(st.lists(pairs, max_size=6))
def test_two_meet_again_only_on_a_number_where_each_met_the_other_last(met: list[tuple[str, ...]]) -> None:
    asking = ("courier", "Ada")
    last = {person: LastHold(str(n), over=True, left=False) for n, pair in enumerate(met) for person in pair}
    holds = [last[person] for person in asking if person in last]

    theirs = [set(pair) for pair in met if set(pair) & set(asking)]
    assert may_meet_again(holds, 2) == (not theirs or theirs[-1] == set(asking))


@given(st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_nobody_has_a_number_back_that_a_session_holds_or_that_somebody_took_over(
    over: bool, left: bool, other_over: bool, other_left: bool
) -> None:
    holds = [LastHold("s", over, left), LastHold("s", other_over, other_left)]
    assert may_meet_again(holds, 2) == (over and other_over and not left and not other_left)


def test_one_who_met_somebody_unknown_there_does_not_meet_again() -> None:
    # Of a session with a single party, nobody can tell from the outside whom that one met.
    assert not may_meet_again([LastHold("s", over=True, left=False)], 1)
    assert may_meet_again([], 1)
