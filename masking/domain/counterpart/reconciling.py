"""Putting a session right by what the carrier that masks it has on record, before the bill is closed.

The carrier's record is the truth about which conversations there were, and what each of them comes to. What its
callbacks told before adds what the record does not say: when phones rang, how a leg ended, each leg's own amount.
So the bill is the same whichever callbacks came, however often, and in whatever order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from masking.domain.bill.money import CarrierCharge
from masking.domain.counterpart.leg_shares import NO_CHARGE, LegShare, shared_out
from masking.domain.counterpart.placing import facts_of, moment_of, next_call_uuid, rules_of, slot_of
from masking.domain.counterpart.told import ToldInteraction, ToldSession
from masking.domain.events import Answer, AnyCarrierEvent, Call, Hangup, LegName, RecordingCompleted, Side
from masking.domain.interaction import Interaction, fold
from masking.domain.lifecycle import Step, stepped, took
from masking.domain.session import Session


class Reconciliation(NamedTuple):
    """What a look at the carrier's record comes to.

    Attributes:
        interactions: the conversations of which the session has heard, as the record has them, by their ids.
        events: what no callback told.
        differences: what does not agree, in words and without numbers.
        unexplained: which conversations on record no callbacks told in full, by their place among them.
    """

    interactions: Mapping[str, Interaction]
    events: tuple[AnyCarrierEvent, ...]
    differences: tuple[str, ...]
    unexplained: tuple[int, ...]


def reconciled(session: Session, told: ToldSession) -> Step:
    """The session as the carrier has it on record; its customer hears what is new to us.

    Once the carrier forwards no more calls and none goes on, nothing that is told later counts.
    """
    found = reconcile(session, told)
    whole = told.expired and not told.in_progress
    counterpart = session.counterpart and session.counterpart.model_copy(update={"reconciled": whole})
    remarks = tuple(what for what in found.differences if what not in session.remarks)
    times = {"expires_at": told.expires_at, "modified_at": told.modified_at} if whole else {}
    step = stepped(
        session,
        **times,
        interactions=dict(found.interactions),
        counterpart=counterpart,
        remarks=(*session.remarks, *remarks),
    )
    callbacks = list(step.callbacks)
    for event in found.events:
        step = took(step.session, event)
        callbacks += step.callbacks
    return Step(step.session, tuple(callbacks))


def reconcile(session: Session, told: ToldSession) -> Reconciliation:
    """Compare what a session has heard with the carrier's record of it."""
    record = sorted(told.interactions, key=lambda each: each.started_at)
    if not record:
        nothing = ("the carrier has no call on record; what it told stands",) if session.interactions else ()
        return Reconciliation(session.interactions, (), nothing, ())
    interactions: dict[str, Interaction] = {}
    events: list[AnyCarrierEvent] = []
    differences: list[str] = []
    unexplained: list[int] = []
    rules = rules_of(session)
    shares = _shares(session, record, rules)
    names = _names(session, shares)
    for number, (entry, facts, name) in enumerate(zip(record, shares, names, strict=True)):
        known = _known(session, entry, facts, name)
        compared = _compared(known, entry, rules)
        interactions[name] = compared.interaction
        events += compared.events
        said = compared.differences if facts else ("no callback told of it",)
        differences += [f"call {number + 1} by the carrier's record: {what}" for what in said]
        # Of one that goes on, and of which nothing was told, the legs tell who called.
        if not facts or any(isinstance(event, Hangup) for event in compared.events):
            unexplained.append(number)
    return Reconciliation(interactions, tuple(events), tuple(differences), tuple(unexplained))


def _shares(session: Session, record: Sequence[ToldInteraction], rules: int) -> list[list[AnyCarrierEvent]]:
    """What was told of each conversation on record: each fact belongs to the one that was nearest in time.

    Only the end of its one leg belongs to a call for which nobody was dialled.
    """
    alone = {n for n, entry in enumerate(record) if rules > 1 and entry.ended_at is not None and entry.call_count == 1}
    shares: list[list[AnyCarrierEvent]] = [[] for _ in record]
    facts = [(fact, n) for n, each in enumerate(session.conversations) for fact in facts_of(each)]
    for fact, host in sorted(facts, key=lambda each: (moment_of(each[0]), each[1], each[0].event_id)):
        if isinstance(fact, Hangup) and fact.guessed:
            continue
        fitting = [n for n in range(len(record)) if n not in alone or not fact.call.dialled]
        free = [n for n in fitting if all(slot_of(fact) != slot_of(other) for other in shares[n])]
        if free:
            shares[min(free, key=partial(_distance, fact, record, host))].append(fact)
    return shares


