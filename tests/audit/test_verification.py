"""What verifying a pack proves, and what it says when something differs."""

from __future__ import annotations

import base64
import io
import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from masking.audit.contents import CALLBACKS, DECISIONS, HISTORY, LEDGER, SESSION
from masking.audit.keys import Keys
from masking.audit.pack import Record, read
from masking.audit.verification import Report, State, verify
from masking.domain.session import Session
from tests.audit.packed import KEYS, SIGNER, Recorded, recorded

pytestmark = pytest.mark.anyio

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
