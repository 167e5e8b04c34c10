"""What verifying a pack proves, and what it says when something differs."""

from __future__ import annotations

import base64
import io
import logging
import os
import random
from collections.abc import Callable
from contextlib import ExitStack
from decimal import Decimal
from typing import Any

import pytest
from temporalio.api.history.v1 import HistoryEvent
from temporalio.contrib.pydantic import pydantic_data_converter

from masking.audit.contents import CALLBACKS, DECISIONS, HISTORY, LEDGER, SESSION
from masking.audit.history import start_in
from masking.audit.keys import Keys
from masking.audit.pack import Record, read
from masking.audit.payloads import resealed, unsealed
from masking.audit.replay import SILENCE, replay
from masking.audit.resumed import Led, combined, taken_version, unheard
from masking.audit.verification import Report, State, verify
from masking.domain.resuming import resumed as resumed_once_more
from masking.domain.resuming import start_of_resumed
from masking.domain.session import Session
from masking.domain.start import SessionStart
from masking.privacy.payload_codec import EncryptingCodec
from tests.audit.packed import KEYS, SIGNER, Recorded, recorded
from tests.domain.conversation import START
from tests.histories import KEYRING

pytestmark = pytest.mark.anyio

SIGNALED = "EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED"

BYTES = int(os.environ.get("CHANGED_BYTES", "60"))
"""Each is changed alone; every run takes others."""

GOLDEN = [
    "answered",
    "answered-r2",
    "answered-r3",
    "draining-r3",
    "disturbed",
    "joined-r2",
    "warned",
    "silent-r2",
    "long-r2",
    "long-r3",
    "refused-r2",
    "resumed-r3",
    "resumed-r4",
    "belied-r4",
    "early-r4",
]


@pytest.fixture(scope="module")
async def answered() -> Recorded:
    return await recorded("answered-r2")


def outcomes(report: Report) -> dict[str, str]:
    return {check.name: str(check.state) for check in report.checks}


def found(report: Report) -> dict[str, tuple[str, ...]]:
    """What differs, by check."""
    return {check.name: check.findings for check in report.checks if check.state is State.DIFFERS}


@pytest.mark.parametrize("name", GOLDEN)
async def test_every_recorded_session_of_any_day_is_proven(name: str) -> None:
    report = await verify((await recorded(name)).pack(), KEYS)
    assert set(outcomes(report).values()) == {"proven"}, report.checks
    assert report.outcome is State.PROVEN


