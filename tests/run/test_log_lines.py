"""An outage is told now and then, not with every try."""

from __future__ import annotations

import asyncio
import logging

import psycopg
import pytest

from masking import log_lines
from masking.errors import ArchiveAway
from masking.log_lines import OncePerOutage


def record(message: str, level: int = logging.WARNING, fault: BaseException | None = None) -> logging.LogRecord:
    exc_info = (type(fault), fault, None) if fault is not None else None
    return logging.LogRecord("temporalio.activity", level, __file__, 1, message, (), exc_info)


def test_the_same_warning_is_written_once_and_later_says_how_often_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    once = OncePerOutage()
    assert [once.filter(record("the inbox waits")) for _ in range(3)] == [True, False, False]
    assert once.filter(record("callbacks wait"))

    monkeypatch.setattr(log_lines, "TOLD_AGAIN_AFTER_S", 0.0)
    again = record("the inbox waits")
    assert once.filter(again)
    assert again.getMessage() == "the inbox waits (and 2 times more before)"


def test_what_is_no_warning_is_always_written() -> None:
    once = OncePerOutage()
    assert all(once.filter(record("a session began", logging.INFO)) for _ in range(3))


def test_a_write_that_failed_is_told_without_its_traceback_and_what_is_unforeseen_with_it() -> None:
    once = OncePerOutage()
    told = []
    for attempt in (1, 2):
        failed = record(f"attempt {attempt}", fault=psycopg.errors.DiskFull("no space left"))
        failed.temporal_activity = {"activity_type": "record_session", "attempt": attempt}
        told += [failed.getMessage()] if once.filter(failed) else []
        assert failed.exc_info is None
    assert told == ["record_session waits: DiskFull"]

    slow = record("attempt 1", fault=asyncio.CancelledError("Activity cancelled"))
    slow.temporal_activity = {"activity_type": "open_session", "attempt": 1}
    assert once.filter(slow)
    assert (slow.getMessage(), slow.exc_info) == ("open_session waits: CancelledError", None)

    away = record("attempt 1", fault=ArchiveAway("s3://bucket: it cannot be reached; check the bucket"))
    away.temporal_activity = {"activity_type": "archive_batch", "attempt": 1}
    assert once.filter(away)
    assert (away.getMessage(), away.exc_info) == (
        "archive_batch waits: s3://bucket: it cannot be reached; check the bucket",
        None,
    )

    unforeseen = record("it failed", fault=ValueError("why"))
    assert once.filter(unforeseen)
    assert once.filter(unforeseen)
    assert unforeseen.exc_info is not None
