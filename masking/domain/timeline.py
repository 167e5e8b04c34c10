"""The story of a session as a list of what happened: who called when, what each side saw, decisions, money.

For people and machines alike; whoever shows it decides how numbers are shown. Temporal's UI has a shorter one, `story`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from masking.domain.bill.charges import bill, leg_charge
from masking.domain.events import Declined, Hangup, PinStatus, RecordingCompleted, RecordingFailed, Side
from masking.domain.interaction import Interaction
from masking.domain.model import Model
from masking.domain.session import Phase, Session


class Happened(StrEnum):
    """Kinds of what happened."""

    CREATED = "created"
    REFUSED = "refused"
    PLACED = "placed"
    CALLED = "called"
    PIN = "PIN"
    DECLINED = "declined"
    RANG = "rang"
    ANSWERED = "answered"
    LEFT = "left"
    RECORDED = "recorded"
    PARTIES_CHANGED = "changed"
    RESUMED = "resumed"
    EXPIRED = "expired"
    SETTLED = "settled"
    CALLBACK = "callback"
    CORRECTED = "corrected"
    ERASED = "erased"


class Entry(Model):
    """Something that happened.

    Attributes:
        at: UTC.
        party: which registered party did it; None for the service.
        number: that party's real number, as it is shown.
        saw: the number that its phone showed: what it had dialled, or who seemed to call. As it is shown.
        call: the carrier's id of the call.
        told: the rest, in words, without numbers.
        amount: what it cost, in the bill's currency.
    """

    at: datetime
    what: Happened
    party: Side | None = None
    number: str = ""
    saw: str = ""
    call: str = ""
    told: str = ""
    amount: Decimal | None = None


class ToldTry(Model):
    """A try of a callback."""

    at: datetime
    outcome: str
    duration_ms: int


class ToldCallback(Model):
    """A callback, and what became of it. `name` is empty where it cannot be read any more."""

    at: datetime
    name: str
    kind: str
    sequence: int
    state: str
    tries: tuple[ToldTry, ...]


class ToldCorrection(Model):
    """What a late event added to the bill."""

    at: datetime
    amount: Decimal
    billed_duration: int


class Totals(Model):
    """The money of a session. `corrected` is what late events added to `amount` after the bill was closed."""

    legs: int
    billed_duration: int
    amount: Decimal
    corrected: Decimal
    currency: str
    closed_at: datetime | None


class Timeline(Model):
    """A session's story. Numbers are as they are shown."""

    session_uuid: str
    account_id: str
    phase: str
    virtual_number: str
    first_party: str
    second_party: str
    created_at: datetime
    expires_at: datetime
    entries: tuple[Entry, ...]
    remarks: tuple[str, ...]
    totals: Totals


Show = Callable[[str], str]


def timeline(
    session: Session, callbacks: Sequence[ToldCallback], corrections: Sequence[ToldCorrection], show: Show
) -> Timeline:
    """The story of a session.

    Args:
        show: how a number in E.164 is shown.
    """
    entries = [*_of_session(session, show), *_of_callbacks(callbacks), *_of_corrections(corrections)]
    final = bill(session)
    return Timeline(
        session_uuid=session.session_uuid,
        account_id=session.account_id,
        phase=session.phase,
        virtual_number=_shown(session.virtual_number, show),
        first_party=_shown(session.terms.first_party, show),
        second_party=_shown(session.terms.second_party, show),
        created_at=session.created_at,
        expires_at=session.expires_at,
        entries=in_order(entries),
        remarks=session.remarks,
        totals=Totals(
            legs=final.calls.call_count,
            billed_duration=final.calls.billed_duration,
            amount=final.total_amount,
            corrected=sum((each.amount for each in corrections), Decimal(0)),
            currency=final.currency,
            closed_at=final.settled_at,
        ),
    )


