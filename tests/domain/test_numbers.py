"""Which number a session gets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from masking.domain.numbers import PoolNumber, Use, candidates
from tests.domain.conversation import at

POOL = [PoolNumber(number=f"+120255501{n:02}", country="US" if n % 3 else "IN", rank=n) for n in range(10)]

uses = st.lists(
    st.builds(
        Use,
        number=st.sampled_from([n.number for n in POOL]),
        held=st.booleans(),
        until=st.integers(-1000, 1000).map(at),
    ),
    max_size=12,
)
resting = st.frozensets(st.sampled_from([n.number for n in POOL]))


@given(uses, st.sampled_from([None, "US", "IN"]), resting)
def test_no_candidate_is_held_resting_or_abroad_and_none_is_forgotten(
    used: list[Use], country: str | None, rest: frozenset[str]
) -> None:
    found = [n.number for n in candidates(POOL, used, country, rest)]

    taken = {use.number for use in used if use.held} | rest
    assert set(found) == {n.number for n in POOL if n.number not in taken and country in (None, n.country)}
    assert len(found) == len(set(found))


@given(uses)
def test_what_neither_ever_used_comes_first_by_rank_then_the_longest_unused(used: list[Use]) -> None:
    found = candidates(POOL, used, None)

    last = {n.number: max((u.until for u in used if u.number == n.number), default=None) for n in found}
    unused = [n for n in found if last[n.number] is None]
    again = [n for n in found if last[n.number] is not None]
    assert found == unused + again
    assert [n.rank for n in unused] == sorted(n.rank for n in unused)
    times = [last[n.number] for n in again]
    assert times == sorted(t for t in times if t is not None)
