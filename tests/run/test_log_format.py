"""No log line holds what looks like a phone number, a PIN or a token; what operators look for stays."""

from __future__ import annotations

import json
import logging
import secrets
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masking.log_format import REMOVED, Format, LogFormatter, redacted

SOME_ID = "82735476-ea91-401d-b24d-127de1de1ce4"
DIGITS = st.integers(min_value=10**9, max_value=10**15 - 1).map(str)


def record(message: str, *arguments: object, fault: BaseException | None = None) -> logging.LogRecord:
    exc_info = (type(fault), fault, fault.__traceback__) if fault is not None else None
    return logging.LogRecord("masking.test", logging.ERROR, __file__, 1, message, arguments, exc_info)


def raised(words: str) -> ValueError:
    try:
        raise ValueError(words)
    except ValueError:
        fault = sys.exc_info()[1]
        assert isinstance(fault, ValueError)
        return fault


@given(number=DIGITS, before=st.sampled_from(["", "to ", "From=", "('", '"', "["]), after=st.sampled_from(
    ["", " ", ",", ")", "'", '"', "]", "."]
))  # fmt: skip
def test_a_phone_number_is_removed_however_it_is_quoted(number: str, before: str, after: str) -> None:
    for written in (number, f"+{number}", f"+{number[:1]} ({number[1:4]}) {number[4:7]}-{number[7:]}"):
        assert redacted(f"{before}{written}{after}") == f"{before}{REMOVED}{after}"


def test_tokens_pins_and_credentials_are_removed() -> None:
    for token in (secrets.token_urlsafe(30), secrets.token_urlsafe(30), "A" * 40, f"whsec_{'Zm9v' * 10}"):
        assert token not in redacted(f"rejected {token} there")
    assert redacted("Authorization: Basic TUE6c2VjcmV0") == f"Authorization: Basic {REMOVED}"
    assert redacted("authorization: Bearer abc.def-ghi") == f"authorization: Bearer {REMOVED}"
    assert redacted("PIN 4711, Digits=0815") == f"PIN {REMOVED}, Digits={REMOVED}"


@pytest.mark.parametrize(
    "line",
    [
        f"session-{SOME_ID} of run {SOME_ID}", f"callback {SOME_ID}:session:12",
        "MASKING_PORT: port 8080 of 127.0.0.1 is in use", "2026-11-27 02:00:00,123 took 12.5 ms, 1,000 sessions",
        "MATESTACCOUNT0000000 has 3 numbers left", "/opt/venv/lib/python3.11/site-packages/temporalio/worker.py:1234",
        "postgresql://127.0.0.1:54321/postgres", "task queue masking, build 4f2a9c1",
    ],
)  # fmt: skip
def test_what_operators_look_for_stays(line: str) -> None:
    assert redacted(line) == line


@pytest.mark.parametrize("form", ["text", "json"])
def test_exceptions_and_arguments_are_covered_too(form: Format) -> None:
    line = LogFormatter("gateway", form).format(record("for %s", "+12025550101", fault=raised("12025550102 is bad")))
    assert "5550101" not in line
    assert "5550102" not in line
    assert line.count(REMOVED) == 2
    assert "ValueError" in line
    if form == "json":
        told = json.loads(line)
        assert (told["process"], told["level"], told["logger"]) == ("gateway", "error", "masking.test")
        assert told["message"] == f"for {REMOVED}"
        assert "\n" not in line
    else:
        assert " gateway ERROR masking.test: " in line