def _distance(
    fact: AnyCarrierEvent, record: Sequence[ToldInteraction], host: int, number: int
) -> tuple[bool, float, bool, int]:
    """How far a fact is from a conversation on record.

    Where one ends in the second in which the next begins, it stays where it was placed, or else its kind tells.

    Args:
        host: which of ours it was placed in.
    """
    entry = record[number]
    is_other = isinstance(fact, RecordingCompleted) and number not in _of_recording(fact, record)
    moment = moment_of(fact).replace(microsecond=0)
    before = (entry.started_at - moment).total_seconds()
    after = (moment - entry.ended_at).total_seconds() if entry.ended_at is not None else 0.0
    is_late = isinstance(fact, Hangup | RecordingCompleted)
    return is_other, max(before, after, 0.0), number != host, number if is_late else -number


def _of_recording(fact: RecordingCompleted, record: Sequence[ToldInteraction]) -> list[int]:
    """The conversations on record that a recording may be of: the one that names it, else those without one."""
    ids = [entry.recording.recording_id if entry.recording is not None else "" for entry in record]
    return [n for n, each in enumerate(ids) if each == (fact.recording_id if fact.recording_id in ids else "")]


def _names(session: Session, shares: Sequence[Sequence[AnyCarrierEvent]]) -> list[str]:
    """The ids of the conversations: those under which most of them was known, as far as that goes."""
    names: list[str] = []
    taken = set(session.interactions)
    for facts in shares:
        hosts = Counter(fact.call.call_uuid for fact in facts if fact.call.call_uuid not in names)
        name = hosts.most_common(1)[0][0] if hosts else next_call_uuid(session.session_uuid, taken)
        names.append(name)
        taken.add(name)
    return names


def _known(session: Session, entry: ToldInteraction, facts: Sequence[AnyCarrierEvent], name: str) -> Interaction:
    """What was told of a conversation, and nothing else."""
    call = _call(session, entry, facts, name)
    known = Interaction(call=call, first_seen_at=entry.started_at)
    for fact in facts:
        if call.dialled or getattr(fact, "leg", LegName.CALLER) is LegName.CALLER:
            known = fold(known, _by_record(fact, entry).model_copy(update={"call": call}))
    caller = known.caller.model_copy(update={"leg_uuid": entry.leg_uuid(call.caller)})
    callee = known.callee.model_copy(update={"leg_uuid": entry.leg_uuid(call.caller.other) if call.dialled else ""})
    return known.model_copy(update={"first_seen_at": entry.started_at, "caller": caller, "callee": callee})


def _by_record(fact: AnyCarrierEvent, entry: ToldInteraction) -> AnyCarrierEvent:
    """A fact; of a leg's end, with the time that the record gives for that of the conversation."""
    if not isinstance(fact, Hangup) or entry.ended_at is None:
        return fact
    return fact.model_copy(update={"at": entry.ended_at, "ended_at": fact.happened_at})


def _call(session: Session, entry: ToldInteraction, facts: Sequence[AnyCarrierEvent], name: str) -> Call:
    """Who called whom: as it was told, or as the record tells."""
    dialled = entry.call_count != 1 if entry.ended_at is not None else True
    if facts:
        return facts[0].call.model_copy(update={"call_uuid": name, "dialled": dialled})
    caller = entry.caller or (Side.FIRST if entry.first_leg_uuid else Side.SECOND)
    parties = session.terms.parties
    return Call(
        call_uuid=name,
        caller=caller,
        from_number=entry.caller_number or parties.get(caller, ""),
        to_number=parties.get(caller.other, "") if dialled else "",
        dialled=dialled,
        recorded=session.terms.record,
        rates=entry.rates,
    )


class _Compared(NamedTuple):
    interaction: Interaction
    events: tuple[AnyCarrierEvent, ...]
    differences: tuple[str, ...]