def changing(section: str, place: int, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """What changes the body of a record before it is signed."""

    def changed(records: list[Record]) -> list[Record]:
        n = [n for n, record in enumerate(records) if record.section == section][place]
        return [*records[:n], records[n]._replace(body=change(dict(records[n].body))), *records[n + 1 :]]

    return changed


@pytest.mark.parametrize(
    ("section", "change", "told"),
    [
        pytest.param(LEDGER, {"total_session_amount": "0.0425"},
                     {"ledger": ("the bill's total_session_amount says 0.0425, the events give 0.03400",)},
                     id="a wrong sum"),
        pytest.param(LEDGER, {"total_call_count": 3},
                     {"ledger": ("the bill's total_call_count says 3, the events give 2",)}, id="a wrong count"),
        pytest.param(SESSION, {"phase": "active", "total_call_billed_duration": 0},
                     {"state": ("the session's row, phase, says active, the events give settled",
                                "the session's row, total_call_billed_duration, says 0, the events give 240")},
                     id="a wrong row"),
    ],
)  # fmt: skip
async def test_what_is_stored_wrongly_is_told_with_what_the_events_give(
    answered: Recorded, section: str, change: dict[str, Any], told: dict[str, tuple[str, ...]]
) -> None:
    report = await verify(answered.pack(changing(section, 0, lambda body: body | change)), KEYS)
    assert found(report) == told
    assert report.outcome is State.DIFFERS


async def test_a_state_that_the_events_do_not_give_is_told_by_its_fields(answered: Recorded) -> None:
    def altered(body: dict[str, Any]) -> dict[str, Any]:
        session = answered.cipher.open(Session, base64.b64decode(body["session"]["sealed"]))
        terms = session.terms.model_copy(update={"first_party": "+12025550148"})
        sealed = answered.cipher.seal(session.model_copy(update={"terms": terms, "remarks": ("never said",)}))
        return body | {"session": {"sealed": base64.b64encode(sealed).decode(), "clear": None}}

    assert found(await verify(answered.pack(changing(SESSION, 0, altered)), KEYS)) == {
        "state": (
            "the session.terms.first_party says +12025550148, the events give +12025550101",
            "the session.remarks[0] says never said, the events give nothing",
        )
    }


def without(section: str, place: int) -> Any:
    def changed(records: list[Record]) -> list[Record]:
        n = [n for n, record in enumerate(records) if record.section == section][place]
        return [*records[:n], *records[n + 1 :]]

    return changed


async def test_what_is_missing_from_what_is_stored_is_told(answered: Recorded) -> None:
    uuid = answered.uuid
    assert found(await verify(answered.pack(without(CALLBACKS, 0)), KEYS)) == {
        "callbacks": (f"callback {uuid}:session:1 says nothing, the events give a callback",)
    }
    assert found(await verify(answered.pack(without(DECISIONS, 0)), KEYS)) == {
        "decisions": ("call golden says nothing, the events give a connected call",)
    }
    assert found(await verify(answered.pack(without(LEDGER, 0)), KEYS)) == {"ledger": ("the bill is not stored",)}
    gone = await verify(answered.pack(without(HISTORY, 20)), KEYS)
    assert found(gone) == {"history": ("the history lacks events, or has them in a wrong order",)}
    assert outcomes(gone)["ledger"] == "not done"


async def test_the_ledger_s_entries_are_those_that_the_events_give(answered: Recorded) -> None:
    name = f"{answered.uuid}:golden:caller:hangup:caller:charge:USD"

    altered = answered.pack(changing(LEDGER, 1, lambda body: body | {"amount": "0.01701"}))
    assert found(await verify(altered, KEYS)) == {
        "ledger": (f"entry {name}.amount says 0.01701, the events give 0.01700",)
    }
    assert found(await verify(answered.pack(without(LEDGER, 1)), KEYS)) == {
        "ledger": (f"entry {name} says nothing, the events give 0.01700",)
    }


async def test_sums_from_before_there_was_a_ledger_are_compared_as_sums(answered: Recorded) -> None:
    def summed(amount: str) -> Any:
        def changed(records: list[Record]) -> list[Record]:
            entries = [n for n, record in enumerate(records) if record.record.startswith("entry ")]
            sums = {"cause": "settlement", "leg": "", "leg_uuid": "", "amount": amount}
            kept = records[entries[0]]
            return [*records[: entries[0]], kept._replace(record="entry sums", body=kept.body | sums)]

        return changed

    assert found(await verify(answered.pack(summed("0.034")), KEYS)) == {}
    assert found(await verify(answered.pack(summed("0.044")), KEYS)) == {
        "ledger": ("the ledger's charges says 0.044, the events give 0.03400",)
    }


async def test_a_history_that_the_code_would_not_have_made_is_told(answered: Recorded) -> None:
    def changed(records: list[Record]) -> list[Record]:
        for n, record in enumerate(records):
            attributes = record.body.get("event", {}).get("activityTaskScheduledEventAttributes")
            if attributes:
                event = record.body["event"] | {
                    "activityTaskScheduledEventAttributes": attributes | {"activityType": {"name": "something_else"}}
                }
                return [*records[:n], record._replace(body=record.body | {"event": event}), *records[n + 1 :]]
        raise AssertionError

    (told,) = found(await verify(answered.pack(changed), KEYS))["replay"]
    assert told.startswith("the history does not fit the workflow code: ")
    assert "something_else" in told


async def test_what_a_run_hands_to_the_next_is_checked_as_well() -> None:
    long = await recorded("long-r2")

    def swapped(records: list[Record]) -> list[Record]:
        """The second run begins with what the third began with."""
        starts = [n for n, record in enumerate(records) if record.record == "event 1"]
        of_third = records[starts[2]].body["event"]["workflowExecutionStartedEventAttributes"]["input"]
        second = records[starts[1]]
        attributes = second.body["event"]["workflowExecutionStartedEventAttributes"] | {"input": of_third}
        event = second.body["event"] | {"workflowExecutionStartedEventAttributes": attributes}
        records[starts[1]] = second._replace(body=second.body | {"event": event})
        return records

    told = found(await verify(long.pack(swapped), KEYS))
    assert "replay" in told
    one_less = await verify(long.pack(lambda records: [each for each in records if each.body.get("run") != 2]), KEYS)
    assert found(one_less) == {"history": ("the header tells of 3 runs, there are 2",)}


async def test_without_the_key_bytes_and_signature_are_proven_and_the_rest_is_said_to_be_not(
    answered: Recorded,
) -> None:
    report = await verify(answered.pack(), Keys(None, "its key was destroyed", SIGNER.public_key))
    assert outcomes(report) == {
        "bytes": "proven", "signature": "proven", "signer": "proven", "history": "not done", "replay": "not done",
        "bill": "not done", "state": "not done", "callbacks": "not done", "decisions": "not done",
        "ledger": "not done",
    }  # fmt: skip
    assert {check.findings for check in report.checks[3:]} == {("its key was destroyed",)}
    assert report.outcome is State.NOT_DONE
    assert b"+1202555" not in answered.content()
    assert "another session's" in str((await verify(answered.pack(), KEYS._replace(data_key=b"x" * 32))).checks[3])


async def test_who_signed_it_counts(answered: Recorded) -> None:
    nobody = await verify(answered.pack(), KEYS._replace(signer=None))
    assert (outcomes(nobody)["signer"], nobody.outcome) == ("not done", State.NOT_DONE)
    assert SIGNER.public_key in nobody.checks[2].findings[0]
    other = await verify(answered.pack(), KEYS._replace(signer=base64.b64encode(b"k" * 32).decode()))
    assert found(other) == {"signer": (f"it was signed by another key, {SIGNER.public_key}",)}


async def test_one_changed_byte_of_a_whole_pack_is_told_by_its_record(answered: Recorded) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201
    content, chance = answered.content(), random.Random(seed)
    lines = content.split(b"\n")
    for _ in range(BYTES):
        position = chance.randrange(len(content))
        changed = bytearray(content)
        changed[position] ^= 1 << chance.randrange(8)
        pack = read(io.BytesIO(bytes(changed)))
        line = content[:position].count(b"\n")
        if pack.faults:
            assert pack.faults[0].line in (line + 1, None), position
        else:
            # Another digit of the signature is a digit, too: that the signature is another one, is told by its check.
            assert line == len(lines) - 2, position
            assert "signature" in found(await verify(pack, KEYS)), position
    broken = content.replace(lines[12], lines[12].replace(b'"eventId":"12"', b'"eventId":"13"'))
    report = await verify(read(io.BytesIO(broken)), KEYS)
    assert found(report) == {"bytes": ("line 13: history event 12 was altered",)}
    assert outcomes(report)["replay"] == "not done"


@pytest.fixture(scope="module")
async def resumed() -> Recorded:
    return await recorded("resumed-r3")


def only_the_run_that_took_over(records: list[Record]) -> list[Record]:
    return [
        record._replace(body=record.body | {"run": 1}) if record.section == HISTORY else record
        for record in records
        if record.section != HISTORY or record.body["run"] == 2
    ]


async def test_of_a_session_whose_lost_run_is_gone_nothing_is_said_to_be_proven_that_rests_on_it(
    resumed: Recorded,
) -> None:
    report = await verify(resumed.pack(only_the_run_that_took_over, runs=1), KEYS)

    proven = {name for name, state in outcomes(report).items() if state == "proven"}
    assert proven == {"bytes", "signature", "signer", "replay"}
    assert found(report) == {}
    assert report.outcome is State.NOT_DONE
    (why,) = {finding for check in report.checks for finding in check.findings}
    assert why.startswith("the history begins in the middle: what was before the session was resumed, at 2026-11-27")


async def test_where_the_lost_run_is_gone_what_differs_is_still_told(resumed: Recorded) -> None:
    def altered(records: list[Record]) -> list[Record]:
        records = changing(LEDGER, 0, lambda body: body | {"total_call_count": 3})(records)
        newest = [n for n, record in enumerate(records) if record.section == CALLBACKS][-1]
        oldest = next(n for n, record in enumerate(records) if record.section == CALLBACKS)
        return only_the_run_that_took_over([each for n, each in enumerate(records) if n not in (oldest, newest)])

    differing = found(await verify(resumed.pack(altered, runs=1), KEYS))
    assert set(differing) == {"ledger", "callbacks"}, "the callback of before is not proven, and not missed"
    assert len(differing["callbacks"]) == 1


def beginning_with(resumed: Recorded, change: Callable[[SessionStart], SessionStart]) -> Any:
    """Lets the run that took over have begun with something else."""

    def changed(records: list[Record]) -> list[Record]:
        n = next(n for n, each in enumerate(records) if each.section == HISTORY and each.body["run"] == 2)
        event = unsealed(records[n].body["event"], resumed.cipher)
        started = event.workflow_execution_started_event_attributes
        start = start_in([event])
        assert start is not None
        payloads = pydantic_data_converter.payload_converter.to_payloads([change(start)])
        started.input.payloads[0].CopyFrom(payloads[0])
        body = records[n].body | {"event": resealed(event, EncryptingCodec(KEYRING), {}, resumed.cipher)}
        return [*records[:n], records[n]._replace(body=body), *records[n + 1 :]]

    return changed


def with_session(start: SessionStart, **changes: object) -> SessionStart:
    assert start.carried is not None
    session = start.carried.session.model_copy(update=changes)
    return start.model_copy(update={"carried": start.carried.model_copy(update={"session": session})})


async def test_a_run_that_took_over_a_state_to_which_the_lost_one_did_not_lead_is_found(resumed: Recorded) -> None:
    cheaper = beginning_with(resumed, lambda start: with_session(start, session_fee=Decimal("-1")))
    differing = found(await verify(resumed.pack(cheaper), KEYS))
    assert differing["replay"] == ("a run took over version 4 of the session, which is none to which the lost run led",)

    ahead = beginning_with(resumed, lambda start: with_session(start, version=90))
    report = await verify(resumed.pack(ahead), KEYS)
    (history,) = (check for check in report.checks if check.name == "history")
    assert history.state is State.NOT_DONE
    assert history.findings[0].endswith("ends before version 89, which was taken over")


async def test_a_run_may_have_taken_over_what_the_lost_one_had_begun_with(resumed: Recorded) -> None:
    """Opening a session writes it down, and no step of its workflow does."""
    at_first = {"interactions": {}, "session_sequence": 0, "recording_sequence": 0, "version": 2}
    took_over = HistoryEvent.FromString(resumed.events[1][0].SerializeToString())
    start = start_in([took_over])
    assert start is not None
    payloads = pydantic_data_converter.payload_converter.to_payloads([with_session(start, **at_first)])
    took_over.workflow_execution_started_event_attributes.input.payloads[0].CopyFrom(payloads[0])

    replayed = await replay(resumed.uuid, [resumed.events[0], [took_over, *resumed.events[1][1:]]])
    assert (replayed.resumed.wrong, replayed.resumed.unproven) == ((), "")

    # One that took over, and was lost before it did anything.
    again = start_in([took_over])
    assert again is not None
    assert again.carried is not None
    third = start_of_resumed(resumed_once_more(again.carried.session, START), "the second run")
    payloads = pydantic_data_converter.payload_converter.to_payloads([third])
    last = HistoryEvent.FromString(took_over.SerializeToString())
    last.workflow_execution_started_event_attributes.input.payloads[0].CopyFrom(payloads[0])
    replayed = await replay(resumed.uuid, [resumed.events[0], [took_over], [last, *resumed.events[1][1:]]])
    assert (replayed.resumed.wrong, replayed.resumed.unproven) == ((), "")


async def test_a_run_that_took_over_from_another_one_than_is_there_does_not_follow_from_it(resumed: Recorded) -> None:
    other = beginning_with(
        resumed,
        lambda start: start.model_copy(
            update={"carried": start.carried and start.carried.model_copy(update={"resumes": "another"})}
        ),
    )
    assert found(await verify(resumed.pack(other), KEYS)) == {
        "history": ("run 2 does not follow from the one before it",)
    }


async def test_what_a_lost_run_wrote_in_a_workflow_task_that_it_did_not_end_is_led_to_by_its_signals(
    resumed: Recorded,
) -> None:
    def cut_after(signal: int) -> Callable[[list[Record]], list[Record]]:
        def cut(records: list[Record]) -> list[Record]:
            lost = [each for each in records if each.section == HISTORY and each.body["run"] == 1]
            signals = [n for n, each in enumerate(lost) if each.body["event"]["eventType"] == SIGNALED]
            kept, end = lost[: signals[signal - 1] + 1], lost[-1]
            event = end.body["event"] | {"eventId": str(len(kept) + 1)}
            others = [each for each in records if each not in lost]
            return [*kept, end._replace(body=end.body | {"event": event}), *others]

        return cut

    assert len(resumed.events[0]) > 12
    # The state that was taken over holds three events.
    for signal in (3, 4):
        report = await verify(resumed.pack(cut_after(signal)), KEYS)
        assert set(outcomes(report).values()) == {"proven"}, report.checks
    report = await verify(resumed.pack(cut_after(2)), KEYS)
    assert report.outcome is State.NOT_DONE
    assert "ends before version 4, which was taken over" in str(report.checks)


async def test_what_a_lost_run_had_decided_beyond_the_state_that_was_taken_over_does_not_count(
    resumed: Recorded,
) -> None:
    replayed = await replay(resumed.uuid, resumed.events)
    start = start_in(resumed.events[1])
    assert start is not None
    assert start.carried is not None
    told = {each.sequence: each for each in replayed.callbacks.values() if each.kind == "session"}
    newest = start.carried.session.session_sequence
    lost = Led(None, {"written": told[newest], "never written": told[newest + 1]}, newest=taken_version(start))
    callbacks, _ = combined([lost, Led(start, {"of the run that goes on": told[newest + 2]})])
    assert set(callbacks) == {"written", "of the run that goes on"}


async def test_an_event_that_only_the_lost_run_heard_is_told(resumed: Recorded) -> None:
    replayed = await replay(resumed.uuid, resumed.events)
    (lost,) = (each for each in replayed.resumed.heard if each.event_id == "golden:callee:hangup")
    assert replayed.session is not None
    assert unheard(replayed.session, replayed.resumed.heard) == []
    another = lost.model_copy(update={"event_id": "x", "call": lost.call.model_copy(update={"call_uuid": "silver"})})
    assert unheard(replayed.session, [*replayed.resumed.heard, another]) == ["x"]


def test_replays_side_by_side_leave_the_sdk_as_loud_as_it_was() -> None:
    logger = logging.getLogger("temporalio")
    with ExitStack() as last:
        with SILENCE.kept():
            last.enter_context(SILENCE.kept())
        assert not logger.isEnabledFor(logging.CRITICAL)
    assert logger.isEnabledFor(logging.ERROR)
