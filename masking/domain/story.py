"""A session told to an operator, in Markdown. It names parties and times, never a number or a PIN."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from masking.domain.bill.charges import bill, interaction_charge
from masking.domain.deadlines import waiting_for
from masking.domain.events import RecordingCompleted, RecordingFailed
from masking.domain.interaction import Interaction, Leg
from masking.domain.session import Phase, Session

_HEADLINES = {
    Phase.OPENING: "Opening: looking for a virtual number",
    Phase.ACTIVE: "Active until {expires}",
    Phase.DRAINING: "Expired at {expires}; waiting for {waiting}",
    Phase.SETTLED: "Expired at {expires}; settled",
    Phase.REFUSED: "Refused: {refusal}",
}


SHOWN = 5
"""So many of the newest PINs that connected nobody, declined calls and remarks."""


TOLD = 20
"""So many of the newest calls."""


def story(session: Session) -> str:
    """What has happened so far, one line each, times in UTC. A flat list: the Temporal UI shows no other."""
    return "\n".join(_lines(session))


def _lines(session: Session) -> Iterator[str]:
    headline = _HEADLINES[session.phase].format(
        expires=_clock(session.expires_at),
        waiting=", ".join(waiting_for(session)) or "the carrier's last events",
        refusal=session.refusal,
    )
    yield f"### {headline}"
    yield f"- {_clock(session.created_at)} created for {session.duration} s"
    conversations = session.conversations
    if len(conversations) > TOLD:
        yield f"- {len(conversations) - TOLD} earlier calls"
    for interaction in conversations[-TOLD:]:
        yield from _conversation(session, interaction)
    for pin in session.wrong_pins[-SHOWN:]:
        told = f"a wrong PIN, try {pin.retry_counter} of its call" if pin.status == "failed" else f"PIN: {pin.status}"
        yield f"- {_clock(pin.at)} {told}"
    for declined in session.declined[-SHOWN:]:
        what = "a caller was asked" if declined.decision == "AskPin" else "a call was not connected"
        yield f"- {_clock(declined.at)} {what}: {declined.call.reason}"
    for moment in session.resumed[-SHOWN:]:
        yield f"- {_clock(moment)} resumed from its stored state, since its workflow was lost"
    for remark in session.remarks[-SHOWN:]:
        yield f"- {remark}"
    final = bill(session)
    if final.calls.call_count:
        yield (
            f"- **{final.calls.call_count} legs, {final.calls.billed_duration} s billed,"
            f" {final.total_amount:f} {final.currency}**"
        )


def _conversation(session: Session, interaction: Interaction) -> Iterator[str]:
    callee = interaction.call.caller.other
    yield f"- {_clock(interaction.first_seen_at)} {_beginning(interaction)}"
    for pin in interaction.pins:
        yield f"- {_clock(pin.at)} PIN: {pin.status}"
    if interaction.call.dialled:
        yield f"- {_leg(f'the {callee} party', interaction.callee)}"
    recording = interaction.recording
    if isinstance(recording, RecordingCompleted):
        yield f"- recorded: {recording.duration} s of {recording.file_format}"
    elif isinstance(recording, RecordingFailed):
        yield f"- recording failed: {recording.reason}"
    if interaction.ended_at is not None and interaction.caller.hangup is not None:
        charge = interaction_charge(session, interaction)
        yield (
            f"- {_clock(interaction.ended_at)} ended ({interaction.caller.hangup.cause}):"
            f" {charge.billed_duration} s billed, {charge.amount:f} {session.rate.currency}"
        )


def _beginning(interaction: Interaction) -> str:
    call = interaction.call
    if call.reason.startswith("we called"):
        return call.reason
    return f"the {call.caller} party called" + (f" ({call.reason})" if call.reason else "")


def _leg(who: str, leg: Leg) -> str:
    if leg.never_was:
        return f"{who} was not dialled: its caller had left"
    told = [f"rang {_clock(leg.rang_at)}"] if leg.rang_at else []
    told += [f"answered {_clock(leg.answered_at)}"] if leg.answered_at else []
    told += [f"left {_clock(leg.hangup.at)} ({leg.hangup.cause})"] if leg.hangup else []
    return f"{who} {', '.join(told) or 'was dialled'}"


def _clock(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%H:%M:%S")
