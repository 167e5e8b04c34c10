"""What time alone will change about a session, and what it waits for."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import NamedTuple

from masking.domain.decisions import never_dialled
from masking.domain.events import OVERDUE, AnyCarrierEvent, Call, Hangup, LegName, RecordingFailed
from masking.domain.interaction import HANGUP_SLACK, Interaction, longest_call
from masking.domain.session import Phase, Session

UNKNOWN_CAUSE, UNKNOWN_CAUSE_CODE = "Unknown", 0

EXTEND_AHEAD = timedelta(seconds=30)
"""So long before its expiry a session whose policy is `extend` is extended, so that its routes never lapse."""

EXTEND_BY = timedelta(minutes=5)


class Deadline(NamedTuple):
    """When time alone will next change a session (UTC), and how, in words for the operator."""

    at: datetime
    why: str


def own_deadline(session: Session) -> Deadline | None:
    """When the session itself expires, or is extended by its policy; None once it has expired."""
    if session.phase is not Phase.ACTIVE:
        return None
    if session.at_expiry == "extend" and _goes_on_for_a_call(session):
        return Deadline(session.expires_at - EXTEND_AHEAD, "go on while the call does")
    return Deadline(session.expires_at, "session expiry")


def calls_deadline(session: Session, besides: Collection[str] = ()) -> Deadline | None:
    """When the next of its calls is overdue; None if none ever will be.

    Args:
        besides: calls that are not to be given up now, by the carrier's ids.
    """
    deadlines = (
        Deadline(due, "wait for the carrier's last events about a call")
        for interaction in session.interactions.values()
        if interaction.call.call_uuid not in besides and (due := _deadline(session, interaction)) is not None
    )
    return min(deadlines, default=None)


def soonest(*deadlines: Deadline | None) -> Deadline | None:
    """The first of those that there are."""
    return min((each for each in deadlines if each is not None), default=None)


def policy_expiry(session: Session, now: datetime) -> datetime | None:
    """Where the session's own policy moves its expiry, UTC; None where it leaves it alone.

    With the policy `extend`, a session goes on while a call does that began before the expiry that
    was asked for, and ends with that call.
    """
    if session.at_expiry != "extend":
        return None
    if _goes_on_for_a_call(session):
        return session.expires_at + EXTEND_BY if now >= session.expires_at - EXTEND_AHEAD else None
    return max(session.asked_expires_at, now) if session.asked_expires_at is not None else None


def overdue_calls(session: Session, now: datetime) -> tuple[Call, ...]:
    """The calls of which a hangup or a recording should have come by `now` and has not."""
    return tuple(
        interaction.call
        for interaction in session.conversations
        if (due := _deadline(session, interaction)) is not None and now >= due
    )


def overdue_events(session: Session, now: datetime) -> tuple[AnyCarrierEvent, ...]:
    """What to take for granted about the overdue calls, once their carrier stays silent."""
    return tuple(event for interaction in session.conversations for event in _overdue(session, interaction, now))


def live_calls(session: Session) -> tuple[str, ...]:
    """The calls in progress, by the carrier's id of the caller's leg."""
    return tuple(i.call.call_uuid for i in session.conversations if i.live)


def waiting_for(session: Session) -> tuple[str, ...]:
    """What keeps the session from being settled, in words for the operator."""
    conversations = session.conversations
    live = sum(i.live for i in conversations)
    recordings = sum(not i.live and i.awaits_recording for i in conversations)
    reasons = ((live, "call to end"), (recordings, "recording to arrive"))
    return tuple(f"{count} {what}" for count, what in reasons if count)


def _goes_on_for_a_call(session: Session) -> bool:
    asked = session.asked_expires_at or session.expires_at
    return any(each.live and each.first_seen_at < asked for each in session.interactions.values())


def _deadline(session: Session, interaction: Interaction) -> datetime | None:
    if interaction.live:
        longest = interaction.first_seen_at + longest_call(session.terms)
        left = interaction.caller.hangup
        if left is not None and session.revision > 1:
            # A callee does not outlast its caller, and was never dialled where that left before.
            return min(longest, left.at + HANGUP_SLACK)
        return longest
    ended_at = interaction.ended_at
    if interaction.awaits_recording and ended_at is not None:
        return ended_at + timedelta(seconds=session.recording_wait)
    return None


def _overdue(session: Session, interaction: Interaction, now: datetime) -> tuple[AnyCarrierEvent, ...]:
    deadline = _deadline(session, interaction)
    if deadline is None or now < deadline:
        return ()
    call = interaction.call
    if not interaction.live:
        event_id = f"{call.call_uuid}:recording{OVERDUE}"
        return (RecordingFailed(event_id=event_id, at=deadline, call=call, reason="no recording arrived in time"),)
    ends = (_lost_hangup(call, LegName.CALLER, deadline),)
    if not call.dialled:
        return ends
    callee = _lost_hangup(call, LegName.CALLEE, deadline)
    # It is us who tell our carriers to dial, and the ringing begins with that.
    unasked = session.carrier == "voice" and interaction.callee.rang_at is None
    return (*ends, never_dialled(callee, callee.event_id) if unasked else callee)


def _lost_hangup(call: Call, leg: LegName, at: datetime) -> Hangup:
    """The end of a leg that no event told us of: nothing is charged for what nobody reported."""
    return Hangup(
        event_id=f"{call.call_uuid}:{leg}:hangup{OVERDUE}",
        at=at,
        call=call,
        leg=leg,
        leg_uuid=call.call_uuid if leg is LegName.CALLER else "",
        duration=0,
        cause=UNKNOWN_CAUSE,
        cause_code=UNKNOWN_CAUSE_CODE,
    )
