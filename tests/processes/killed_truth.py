"""What a run must have led to: what the network's records say, and what the same plan led to undisturbed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from masking.carriers.simulator.records import CallRecord, Leg
from tests.processes.killed_world import Lived, Told

PRICE = Decimal("0.0085")
BY_RUN = {
    "EventTimestamp",
    "RecordingEndTime",
    "RecordingResourceURL",
    "RecordingStartTime",
    "RecordingURL",
    "RecordingUUID",
    "SequenceNumber",
    "SessionUUID",
    "VirtualNumber",
}
"""Times and ids: another in each run."""

SHOWN_BY_RUN = {
    "callback_url",
    "created_time",
    "duration",
    "expiry_time",
    "interaction",
    "last_interaction_time",
    "modified_time",
    "recording_callback_url",
    "session_uuid",
    "total_call_amount",
    "total_call_billed_duration",
    "total_call_count",
    "total_session_amount",
    "virtual_number",
}
"""Times, ids, and what is compared call by call."""

MADE_PINS = {"first_party_pin", "second_party_pin"}

SECONDS = ("Duration", "RecordingDuration")
MONEY = ("Amount", "BilledDuration")

Callback = tuple[tuple[str, str], ...]
Callbacks = Counter[Callback]


@dataclass
class Ran:
    """What became of a run.

    Attributes:
        told: of each session the callbacks, by their ids.
        counts: what the tables hold in the end.
        listed: how many sessions the API lists.
        faults: what the network found.
        on_disk: what could be read in its files, while it ran or after its end.
        at_plivo: how much happened there, in words, where it masks.
    """

    sessions: list[Lived]
    told: dict[str, dict[str, Told]]
    counts: dict[str, int]
    listed: int
    faults: list[str] = field(default_factory=list)
    on_disk: list[str] = field(default_factory=list)
    at_plivo: dict[str, int] = field(default_factory=dict)


def faults(ran: Ran) -> Iterator[str]:
    """Where a run does not agree with what truly happened on its calls."""
    expected = {"sessions": len(ran.sessions), "callbacks": sum(map(len, ran.told.values()))}
    for name, count in ran.counts.items():
        if count != expected.get(name, 0):
            yield f"{name}: {count} instead of {expected.get(name, 0)}"
    if ran.listed != len(ran.sessions):
        yield f"{ran.listed} sessions are listed instead of {len(ran.sessions)}"
    if len({lived.uuid for lived in ran.sessions}) != len(ran.sessions):
        yield "two creates led to one session"
    yield from (f"readable on disk: {each}" for each in ran.on_disk)
    yield from ran.faults
    for lived in ran.sessions:
        yield from (f"{lived.ride.name}: {fault}" for fault in _faults_of(lived, ran.told.get(lived.uuid, {})))


def differences(calm: Ran, killed: Ran) -> Iterator[str]:
    """Where two runs of one plan led to something else, attempts that failed at the carrier left out."""
    if any(lived.lost for lived in calm.sessions):
        yield "callbacks were told in vain though nothing was killed"
    for one, other in zip(calm.sessions, killed.sessions, strict=True):
        name = one.ride.name
        for what, before, after in _compared(one, other, calm.told[one.uuid], killed.told.get(other.uuid, {})):
            if before != after:
                yield f"{name}: {what} {after} instead of {before}"


def _compared(
    one: Lived, other: Lived, told: dict[str, Told], told_other: dict[str, Told]
) -> Iterator[tuple[str, object, object]]:
    by_run = SHOWN_BY_RUN | (MADE_PINS if one.ride.body.get("generate_pin") else set())
    shown, shown_other = ({k: v for k, v in each.final.items() if k not in by_run} for each in (one, other))
    yield "the session shows", shown, shown_other
    # How long these talk, only the end of their session decides.
    unplanned = SECONDS + (MONEY if one.ride.ending == "in mid call" else ())
    for n, (record, record_other) in enumerate(zip(one.made, other.made, strict=True)):
        yield f"call {n} is charged", _charge(one, record, unplanned), _charge(other, record_other, unplanned)
    callbacks, callbacks_other = (
        _planned(each, heard, unplanned) for each, heard in ((one, told), (other, told_other))
    )
    yield "callbacks are missing:", [], sorted((callbacks - callbacks_other - _lost(other)).elements())
    yield "callbacks are too many:", [], sorted((callbacks_other - callbacks).elements())


def _charge(lived: Lived, record: CallRecord, unplanned: Iterable[str]) -> dict[str, Any]:
    found = _interactions(lived)[record.call_uuid]
    of_run = {"start_time", "end_time", "duration"} | {name for name in found if name.endswith("_resource_url")}
    of_run |= {"total_call_amount", "call_billed_duration"} if "Amount" in unplanned else set()
    kept = {name: value for name, value in found.items() if name not in of_run}
    return kept | {"has": sorted(name for name in found if name.endswith("_resource_url"))}


def _planned(lived: Lived, told: dict[str, Told], unplanned: Iterable[str]) -> Callbacks:
    """The callbacks, but for those of known attempts that failed, and without what the plan does not settle."""
    known = _interactions(lived)
    extra = [
        callback for record in lived.disturbed if record.call_uuid in known for callback in expected(lived, record)
    ]
    heard = Counter(_canonical(each.params) for each in told.values()) - Counter(map(_canonical, extra))
    left: Callbacks = Counter()
    for callback, times in heard.items():
        left[tuple((name, value) for name, value in callback if name not in unplanned)] += times
    return left


def _lost(lived: Lived) -> Callbacks:
    return Counter(map(_canonical, lived.lost))


def _faults_of(lived: Lived, told: dict[str, Told]) -> Iterator[str]:
    yield from lived.faults
    if lived.final.get("status") != "expired":
        yield f"its status is {lived.final.get('status')}"
    known, attempts = _interactions(lived), {record.call_uuid: record for record in lived.attempts}
    if strangers := set(known) - set(attempts):
        yield f"it knows {len(strangers)} calls that nobody made"
    for n, record in enumerate(lived.made):
        if record.call_uuid not in known:
            yield f"it does not know call {n}"
    heard = [attempts[uuid] for uuid in known if uuid in attempts]
    for record in heard:
        charged, legs = known[record.call_uuid], _legs(record)
        amount = sum((_amount(billed) for _, _, billed in legs), Decimal(0))
        found = (charged["duration"], charged["call_billed_duration"], Decimal(str(charged["total_call_amount"])))
        truth = (sum(leg[1] for leg in legs), sum(leg[2] for leg in legs), amount)
        counted = 2 if record.callees else 1
        if found != truth or charged["total_call_count"] != counted:
            yield f"a call is charged with {found} instead of {truth}, {charged['total_call_count']} legs"
    yield from _faults_of_bill(lived, known)
    if any(record.callees for record in lived.late):
        yield "it connected a call after its end"
    right = Counter(_canonical(each) for record in heard for each in expected(lived, record))
    right += Counter([_canonical({"EventName": "SessionTimeout"})])
    sent = Counter(_canonical(each.params) for each in told.values())
    missing = right - sent - _lost(lived)
    if missing or sent - right:
        yield f"it told {sorted((sent - right).elements())} instead of {sorted(missing.elements())}"
    for kind in ("session", "recording"):
        numbers = sorted(int(each.params["SequenceNumber"]) for id_, each in told.items() if f":{kind}:" in id_)
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"the sequence numbers of its {kind} callbacks are {numbers}"
    if any(each.changed for each in told.values()):
        yield "a callback came again with another content"


def _faults_of_bill(lived: Lived, known: dict[str, dict[str, Any]]) -> Iterator[str]:
    if lived.bill is None or lived.bill.settled_at is None:
        yield "it was not settled"
        return
    billed, calls, final = lived.bill.calls, known.values(), lived.final
    shown = (
        final["total_call_count"], final["total_call_billed_duration"], Decimal(str(final["total_call_amount"]))
    )  # fmt: skip
    if shown != (billed.call_count, billed.billed_duration, billed.amount):
        yield f"the API shows {shown}, the bill {billed}"
    summed = (
        sum(each["total_call_count"] for each in calls),
        sum(each["call_billed_duration"] for each in calls),
        sum((Decimal(str(each["total_call_amount"])) for each in calls), Decimal(0)),
    )
    if shown != summed:
        yield f"its totals are {shown}, its calls add up to {summed}"


def expected(lived: Lived, record: CallRecord) -> list[dict[str, str]]:
    """The callbacks about a call that its session knows, from the network's record of it."""
    caller, callee = record.from_number, record.callees[0].number.removeprefix("+") if record.callees else ""
    callee = callee or _callee_of(lived, caller)
    parties = {"From": caller, "To": callee}
    told: list[tuple[str, dict[str, str]]] = [("FirstPartyAnswer", {}), ("SecondPartyRing", {})]
    if lived.ride.body.get("is_pin_authentication_required"):
        status = "success" if f"+{caller}" == lived.ride.guest else "AuthorizedCaller"
        told.append(("PinAuthenticationStatus", {"PinAuthenticationStatus": status, "PinRetryCounter": "0"}))
    if record.callees and record.callees[0].answered_at is not None:
        told.append(("SecondPartyAnswer", {}))
    (first, *first_seconds), (second, *second_seconds) = _legs(record)
    told.append(("FirstPartyHangup", _charged(*first_seconds) | _cause(first)))
    told.append(("SecondPartyHangup", _charged(*second_seconds) | _cause(second)))
    both = [sum(each) for each in zip(first_seconds, second_seconds, strict=True)]
    told.append(("PartiesHangup", _charged(*both) | _cause(first)))
    if lived.ride.body["record"] and record.callees and record.callees[0].connected:
        told.append(("RecordingInitiated", {}))
        for recording in record.recordings:
            about = {"RecordingDuration": str(recording.seconds), "RecordingFormat": f".{recording.file_format}"}
            told.append(("RecordingCompleted", about))
    return [{"EventName": f"Session{name}", **parties, **about} for name, about in told]


