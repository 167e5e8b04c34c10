"""One conversation of a session: its two legs, its PIN tries, its recording.

Every fact has one slot and is written once, so that folding a call's events gives the same
interaction in any order and with any repetition.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_never

from masking.domain.events import (
    Answer,
    AnyCarrierEvent,
    Call,
    Declined,
    Hangup,
    LegName,
    PinStatus,
    Placed,
    RecordingCompleted,
    RecordingFailed,
    RecordingInitiated,
    Ring,
    SessionEnded,
    Side,
)
from masking.domain.model import Model
from masking.domain.terms import Terms

HANGUP_SLACK = timedelta(seconds=60)
"""How long after a call's last possible second its hangup may still be on its way."""


LONGEST_PLAY = timedelta(minutes=3)
"""How long audio before a conversation may take."""


class Leg(Model):
    """What is known of one leg. Times are UTC."""

    leg_uuid: str = ""
    rang_at: datetime | None = None
    answered_at: datetime | None = None
    hangup: Hangup | None = None

    @property
    def never_was(self) -> bool:
        """Whether nobody was dialled for it; what a carrier tells of it all the same is believed."""
        return self.answered_at is None and self.hangup is not None and self.hangup.never_dialled


class Interaction(Model):
    """What is known of one conversation. `placed_at` is when we had the first party called, UTC."""

    call: Call
    first_seen_at: datetime
    placed_at: datetime | None = None
    caller: Leg = Leg()
    callee: Leg = Leg()
    pins: tuple[PinStatus, ...] = ()
    recording_started: RecordingInitiated | None = None
    recording: RecordingCompleted | RecordingFailed | None = None

    @property
    def live(self) -> bool:
        """Whether a leg that we know must exist has not hung up."""
        return self.caller.hangup is None or (self.call.dialled and self.callee.hangup is None)

    @property
    def connected(self) -> bool:
        """Whether both parties answered."""
        return self.caller.answered_at is not None and self.callee.answered_at is not None

    @property
    def awaits_recording(self) -> bool:
        """Whether a recording of this conversation is still to come."""
        return self.call.recorded and self.connected and self.recording is None

    @property
    def over_since(self) -> datetime | None:
        """When the last leg ended, as far as anybody told us, UTC; None while a leg is live."""
        if self.live:
            return None
        return max(leg.hangup.happened_at for _, leg in self.legs if leg.hangup is not None)

    @property
    def ended_at(self) -> datetime | None:
        """When we were told that the last leg had ended, UTC; None while a leg is live."""
        if self.live:
            return None
        return max(leg.hangup.at for leg in (self.caller, self.callee) if leg.hangup is not None)

    @property
    def legs(self) -> tuple[tuple[Side, Leg], ...]:
        """The legs that took part, with the registered party of each."""
        caller = (self.call.caller, self.caller)
        if not self.call.dialled or self.callee.never_was:
            return (caller,)
        return (caller, (self.call.caller.other, self.callee))


def begin(event: AnyCarrierEvent) -> Interaction:
    """The interaction of which `event` is the first to be heard."""
    return fold(Interaction(call=event.call, first_seen_at=event.at), event)


def fold(interaction: Interaction, event: AnyCarrierEvent) -> Interaction:
    """`interaction` with what `event` tells; the very same object when it tells nothing new."""
    if event.at < interaction.first_seen_at:
        earlier = interaction.model_copy(update={"first_seen_at": event.at})
        folded = fold(earlier, event)
        return interaction if folded is earlier else folded
    if event.call.dialled and not interaction.call.dialled:
        # The call that we made to the first party: only its answer decided whom to dial.
        return fold(interaction.model_copy(update={"call": event.call}), event)
    match event:
        case Declined() | SessionEnded():
            return interaction
        case Placed():
            if interaction.placed_at is not None:
                return interaction
            return interaction.model_copy(update={"placed_at": event.at})
        case Answer():
            return _on_leg(interaction, event.leg, answered_at=event.at, leg_uuid=event.leg_uuid)
        case Ring():
            return _on_leg(interaction, LegName.CALLEE, rang_at=event.at, leg_uuid=event.leg_uuid)
        case Hangup():
            return _on_leg(interaction, event.leg, hangup=event, leg_uuid=event.leg_uuid)
        case PinStatus():
            if any(known.event_id == event.event_id for known in interaction.pins):
                return interaction
            pins = sorted((*interaction.pins, event), key=lambda pin: (pin.at, pin.event_id))
            return interaction.model_copy(update={"pins": tuple(pins)})
        case RecordingInitiated():
            if interaction.recording_started is not None:
                return interaction
            return interaction.model_copy(update={"recording_started": event})
        case RecordingCompleted() | RecordingFailed():
            if interaction.recording is not None:
                return interaction
            return interaction.model_copy(update={"recording": event})
        case _:
            assert_never(event)


def taken_in(known: Interaction | None, event: AnyCarrierEvent) -> Interaction:
    """The interaction once this was told of it; the first of it begins one.

    What had only been taken for granted about a silent call gives way.
    """
    return begin(event) if known is None else fold(_without_guess(known, event), event)


def _without_guess(interaction: Interaction, event: AnyCarrierEvent) -> Interaction:
    """The interaction without what was only taken for granted about what `event` tells; the same where nothing was."""
    if isinstance(event, Hangup) and not event.guessed:
        leg = interaction.caller if event.leg is LegName.CALLER else interaction.callee
        if leg.hangup is not None and leg.hangup.guessed:
            return interaction.model_copy(update={event.leg.value: leg.model_copy(update={"hangup": None})})
    if isinstance(event, RecordingCompleted) and isinstance(interaction.recording, RecordingFailed):
        return interaction.model_copy(update={"recording": None})
    return interaction


def _on_leg(interaction: Interaction, name: LegName, *, leg_uuid: str, **fact: datetime | Hangup) -> Interaction:
    """Write one fact on a leg, unless it is known already."""
    leg = interaction.caller if name is LegName.CALLER else interaction.callee
    (slot,) = fact
    if getattr(leg, slot) is not None:
        return interaction
    told = leg.model_copy(update={**fact, "leg_uuid": leg.leg_uuid or leg_uuid})
    return interaction.model_copy(update={name.value: told})


def resource_ids(interaction: Interaction) -> tuple[tuple[str, str], ...]:
    """The ids under which parts of the conversation can be looked up: `leg` and `recording`."""
    legs = tuple(("leg", leg.leg_uuid) for _, leg in interaction.legs if leg.leg_uuid)
    recording = interaction.recording
    if isinstance(recording, RecordingCompleted) and recording.recording_id:
        return (*legs, ("recording", recording.recording_id))
    return legs


def longest_call(terms: Terms) -> timedelta:
    """How long a call of a session can last at most, from its first sign to the last sign of its end."""
    rings = 2 if terms.initiate_call_to_first_party else 1
    plays = sum(bool(url) for url in (terms.first_party_play_url, terms.second_party_play_url))
    seconds = rings * terms.ring_timeout + terms.call_time_limit
    return timedelta(seconds=seconds) + plays * LONGEST_PLAY + HANGUP_SLACK
