"""The form of evidence packs: whatever is changed in a file is found, and told by its line."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masking.audit import pack
from masking.audit.pack import Code, Header, Pack, Record, canonical, read, signed_part, written
from masking.audit.signing import Signer, is_signed
from masking.privacy.keyring import Keyring

SIGNER = Signer(Keyring({"k1": b"1" * 32}, "k1", b"2" * 32))
HEADER = Header(
    session_uuid="4189591e-d004-4801-abdf-8893c15e5dcd",
    exported_at=datetime(2026, 11, 23, 14, tzinfo=UTC),
    is_open=True,
    data_key_id="",
    public_key=SIGNER.public_key,
    code=Code(version="0.1.0", commit="", revision=2),
    runs=1,
)
RECORDS = [
    Record("history", "event 1", {"event": {"eventId": "1"}, "run": "r"}),
    Record("history", "event 2", {"event": {"eventId": "2", "told": "é"}, "run": "r"}),
    Record("ledger", "settlement", {"total": "0.0170"}),
]
LINES = list(written(HEADER, RECORDS, SIGNER.sign))
WHOLE = b"".join(LINES)


def read_of(content: bytes) -> Pack:
    return read(io.BytesIO(content))


def faults(content: bytes) -> list[str]:
    """What is found wrong with a file, its signature included."""
    found = read_of(content)
    told = [str(fault) for fault in found.faults]
    if not told and found.header is not None and found.seal is not None:
        seal = found.seal
        if not is_signed(found.header.public_key, seal.signature, signed_part(seal.lines, seal.root)):
            told.append("signature")
    return told


def test_a_pack_is_read_as_it_was_written() -> None:
    found = read_of(WHOLE)
    assert (found.header, found.records, found.faults) == (HEADER, RECORDS, [])
    assert faults(WHOLE) == []
    assert all(canonical(json.loads(line)) for line in LINES), "JSON Lines"


def test_every_byte_that_is_changed_is_found_and_told_by_its_line() -> None:
    begins = [sum(map(len, LINES[:n])) for n in range(len(LINES) + 1)]
    for position, byte in enumerate(WHOLE):
        line = next(n for n in range(len(LINES)) if begins[n + 1] > position)
        for other in {byte ^ 1, byte ^ 0x20, ord("\n")} - {byte}:
            told = faults(WHOLE[:position] + bytes([other]) + WHOLE[position + 1 :])
            assert told, (position, other)
            if line < len(LINES) - 1:
                assert told[0].startswith(f"line {line + 1}: "), (position, other, told)
                if byte != ord("\n") and other != ord("\n"):
                    assert len(told) == 1, (position, other, told)


def test_every_bit_of_the_seal_that_is_changed_is_found() -> None:
    before = WHOLE[: -len(LINES[-1])]
    for position, byte in enumerate(LINES[-1]):
        for bit in range(8):
            assert faults(before + LINES[-1][:position] + bytes([byte ^ 1 << bit]) + LINES[-1][position + 1 :])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(b"", ["the file is empty"], id="empty"),
        pytest.param(b"hello\n", ["line 1: this is no evidence pack"], id="something else"),
        pytest.param(b"{}\n" * 3, ["line 1: this is no evidence pack"], id="other JSON"),
        pytest.param(b"\0" * 5000, ["line 1: the file ends in the middle of it"], id="no lines"),
        pytest.param(
            b"".join(LINES[:3]), ["it has no seal: it was cut off after line 3"], id="cut off between two lines"
        ),
        pytest.param(
            b"".join(LINES[:3])[:-1],
            ["line 3: the file ends in the middle of it (history event 2)",
             "it has no seal: it was cut off after line 3"],
            id="cut off in a line",
        ),
        pytest.param(WHOLE[:-1], ["line 5: the file ends in the middle of it",
                                  "it has no seal: it was cut off after line 5"], id="without the last newline"),
        pytest.param(WHOLE + b"\n", ["line 6: bytes follow the seal"], id="trailing newline"),
        pytest.param(WHOLE + WHOLE, ["line 6: bytes follow the seal"], id="two packs"),
        pytest.param(
            b"".join([*LINES[:2], *LINES[3:]]),
            ["line 3: before ledger settlement, 1 line is missing"],
            id="a line is missing",
        ),
        pytest.param(
            b"".join([*LINES[:3], LINES[4]]), ["line 4: before the seal, 1 line is missing"], id="the last is missing"
        ),
        pytest.param(
            b"".join([*LINES[:3], *LINES[2:]]), ["line 4: history event 2 stands here twice"], id="a line twice"
        ),
        pytest.param(
            b"".join([LINES[0], LINES[2], LINES[1], *LINES[3:]]),
            ["line 2: before history event 2, 1 line is missing", "line 3: history event 1 stands in a wrong place",
             "line 4: before ledger settlement, 1 line is missing"],
            id="two lines in the wrong order",
        ),
        pytest.param(WHOLE.replace(b"\n", b"\r\n"), ["line 1: this is no evidence pack"], id="other line ends"),
        pytest.param(
            WHOLE.replace(b'"total":"0.0170"', b'"total": "0.0170"'),
            ["line 4: ledger settlement was altered"],
            id="another spelling",
        ),
        pytest.param(
            WHOLE.replace(b"\\u00e9", "é".encode()), ["line 3: history event 2 was altered"], id="another escape"
        ),
    ],
)  # fmt: skip
def test_what_was_done_to_a_file_is_told(content: bytes, told: list[str]) -> None:
    assert faults(content) == told


def test_a_line_of_another_pack_with_its_own_hash_is_found() -> None:
    others = list(written(HEADER, [RECORDS[0], RECORDS[0], RECORDS[2]], SIGNER.sign))
    assert faults(b"".join([*LINES[:2], others[2], *LINES[3:]])) == [
        "line 4: ledger settlement does not follow from the line before it: that one was put in its place"
    ]
    assert faults(b"".join([*others[:-1], LINES[-1]])) == ["line 5: the seal is not of these lines"]


def test_who_signs_anew_has_another_key() -> None:
    forger = Signer(Keyring({"k1": b"1" * 32}, "k1", b"9" * 32))
    forged = b"".join(written(HEADER, RECORDS[:2], forger.sign))
    assert faults(forged) == ["signature"], "the header names the key that did not sign"
    assert forger.public_key != SIGNER.public_key


def resealed(rest: bytes) -> bytes:
    """A pack with one line of somebody who can sign and writes JSON in another way."""
    digest = hashlib.sha256(rest).hexdigest()
    seal = canonical({"lines": 2, "root": digest, "signature": SIGNER.sign(signed_part(2, digest)).hex()})
    return LINES[0] + b'{"hash":"' + digest.encode() + b'",' + rest[1:] + b"\n" + seal + b"\n"


PREV = json.loads(LINES[0])["hash"].encode()


@pytest.mark.parametrize(
    ("rest", "found"),
    [
        (b'{"body":{},"n":2,"prev":"' + PREV + b'","record":"a","section":"b"}', False),
        (b'{"body":{"a":1,"a":2},"n":2,"prev":"' + PREV + b'","record":"a","section":"b"}', True),
        (b'{"body":{"b":1,"a":2},"n":2,"prev":"' + PREV + b'","record":"a","section":"b"}', True),
        (b'{"body":{"a":"\\u0041"},"n":2,"prev":"' + PREV + b'","record":"a","section":"b"}', True),
        (b'{"body":{"a":NaN},"n":2,"prev":"' + PREV + b'","record":"a","section":"b"}', True),
        (b'{"body":[],"n":2,"prev":"' + PREV + b'","record":"a","section":"b"}', True),
        (b'{"body":{},"n":true,"prev":"' + PREV + b'","record":"a","section":"b"}', True),
        (b'{"body":' + b"[" * 100_000 + b"}", True),
        (b'{"body":{}}', True),
    ],
    ids=["as we do", "a key twice", "order", "escape", "no number", "no object", "truth", "deep", "less"],
)
def test_a_line_is_written_in_one_way_only_even_by_who_can_sign(rest: bytes, found: bool) -> None:
    assert bool(faults(resealed(rest))) is found


def test_a_line_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "LONGEST_LINE", 2000)
    assert faults(LINES[0] + b"x" * 5000) == ["line 2: it is longer than any line of a pack, or the whole file is"]
    monkeypatch.setattr(pack, "LARGEST_PACK", 1000)
    assert "or the whole file is" in faults(LINES[0] * 3)[-1]


@settings(max_examples=50)
@given(st.binary(max_size=300))
def test_nothing_makes_the_reader_fail(content: bytes) -> None:
    assert faults(content)
    assert faults(LINES[0] + content)
    assert faults(WHOLE + content) == ([] if not content else ["line 6: bytes follow the seal"])
