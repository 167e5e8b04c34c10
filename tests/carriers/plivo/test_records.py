"""What Plivo has on record makes up for callbacks that were lost."""

from __future__ import annotations

from typing import cast

import pytest

from masking.carriers.call_details import CallDetails
from masking.carriers.plivo.records import Records
from masking.carriers.plivo.session_resource import read_session
from masking.carriers.plivo.sessions_api import SessionsApi
from masking.domain.counterpart.reconciling import reconciled
from masking.domain.events import Side
from masking.domain.wire_format import plivo_number
from tests.carriers.plivo.truth import PARTIES, Talk, Truth
from tests.domain.conversation import STRANGER
from tests.domain.test_reconciling import opened_session

pytestmark = pytest.mark.anyio


class Plivo:
    """Its records of legs, at a moment in seconds from the session's beginning."""

    def __init__(self, truth: Truth, until: float) -> None:
        self._truth, self._until, self.asked = truth, until, 0

    async def leg(self, leg_uuid: str) -> CallDetails:
        self.asked += 1
        *_, number, end = leg_uuid.split("-")
        return CallDetails.model_validate(self._truth.leg(int(number), end, self._until))


@pytest.mark.parametrize("caller", Side)
async def test_who_calls_is_told_right_though_no_callback_told_of_a_call_that_goes_on(caller: Side) -> None:
    truth, session = Truth([Talk(10, talks=600, caller=caller)]), opened_session()
    plivo = Plivo(truth, until=60)
    told = read_session(truth.resource(60))

    found = await Records(cast(SessionsApi, plivo), None).completed(session, told)

    assert found.in_progress
    (callback,) = reconciled(session, found).callbacks
    assert callback.name == "SessionFirstPartyAnswer"
    assert callback.params["From"] == plivo_number(PARTIES[caller])
    assert callback.params["To"] == plivo_number(PARTIES[caller.other])


async def test_a_caller_by_a_pin_of_whom_no_callback_told_is_named_by_its_own_number() -> None:
    truth, session = Truth([Talk(10, caller=Side.FIRST, number=STRANGER, pins=("success",))]), opened_session()
    told = read_session(truth.resource())

    found = await Records(cast(SessionsApi, Plivo(truth, until=600)), None).completed(session, told)

    callbacks = reconciled(session, found).callbacks
    assert {callback.params["From"] for callback in callbacks} == {plivo_number(STRANGER)}


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(Talk(10, caller=Side.FIRST, talks=0, dialled=False), id="called by Plivo"),
        pytest.param(Talk(10, caller=Side.FIRST, number="hidden", pins=("success",)), id="hidden"),
    ],
)
async def test_who_is_called_by_plivo_or_shows_no_number_counts_as_the_party(talk: Talk) -> None:
    truth, session = Truth([talk]), opened_session()
    told = read_session(truth.resource())

    found = await Records(cast(SessionsApi, Plivo(truth, until=600)), None).completed(session, told)

    callbacks = reconciled(session, found).callbacks
    assert {callback.params["From"] for callback in callbacks} == {plivo_number(PARTIES[Side.FIRST])}


async def test_nobody_is_asked_for_the_legs_of_a_call_of_which_something_was_told() -> None:
    truth, session = Truth([Talk(10, talks=600)]), opened_session()
    plivo = Plivo(truth, until=60)
    told = read_session(truth.resource(60))
    heard = reconciled(session, told).session

    await Records(cast(SessionsApi, plivo), None).completed(heard, told)

    assert plivo.asked == 0
