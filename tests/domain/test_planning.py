"""What a demand needs: the simulation chooses as sessions do, and the bounds hold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masking.domain.pool.choice import PoolNumber, candidates
from masking.domain.pool.planning import most_at_a_time, most_at_rest, planned
from masking.domain.pool.simulation import Demand, Level, numbers_in_use, simulated
from tests.domain.conversation import at

parties = st.sampled_from("abcdef")
graces = st.integers(0, 6)
sizes = st.integers(1, 8)
no_cooloffs = st.just(0)
any_cooloffs = st.sampled_from([0, 0, 3, 9])


def wanted(first: str, second: str, starts: int, ends: int, cooloff: int = 0) -> Demand:
    return Demand("US", first, second, at(starts), at(ends), cooloff)


@st.composite
def histories(draw: st.DrawFn, cooloffs: st.SearchStrategy[int] = no_cooloffs) -> list[Demand]:
    """Sessions by their start. Few moments and few lengths, so that ends and starts often coincide."""
    pairs = st.tuples(parties, parties).filter(lambda pair: pair[0] != pair[1])
    sessions = st.builds(
        lambda pair, starts, lasts, cooloff: wanted(pair[0], pair[1], starts, starts + lasts, cooloff),
        pairs, st.integers(0, 30), st.integers(0, 8), cooloffs,
    )  # fmt: skip
    return sorted(draw(st.lists(sessions, min_size=1, max_size=40)), key=attrgetter("starts"))


def pool_as_found(demand: Demand, before: Sequence[tuple[Demand, int]], size: int, grace: int) -> list[PoolNumber]:
    """The pool as storage would find it for this session: without the numbers that either party holds."""
    now, found = demand.starts, []
    for rank in range(size):
        on_it = [each for each, number in before if number == rank]
        theirs = [each.held_until(grace) for each in on_it if set(each.parties) & set(demand.parties)]
        rests = any(each.ends <= now < each.rests_until for each in on_it)
        if all(until <= now for until in theirs):
            found.append(PoolNumber(f"+1202555{rank:04}", "US", rank, max(theirs, default=None), rests))
    return found


@given(histories(any_cooloffs), sizes, graces)
def test_the_simulation_chooses_the_number_that_a_session_would_get(
    history: list[Demand], size: int, grace: int
) -> None:
    result = simulated(history, size, grace)

    before: list[tuple[Demand, int]] = []
    for demand, number in zip(history, result.numbers, strict=True):
        best = next(iter(candidates(pool_as_found(demand, before, size, grace))), None)
        assert number == (best.rank if best is not None else None)
        if number is not None:
            before.append((demand, number))
    assert result.refused == len(history) - len(before)


@given(histories(), graces)
def test_two_c_minus_one_numbers_refuse_none(history: list[Demand], grace: int) -> None:
    assert simulated(history, 2 * most_at_a_time(history, grace) - 1, grace).refused == 0


@given(histories(any_cooloffs), graces)
def test_as_many_more_as_can_rest_at_a_time_refuse_none_either(history: list[Demand], grace: int) -> None:
    enough = 2 * most_at_a_time(history, grace) - 1 + most_at_rest(history)
    assert simulated(history, enough, grace).refused == 0


@given(histories(any_cooloffs), graces)
def test_fewer_than_c_numbers_refuse_some(history: list[Demand], grace: int) -> None:
    assert simulated(history, most_at_a_time(history, grace) - 1, grace).refused > 0


@given(histories(any_cooloffs), sizes, graces)
def test_no_party_holds_a_number_twice(history: list[Demand], size: int, grace: int) -> None:
    result = simulated(history, size, grace)

    held: list[tuple[Demand, int | None]] = []
    for demand, number in zip(history, result.numbers, strict=True):
        for other, same in held:
            if number is not None and number == same and set(other.parties) & set(demand.parties):
                assert other.held_until(grace) <= demand.starts
        held.append((demand, number))


@given(histories(any_cooloffs), graces, st.floats(0, 0.9))
def test_what_is_needed_was_simulated_and_nothing_smaller_does(
    history: list[Demand], grace: int, refusal_rate: float
) -> None:
    told: list[int] = []
    plan = planned("US", history, grace, refusal_rate, told.append)

    refused = [simulated(history, size, grace).refused for size in range(plan.needed_for_all + 1)]
    within = [count / len(history) <= refusal_rate for count in refused]
    assert within.index(True, 1) == plan.needed
    assert refused.index(0) == plan.needed_for_all
    assert refused[plan.needed] == plan.refused
    assert plan.refusal_rate <= refusal_rate
    assert plan.needed <= plan.needed_for_all <= plan.proven
    assert plan.at_a_time <= plan.needed_for_all
    assert told[: plan.needed] == list(range(1, plan.needed + 1))


@given(histories(any_cooloffs), sizes, graces)
def test_the_numbers_in_use_are_those_that_are_held(history: list[Demand], size: int, grace: int) -> None:
    numbers = simulated(history, size, grace).numbers
    levels = numbers_in_use(history, numbers, grace)

    def held(moment: datetime) -> int:
        return len({n for demand, n in zip(history, numbers, strict=True)
                    if n is not None and demand.starts <= moment < demand.held_until(grace)})  # fmt: skip

    assert [level.numbers for level in levels] == [held(level.since) for level in levels]
    for second in range(60):
        before = [level.numbers for level in levels if level.since <= at(second)]
        assert held(at(second)) == (before[-1] if before else 0)


def test_a_number_is_free_in_the_second_in_which_its_hold_ends() -> None:
    grace = 30
    in_time = [wanted("a", "b", 0, 70), wanted("a", "c", 100, 200)]
    too_soon = [wanted("a", "b", 0, 70), wanted("a", "c", 99, 200)]

    assert simulated(in_time, 1, grace).numbers == (0, 0)
    assert simulated(too_soon, 1, grace).numbers == (0, None)
    assert (most_at_a_time(in_time, grace), most_at_a_time(too_soon, grace)) == (1, 2)


def test_a_resting_number_is_nobodys_from_its_sessions_end_to_the_second_in_which_the_cooloff_ends() -> None:
    def second(starts: int) -> int | None:
        history = [wanted("a", "b", 0, 70, cooloff=20), wanted("c", "d", starts, 200)]
        return simulated(history, 1, grace=0).numbers[1]

    assert [second(starts) for starts in (69, 70, 89, 90)] == [0, None, None, 0]


def test_parties_who_never_met_a_number_share_it() -> None:
    assert simulated([wanted("a", "b", 0, 10), wanted("c", "d", 0, 10)], 2, grace=5).numbers == (0, 0)


def test_the_number_whose_last_use_by_either_is_longest_ago_is_taken() -> None:
    history = [
        wanted("a", "b", 0, 10),  # number 0
        wanted("a", "c", 1, 5),  # number 1
        wanted("d", "e", 50, 60),  # number 0
        wanted("d", "f", 51, 55),  # number 1
        wanted("a", "d", 100, 110),  # used until 60 and 55: number 1
        wanted("a", "b", 200, 210),  # used until 10 and 110: number 0
    ]
    assert simulated(history, 2, grace=0).numbers == (0, 1, 0, 1, 1, 0)


def test_a_refused_session_holds_nothing() -> None:
    history = [wanted("a", "b", 0, 100), wanted("a", "c", 10, 300), wanted("a", "d", 120, 130)]
    assert simulated(history, 1, grace=20).numbers == (0, None, 0)


def test_a_simulation_stops_where_more_is_refused_than_may_be() -> None:
    history = [wanted("a", other, n, 100) for n, other in enumerate("bcdef")]
    result = simulated(history, 2, grace=0, most=1)
    assert (result.numbers, result.refused, result.cut_short) == ((0, 1, None, None), 2, True)


def test_a_plan_by_hand() -> None:
    history = [wanted("b", "c", 40, 45), wanted("a", "b", 0, 10), wanted("a", "c", 0, 10), wanted("a", "d", 5, 10)]
    plan = planned("US", history, grace=10, refusal_rate=0.25)

    assert (plan.sessions, plan.at_a_time, plan.bound, plan.proven) == (4, 3, 5, 5)
    assert (plan.needed, plan.refused, plan.refusal_rate, plan.needed_for_all) == (2, 1, 0.25, 3)
    assert plan.in_use == (Level(at(0), 2), Level(at(20), 0), Level(at(40), 1), Level(at(55), 0))
    assert plan.peak == 2


def test_cooloffs_of_whole_numbers_add_what_rests_at_a_time_to_the_proof() -> None:
    history = [wanted("a", "b", 0, 10, cooloff=100), wanted("c", "d", 0, 20, cooloff=100), wanted("e", "f", 50, 60)]
    plan = planned("US", history, grace=0, refusal_rate=0)
    assert (plan.at_a_time, plan.resting, plan.bound, plan.proven) == (1, 2, 1, 3)
    assert plan.needed == plan.needed_for_all == 2


@pytest.mark.parametrize(("rate", "refused"), [(0.29, 29), (0.07, 7), (0, 0), (0.999, 99)])
def test_a_rate_of_refusals_counts_whole_sessions(rate: float, refused: int) -> None:
    history = [wanted("a", f"b{n}", 0, 10) for n in range(100)]
    plan = planned("US", history, 0, rate)
    assert (plan.needed, plan.refused) == (100 - refused, refused)


def test_a_history_that_holds_nothing_needs_one_number() -> None:
    plan = planned("US", [wanted("a", "b", 0, 0)], grace=0, refusal_rate=0)
    assert (plan.at_a_time, plan.needed, plan.needed_for_all, plan.peak, plan.in_use) == (1, 1, 1, 0, ())
