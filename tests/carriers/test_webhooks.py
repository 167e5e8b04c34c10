"""What a carrier's webhooks tell, field by field."""

from __future__ import annotations

from datetime import timedelta

import pytest

from masking.carriers.voice.webhooks import caller_hangup
from tests.domain.conversation import at, call


@pytest.mark.parametrize(
    "written",
    ["2026-11-23 14:01:30", "2026-11-23 14:01:30.250000", "2026-11-23T14:01:30Z", "2026-11-23 19:31:30+05:30"],
)
def test_a_hangup_happened_when_the_carrier_says_so(written: str) -> None:
    hangup = caller_hangup({"EndTime": written}, call(), at(10), at(700))

    assert hangup.happened_at.replace(microsecond=0) == at(90)
    assert hangup.at == at(700), "what is waited for counts from when we were told"


@pytest.mark.parametrize(
    "written",
    ["", "soon", "2026-11-23", "2026-11-23 14:00:09", "2026-11-23 14:11:41", "2026-11-23 19:31:30", "9" * 30],
)
def test_a_time_that_cannot_be_is_not_believed(written: str) -> None:
    """Before the call, after we heard of its end, or no time at all: then it ended when we were told."""
    hangup = caller_hangup({"EndTime": written}, call(), at(10), at(700))

    assert (hangup.ended_at, hangup.happened_at) == (None, at(700))


def test_an_end_within_the_calls_first_second_may_lie_before_it() -> None:
    """Whole seconds are rounded down."""
    began = at(10) + timedelta(milliseconds=700)
    assert caller_hangup({"EndTime": "2026-11-23 14:00:10"}, call(), began, at(12)).happened_at == at(12)