def _compared(known: Interaction, entry: ToldInteraction, rules: int) -> _Compared:
    """What was told of a conversation, put right where it disagrees with the record; and what was not told."""
    call, differences = known.call, list[str]()
    events: list[AnyCarrierEvent] = []
    # A first party that the carrier called need not have answered.
    answered = call.dialled or entry.duration > 0 or entry.ended_at is None or rules == 1
    if answered and known.caller.answered_at is None:
        events.append(_answer(known, LegName.CALLER, entry))
    if entry.ended_at is not None:
        legs = (LegName.CALLER, LegName.CALLEE) if call.dialled else (LegName.CALLER,)
        told = {name: _leg_share(known, name) for name in legs}
        asked = {name: entry.legs.get(_side(call, name)) for name in legs}
        shares = shared_out(entry, told, asked)
        for name in legs:
            hangup = getattr(known, name.value).hangup
            if hangup is None:
                events.append(_hangup(known, name, entry, shares[name]))
                differences.append(f"no callback told of the {name}'s end")
            elif shares[name] != told[name]:
                known = _with_hangup(known, name, hangup, shares[name])
                differences.append(f"the {name}'s leg comes to something else than was told")
        if call.dialled and known.callee.answered_at is None and shares[LegName.CALLEE].duration:
            events.insert(1 if events and isinstance(events[0], Answer) else 0, _answer(known, LegName.CALLEE, entry))
    recording = known.recording
    if entry.recording is not None and not isinstance(recording, RecordingCompleted):
        known = known.model_copy(update={"recording": None})
        events.append(_recording(known, entry))
        differences.append("no callback told of its recording")
    return _Compared(known, tuple(events), tuple(differences))


def _side(call: Call, name: LegName) -> Side:
    return call.caller if name is LegName.CALLER else call.caller.other


def _leg_share(known: Interaction, name: LegName) -> LegShare | None:
    hangup: Hangup | None = getattr(known, name.value).hangup
    if hangup is None:
        return None
    charge = hangup.carrier_charge or NO_CHARGE
    return LegShare(hangup.duration, charge.billed_duration, charge.amount)


def _charge(share: LegShare) -> CarrierCharge:
    return CarrierCharge(amount=share.amount, billed_duration=share.billed_duration, passed_on=True)


def _with_hangup(known: Interaction, name: LegName, hangup: Hangup, share: LegShare) -> Interaction:
    right = hangup.model_copy(update={"duration": share.duration, "carrier_charge": _charge(share)})
    leg = getattr(known, name.value).model_copy(update={"hangup": right})
    return known.model_copy(update={name.value: leg})


def _answer(known: Interaction, name: LegName, entry: ToldInteraction) -> Answer:
    """When a leg was answered, as well as the record tells."""
    asked = entry.legs.get(_side(known.call, name))
    at = entry.started_at
    if asked is not None and asked.answered_at is not None:
        at = max(at, asked.answered_at)
    return Answer(
        event_id=f"{known.call.call_uuid}:{name}:answer:asked",
        at=at,
        call=known.call,
        leg=name,
        leg_uuid=entry.leg_uuid(_side(known.call, name)),
    )


def _hangup(known: Interaction, name: LegName, entry: ToldInteraction, share: LegShare) -> Hangup:
    asked = entry.legs.get(_side(known.call, name))
    ended_at = (asked.ended_at if asked is not None else None) or entry.ended_at or entry.started_at
    return Hangup(
        event_id=f"{known.call.call_uuid}:{name}:hangup:asked",
        at=ended_at,
        call=known.call,
        leg=name,
        leg_uuid=entry.leg_uuid(_side(known.call, name)),
        duration=share.duration,
        cause=(asked.cause if asked is not None else "") or "Unknown",
        cause_code=asked.cause_code if asked is not None else 0,
        source=asked.source if asked is not None else "",
        carrier_charge=_charge(share),
    )


def _recording(known: Interaction, entry: ToldInteraction) -> RecordingCompleted:
    assert entry.recording is not None  # noqa: S101 its caller looked
    recording, ended_at = entry.recording, entry.ended_at or entry.started_at
    return RecordingCompleted(
        event_id=f"{known.call.call_uuid}:recording:asked",
        at=recording.ended_at or ended_at,
        call=known.call,
        recording_id=recording.recording_id,
        url=recording.url,
        duration=recording.duration,
        started_at=recording.started_at or entry.started_at,
        ended_at=recording.ended_at or ended_at,
        file_format=recording.file_format,
    )
