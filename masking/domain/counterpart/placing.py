"""Which conversation of its session an event belongs to, where the carrier does not name the call.

Plivo's session callbacks name the session, the event and the moment. A session has one conversation
after the other, each with one fact of a kind, and no two begin within a second; so an event belongs to the newest
conversation that had begun and misses it, or begins one. What comes so late that this is wrong, the look at the
carrier's own record puts right at the end (`reconciling.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from masking.domain.events import (
    OVERDUE,
    Answer,
    AnyCarrierEvent,
    Hangup,
    LegName,
    PinStatus,
    RecordingCompleted,
    RecordingFailed,
    RecordingInitiated,
    Ring,
)
from masking.domain.interaction import Interaction
from masking.domain.session import Session

CLOCKS_DIFFER = timedelta(seconds=1)
"""How far the carrier's servers may be from each other."""


def placed(session: Session, event: AnyCarrierEvent) -> AnyCarrierEvent | None:
    """The event with the id of its conversation; None for one that came too late to tell anything new.

    One that is told again is placed where it was.
    """
    found = _conversation_of(session, event)
    if found is None and _is_reconciled(session):
        return None
    call_uuid = (
        found.call.call_uuid if found is not None else next_call_uuid(session.session_uuid, session.interactions)
    )
    return moved(event, call_uuid)


def rules_of(session: Session) -> int:
    """The rules by which a session follows its counterpart, see `RULES` (`told.py`)."""
    return session.counterpart.rules if session.counterpart is not None else 1


def _is_reconciled(session: Session) -> bool:
    return session.counterpart is not None and session.counterpart.reconciled


def moved(event: AnyCarrierEvent, call_uuid: str) -> AnyCarrierEvent:
    """The event, of the conversation with this id."""
    return event.model_copy(update={"call": event.call.model_copy(update={"call_uuid": call_uuid})})


def next_call_uuid(session_uuid: str, taken: Collection[str]) -> str:
    """The id of a conversation that is new."""
    number = len(taken) + 1
    while f"{session_uuid}-{number}" in taken:
        number += 1
    return f"{session_uuid}-{number}"


def facts_of(interaction: Interaction) -> Iterator[AnyCarrierEvent]:
    """What is known of a conversation, as the events that told it."""
    call, leg_names = interaction.call, ((LegName.CALLER, interaction.caller), (LegName.CALLEE, interaction.callee))
    for name, leg in leg_names:
        identity = f"{call.call_uuid}:{name}"
        if leg.rang_at is not None:
            yield Ring(event_id=f"{identity}:ring", at=leg.rang_at, call=call, leg_uuid=leg.leg_uuid)
        if leg.answered_at is not None:
            yield Answer(event_id=f"{identity}:answer", at=leg.answered_at, call=call, leg=name, leg_uuid=leg.leg_uuid)
        if leg.hangup is not None:
            yield leg.hangup
    yield from interaction.pins
    if interaction.recording_started is not None:
        yield interaction.recording_started
    if interaction.recording is not None:
        yield interaction.recording


def begins(event: AnyCarrierEvent) -> bool:
    """Whether a conversation begins with an event of this kind."""
    return isinstance(event, PinStatus) or (isinstance(event, Answer) and event.leg is LegName.CALLER)


def moment_of(event: AnyCarrierEvent) -> datetime:
    """When it happened: of a recording, when that began."""
    if isinstance(event, RecordingCompleted):
        return event.started_at
    return event.happened_at if isinstance(event, Hangup) else event.at


def slot_of(event: AnyCarrierEvent) -> object:
    """The one place in a conversation for facts of this kind; PINs have one each."""
    match event:
        case Answer() | Hangup():
            return (type(event), event.leg)
        case PinStatus():
            return (type(event), event.event_id)
        case RecordingCompleted() | RecordingFailed():
            return "recording"
        case _:
            return type(event)


def _conversation_of(session: Session, event: AnyCarrierEvent) -> Interaction | None:
    at = moment_of(event)
    conversations = session.conversations
    for known in conversations:
        if any(_is_same(event, fact) for fact in facts_of(known)):
            return known
    lacking = [each for each in conversations if not any(_fills(fact, slot_of(event)) for fact in facts_of(each))]
    rules = rules_of(session)
    if rules > 1 and _is_reconciled(session) and event.call.dialled:
        # The record says for which of them nobody was dialled.
        lacking = [each for each in lacking if each.call.dialled]
    begun = [each for each in lacking if each.first_seen_at <= at and not _over_before(each, event, rules)]
    # Its beginning is not told yet, or lost: of these the first that may have begun with this.
    later = [each for each in lacking if each.first_seen_at >= at and each.caller.answered_at is None]
    if begins(event):
        begun = [each for each in begun if each.first_seen_at == at or each.caller.answered_at is None]
    if begun:
        return begun[-1]
    return later[0] if later else None


def _is_same(event: AnyCarrierEvent, fact: AnyCarrierEvent) -> bool:
    if isinstance(event, Answer | Ring):
        return slot_of(event) == slot_of(fact) and event.at == fact.at
    return event.event_id == fact.event_id


def _fills(fact: AnyCarrierEvent, slot: object) -> bool:
    """Whether it is known; what was only taken for granted gives way to what is told."""
    return slot_of(fact) == slot and _was_told(fact)


def _was_told(fact: AnyCarrierEvent) -> bool:
    return not fact.event_id.endswith(OVERDUE)


def _over_before(interaction: Interaction, event: AnyCarrierEvent, rules: int) -> bool:
    """Whether the conversation was over when it happened; its recording may be told of afterwards.

    Args:
        rules: see `RULES` (`told.py`).
    """
    if isinstance(event, RecordingInitiated | RecordingCompleted | RecordingFailed):
        return False
    if rules > 2 and _comes_before_what_was(event, interaction):
        return True
    caller, callee = interaction.caller.hangup, interaction.callee.hangup
    if caller is None:
        return False
    if callee is not None:
        return max(caller.happened_at, callee.happened_at) < moment_of(event)
    # With the caller everything ends but the other leg, where there is one.
    ends_alone = not (interaction.call.dialled and isinstance(event, Hangup))
    return rules > 1 and ends_alone and caller.happened_at < moment_of(event)


def _comes_before_what_was(event: AnyCarrierEvent, interaction: Interaction) -> bool:
    """Whether it belongs to an earlier step of a conversation than something that had happened by then."""
    step, latest = _step(event), moment_of(event) - CLOCKS_DIFFER
    if step is None:
        return False
    known = ((_step(fact), fact) for fact in facts_of(interaction) if _was_told(fact))
    return any(later is not None and later > step and moment_of(fact) < latest for later, fact in known)


def _step(event: AnyCarrierEvent) -> int | None:
    """The place of a fact in the course of a conversation; None for what has none."""
    match event:
        case Answer(leg=LegName.CALLER):
            return 0
        case PinStatus():
            return 1
        case Ring():
            return 2
        case Answer():
            return 3
        case Hangup(leg=LegName.CALLEE):
            return 4
        case _:
            return None