def in_order(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """By their time; of one moment, as they were told."""
    return tuple(sorted(entries, key=lambda entry: entry.at))


def of_what_stays(
    created_at: datetime,
    expires_at: datetime,
    totals: Totals,
    erased_at: datetime,
    callbacks: Sequence[ToldCallback],
    corrections: Sequence[ToldCorrection],
) -> tuple[Entry, ...]:
    """What is left of a session that was erased: times and money."""
    entries = [Entry(at=created_at, what=Happened.CREATED), Entry(at=expires_at, what=Happened.EXPIRED)]
    if totals.closed_at is not None:
        entries.append(Entry(at=totals.closed_at, what=Happened.SETTLED, amount=totals.amount))
    entries.append(Entry(at=erased_at, what=Happened.ERASED))
    return in_order([*entries, *_of_callbacks(callbacks), *_of_corrections(corrections)])


def _of_session(session: Session, show: Show) -> Iterator[Entry]:
    seconds = int((session.expires_at - session.created_at).total_seconds())
    yield Entry(at=session.created_at, what=Happened.CREATED, told=f"it lasted {seconds} s in the end"
                if session.over else "")  # fmt: skip
    if session.phase is Phase.REFUSED:
        yield Entry(at=session.created_at, what=Happened.REFUSED, told=session.refusal)
    for interaction in session.conversations:
        yield from _conversation(session, interaction, show)
    for pin in session.wrong_pins:
        yield _pin(pin, show)
    for each in session.declined:
        yield _declined(each, _shown(session.virtual_number, show), show)
    for former in session.former_parties:
        numbers = " and ".join(_shown(each, show) or "nobody" for each in (former.first_party, former.second_party))
        yield Entry(at=former.until, what=Happened.PARTIES_CHANGED, told=f"the parties; before, they were {numbers}")
    for moment in session.resumed:
        yield Entry(at=moment, what=Happened.RESUMED, told="from its stored state, since its workflow was lost")
    if session.over:
        yield Entry(at=session.expires_at, what=Happened.EXPIRED)
    if session.settled_at is not None:
        yield Entry(at=session.settled_at, what=Happened.SETTLED, amount=bill(session).total_amount)


def _conversation(session: Session, interaction: Interaction, show: Show) -> Iterator[Entry]:
    call, screen = interaction.call, _shown(session.virtual_number, show)
    caller, callee, uuid = call.caller, call.caller.other, call.call_uuid
    numbers = {caller: _shown(call.from_number, show), callee: _shown(call.to_number, show)}

    def entry(at: datetime, what: Happened, party: Side, told: str = "", **more: Decimal) -> Entry:
        # Either phone shows the virtual number: it was dialled, or it seems to call.
        return Entry(at=at, what=what, party=party, number=numbers[party], saw=screen, call=uuid, told=told, **more)

    if interaction.placed_at is not None:
        yield entry(interaction.placed_at, Happened.PLACED, caller, "we called it first")
    if interaction.placed_at is None or interaction.caller.answered_at is not None:
        began = interaction.first_seen_at if interaction.placed_at is None else interaction.caller.answered_at
        if began is not None:
            what = Happened.CALLED if interaction.placed_at is None else Happened.ANSWERED
            yield entry(began, what, caller, call.reason)
    for pin in interaction.pins:
        yield _pin(pin, show)
    if call.dialled and interaction.callee.rang_at is not None:
        yield entry(interaction.callee.rang_at, Happened.RANG, callee)
    if interaction.callee.answered_at is not None:
        yield entry(interaction.callee.answered_at, Happened.ANSWERED, callee)
    for party, leg in interaction.legs:
        if leg.hangup is not None:
            charge = leg_charge(session, leg.hangup)
            yield entry(leg.hangup.happened_at, Happened.LEFT, party, _left(leg.hangup), amount=charge.amount)
    recording = interaction.recording
    if isinstance(recording, RecordingCompleted):
        told = f"{recording.duration} s of {recording.file_format}"
        yield Entry(at=recording.at, what=Happened.RECORDED, call=uuid, told=told)
    elif isinstance(recording, RecordingFailed):
        yield Entry(at=recording.at, what=Happened.RECORDED, call=uuid, told=f"failed: {recording.reason}")


def _left(hangup: Hangup) -> str:
    guessed = "; nobody told, it was taken for granted" if hangup.guessed else ""
    return f"{hangup.cause}, {hangup.duration} s{guessed}"


def _pin(pin: PinStatus, show: Show) -> Entry:
    told = f"wrong, try {pin.retry_counter}" if pin.status == "failed" else str(pin.status)
    call = pin.call
    # Of one who is not connected, nobody knows which party it is.
    party = call.caller if call.dialled else None
    return Entry(at=pin.at, what=Happened.PIN, party=party, number=_shown(call.from_number, show), call=call.call_uuid,
                 told=told)  # fmt: skip


def _declined(declined: Declined, screen: str, show: Show) -> Entry:
    call = declined.call
    number = _shown(call.from_number, show)
    told = f"{declined.decision}: {call.reason}" if call.reason else declined.decision
    return Entry(at=declined.at, what=Happened.DECLINED, number=number, saw=screen, call=call.call_uuid, told=told)


def _of_callbacks(callbacks: Iterable[ToldCallback]) -> Iterator[Entry]:
    for each in callbacks:
        tries = ", ".join(f"{a_try.outcome} in {a_try.duration_ms} ms" for a_try in each.tries) or "not tried yet"
        name = each.name or "(erased)"
        told = f"{name}, {each.kind} {each.sequence}, {each.state}: {tries}"
        yield Entry(at=each.at, what=Happened.CALLBACK, told=told)


def _of_corrections(corrections: Iterable[ToldCorrection]) -> Iterator[Entry]:
    for each in corrections:
        told = f"a late event, {each.billed_duration} s billed"
        yield Entry(at=each.at, what=Happened.CORRECTED, told=told, amount=each.amount)


def _shown(number: str, show: Show) -> str:
    return show(number) if number else ""