def _callee_of(lived: Lived, caller: str) -> str:
    """Whom a caller was to reach."""
    ride = lived.ride
    return (ride.first if f"+{caller}" == ride.second else ride.second).removeprefix("+")


def _legs(record: CallRecord) -> tuple[tuple[Leg, int, int], tuple[Leg, int, int]]:
    """Both legs, each with its seconds and those that are billed. A callee never dialled ended as its caller."""
    caller = record.caller
    first = (caller, caller.duration, caller.bill_duration)
    if not record.callees:
        return first, (caller, 0, 0)
    callee = record.callees[0]
    return first, (callee, callee.duration, callee.bill_duration)


def _amount(billed: int) -> Decimal:
    return PRICE * billed / 60


def _charged(seconds: int, billed: int) -> dict[str, str]:
    return {"Amount": str(_amount(billed)), "BilledDuration": str(billed), "Duration": str(seconds)}


def _cause(leg: Leg) -> dict[str, str]:
    return {"PlivoHangupCause": leg.cause.name, "PlivoHangupCauseCode": str(leg.cause.code)}


def _canonical(params: dict[str, str]) -> Callback:
    kept = {name: value for name, value in params.items() if name not in BY_RUN}
    if "Amount" in kept:
        kept["Amount"] = format(Decimal(kept["Amount"]).normalize(), "f")
    return tuple(sorted(kept.items()))


def _interactions(lived: Lived) -> dict[str, dict[str, Any]]:
    """What the session shows of its calls, each by the carrier's id of its caller's leg."""
    calls = {record.call_uuid for record in (*lived.attempts, *lived.late)}
    found = {}
    for each in lived.final.get("interaction") or []:
        legs = [str(each.get(f"{side}_party_resource_url") or "").rsplit("/", 1)[-1] for side in ("first", "second")]
        found[next((leg for leg in legs if leg in calls), legs[0])] = each
    return found
