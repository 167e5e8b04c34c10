"""What Plivo has on record about legs and recordings of which no callback told us in full."""

from __future__ import annotations

from typing import Literal

from masking.carriers.call_details import CallDetails, RecordingDetails
from masking.carriers.errors import CarrierUnavailable
from masking.carriers.plivo.sessions_api import SessionsApi
from masking.carriers.plivo.wire import amount, e164
from masking.domain.bill.money import ZERO, CallRates
from masking.domain.bill.rates import RateCard
from masking.domain.counterpart.reconciling import reconcile
from masking.domain.counterpart.told import ToldInteraction, ToldLeg, ToldRecording, ToldSession
from masking.domain.events import RecordingCompleted, Side
from masking.domain.session import Session
from masking.rate_card import Decided, rates_of


class Records:
    """Adds to a session as Plivo shows it what it takes to make up for lost callbacks.

    Args:
        rate_card: prices conversations of which no callback told; None where Plivo's amounts are passed on.
    """

    def __init__(self, api: SessionsApi, rate_card: RateCard | None) -> None:
        self._api, self._rate_card = api, rate_card

    async def completed(self, session: Session, told: ToldSession, *, legs_matter: bool = True) -> ToldSession:
        """The session with what our session does not know. Raises `CarrierUnavailable`.

        Args:
            legs_matter: whether to fail where a leg's record cannot be had. Without it the conversation comes to
                the same, only shared out among its legs in another way.
        """
        ordered = sorted(told.interactions, key=lambda each: each.started_at)
        unexplained = set(reconcile(session, told.model_copy(update={"interactions": tuple(ordered)})).unexplained)
        known = {
            each.recording.recording_id
            for each in session.interactions.values()
            if isinstance(each.recording, RecordingCompleted)
        }
        interactions: list[ToldInteraction] = []
        for number, entry in enumerate(ordered):
            found = await self._explained(session, entry, legs_matter) if number in unexplained else entry
            if found.recording is not None and found.recording.recording_id not in known:
                found = found.model_copy(update={"recording": await self._recording(found.recording.recording_id)})
            interactions.append(found)
        return told.model_copy(update={"interactions": tuple(interactions)})

    async def _explained(self, session: Session, entry: ToldInteraction, legs_matter: bool) -> ToldInteraction:
        try:
            return await self._with_legs(session, entry)
        except CarrierUnavailable:
            if legs_matter:
                raise
            return entry.model_copy(update={"rates": self._rates(session, entry, Side.FIRST, "")})

    async def _with_legs(self, session: Session, entry: ToldInteraction) -> ToldInteraction:
        details = {side: await self._api.leg(uuid) for side in Side if (uuid := entry.leg_uuid(side))}
        found = {side: each for side, each in details.items() if each is not None}
        # Who called has the leg that was dialled for no other.
        callers = [side for side, each in found.items() if not each.parent_call_uuid]
        caller = callers[0] if len(callers) == 1 else None
        legs = {side: _leg(each) for side, each in found.items()}
        # A leg that the carrier itself placed is from the virtual number.
        number = e164(found[caller].from_number) if caller is not None else ""
        number = number if number != session.virtual_number else ""
        rates = self._rates(session, entry, caller or Side.FIRST, number)
        known = {"caller": caller, "caller_number": number, "legs": legs, "rates": rates}
        return entry.model_copy(update=known)

    def _rates(self, session: Session, entry: ToldInteraction, caller: Side, number: str) -> CallRates | None:
        parties = session.terms.parties
        decided = Decided(number or parties.get(caller, ""), parties.get(caller.other, ""), entry.started_at)
        return rates_of(self._rate_card, decided)

    async def _recording(self, recording_id: str) -> ToldRecording:
        details = await self._api.recording(recording_id)
        return ToldRecording(recording_id=recording_id) if details is None else _recording(details)


def _leg(details: CallDetails) -> ToldLeg:
    answered = details.answer_time is not None
    return ToldLeg(
        duration=details.call_duration if answered else 0,
        billed_duration=details.billed_duration,
        amount=amount(details.total_amount) or ZERO,
        answered_at=details.answer_time,
        ended_at=details.end_time,
        cause=details.hangup_cause_name,
        cause_code=details.hangup_cause_code,
        source=details.hangup_source,
    )


def _recording(details: RecordingDetails) -> ToldRecording:
    written = details.recording_format or details.recording_url
    file_format: Literal["mp3", "wav"] = "wav" if written.endswith("wav") else "mp3"
    return ToldRecording(
        recording_id=details.recording_id,
        url=details.recording_url,
        duration=details.recording_duration_ms // 1000,
        started_at=details.recording_start_ms,
        ended_at=details.recording_end_ms,
        file_format=file_format,
    )
