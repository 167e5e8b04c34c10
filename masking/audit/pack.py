"""The form of an evidence pack: JSON Lines, chained by hashes, signed.

Line 1 is the header, then one line for each record, the last line is the seal. Every line but the seal is

    {"hash":"<SHA-256 of the rest>","body":…,"n":17,"prev":"<hash of the line before>","record":…,"section":…}

where "the rest" is the line without its `hash`, and the seal holds the number of lines before it, the hash of the
last of them, and the signature of both. Each line is written in one way only: keys in order, no spaces, ASCII.
So any byte that was changed is found, and it is known in which line.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, BinaryIO, NamedTuple

from pydantic import ValidationError

from masking.domain.model import Model

FORMAT = "masking evidence 1"
SUFFIX = ".evidence"

LONGEST_LINE = 16 * 1024 * 1024
LARGEST_PACK = 512 * 1024 * 1024
"""Bytes. Temporal lets no event grow beyond 4 MB, and no history beyond 50 MB."""

MOST_FAULTS = 100
"""So many are told; a file with more is not worth the reader's time."""

HEADER = "header"

Body = dict[str, Any]
Sign = Callable[[bytes], bytes]
"""An Ed25519 signature, 64 bytes."""

_START = re.compile(rb'\{"hash":"([0-9a-f]{64})",')
_START_LENGTH = len('{"hash":"') + 64 + len('",')
_SEAL = re.compile(rb'\{"lines":([1-9][0-9]{0,9}),"root":"([0-9a-f]{64})","signature":"([0-9a-f]{128})"\}\n')


class Code(Model):
    """The code that exported a pack: the package's version, the commit where it is known, the newest rules it knew."""

    version: str
    commit: str
    revision: int


class Header(Model):
    """What a pack says about itself.

    Attributes:
        is_open: whether what is personal stands in the clear; otherwise it is sealed under the session's data key.
        data_key_id: tells whether a data key is the right one, and nothing else about it; empty in an open pack.
        public_key: of whoever signed it, 32 bytes in base64.
        runs: of the session's workflow.
    """

    format: str = FORMAT
    session_uuid: str
    exported_at: datetime
    is_open: bool
    data_key_id: str
    public_key: str
    code: Code
    runs: int


class Record(NamedTuple):
    """One record of a pack, `section` and `record` naming it together: "history", "event 12"."""

    section: str
    record: str
    body: Body


class Seal(NamedTuple):
    """What stands at the end: how many lines there are before it, the hash of the last, the signature of both."""

    lines: int
    root: str
    signature: bytes


class Fault(NamedTuple):
    """What is wrong with the bytes of a pack. `line` counts from 1; None for the file as a whole."""

    line: int | None
    what: str

    def __str__(self) -> str:
        return self.what if self.line is None else f"line {self.line}: {self.what}"


class Pack(NamedTuple):
    """What was read of a file. With a fault, `records` holds only the lines that are as they were written."""

    header: Header | None
    records: list[Record]
    seal: Seal | None
    faults: list[Fault]


def canonical(value: object) -> bytes:
    """The one way in which a value is written.

    Raises:
        ValueError: JSON has no such value.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def signed_part(lines: int, root: str) -> bytes:
    """What the signature is of."""
    return f"{FORMAT}\n{lines} {root}\n".encode("ascii")


def written(header: Header, records: Iterable[Record], sign: Sign) -> Iterator[bytes]:
    """The lines of a pack."""
    prev, n = "", 0
    first = Record(HEADER, header.session_uuid, header.model_dump(mode="json"))
    for n, each in enumerate((first, *records), start=1):
        rest = canonical({"body": each.body, "n": n, "prev": prev, "record": each.record, "section": each.section})
        prev = hashlib.sha256(rest).hexdigest()
        yield b'{"hash":"' + prev.encode() + b'",' + rest[1:] + b"\n"
    signature = sign(signed_part(n, prev)).hex()
    yield canonical({"lines": n, "root": prev, "signature": signature}) + b"\n"


def read(stream: BinaryIO) -> Pack:
    """Read a pack, and find what is wrong with its bytes: the chain, not the signature.

    Never raises for what the stream holds.
    """
    return _Reader().read(stream)


def read_header(line: bytes) -> Header | None:
    """The header in the first line of a pack; None if that was altered, or is none."""
    content = _content(line) if line.endswith(b"\n") else None
    if content is None or content[0]["section"] != HEADER:
        return None
    return _header(content[0]["body"])


class _Reader:
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.faults: list[Fault] = []
        self.header: Header | None = None
        self.seal: Seal | None = None
        # Of the line before; None when that was altered, so that only that one is told of.
        self.hash: str | None = ""
        self.n = 0

    def read(self, stream: BinaryIO) -> Pack:
        size = 0
        for number in range(1, LARGEST_PACK):
            line = stream.readline(LONGEST_LINE + 1)
            size += len(line)
            if not line:
                self._end(number - 1)
                break
            if len(line) > LONGEST_LINE or size > LARGEST_PACK:
                self._fault(number, "it is longer than any line of a pack, or the whole file is")
                break
            if self.seal is not None:
                self._fault(number, "bytes follow the seal")
                break
            self._take(number, line)
            if number == 1 and self.header is None and not self.faults:
                self._fault(1, "this is no evidence pack")
            if len(self.faults) >= MOST_FAULTS or (number == 1 and self.header is None):
                break
        return Pack(self.header, self.records, self.seal, self.faults)

    def _take(self, number: int, line: bytes) -> None:
        if sealed := _SEAL.fullmatch(line):
            self._sealed(number, Seal(int(sealed[1]), sealed[2].decode(), bytes.fromhex(sealed[3].decode())))
            return
        if not line.endswith(b"\n"):
            self._altered(number, f"the file ends in the middle of it{_named(line)}")
            return
        content = _content(line)
        if content is None:
            if line.startswith(b'{"lines":'):
                self._altered(number, "the seal was altered")
            else:
                self._altered(number, "this is no evidence pack" if number == 1 else f"{_name(line)} was altered")
            return
        rest, digest = content
        record = Record(rest["section"], rest["record"], rest["body"])
        self._follows(number, rest, record)
        self.hash, self.n = digest, rest["n"]
        if number > 1:
            self.records.append(record)
        elif record.section == HEADER:
            self.header = _header(record.body)

    def _follows(self, number: int, rest: Body, record: Record) -> None:
        if self.hash is None:
            return
        name, n = f"{record.section} {record.record}", rest["n"]
        if n == self.n + 1 and rest["prev"] == self.hash:
            return
        if n == self.n:
            self._fault(number, f"{name} stands here twice")
        elif n <= self.n:
            self._fault(number, f"{name} stands in a wrong place")
        elif n > self.n + 1:
            missing = n - self.n - 1
            self._fault(number, f"before {name}, {missing} line{'s are' if missing > 1 else ' is'} missing")
        else:
            self._fault(number, f"{name} does not follow from the line before it: that one was put in its place")

    def _sealed(self, number: int, seal: Seal) -> None:
        self.seal = seal
        if self.hash is None:
            return
        if seal.lines > self.n:
            missing = seal.lines - self.n
            self._fault(number, f"before the seal, {missing} line{'s are' if missing > 1 else ' is'} missing")
        elif (seal.lines, seal.root) != (self.n, self.hash):
            self._fault(number, "the seal is not of these lines")

    def _end(self, lines: int) -> None:
        if not lines:
            self._fault(None, "the file is empty")
        elif self.seal is None and not any("the seal" in each.what for each in self.faults):
            self._fault(None, f"it has no seal: it was cut off after line {lines}")

    def _altered(self, number: int, what: str) -> None:
        self._fault(number, what)
        self.hash = None
        self.n += 1

    def _fault(self, line: int | None, what: str) -> None:
        self.faults.append(Fault(line, what))


def _content(line: bytes) -> tuple[Body, str] | None:
    """A line without its hash, and that; None when it is not as it was written."""
    start = _START.match(line)
    if start is None:
        return None
    rest = b"{" + line[_START_LENGTH:-1]
    digest = hashlib.sha256(rest).hexdigest()
    if digest.encode() != start[1]:
        return None
    try:
        parsed = json.loads(rest)
        is_canonical = canonical(parsed) == rest
    except (ValueError, RecursionError):
        return None
    if not is_canonical or set(parsed) != {"body", "n", "prev", "record", "section"}:
        return None
    kinds = (("body", dict), ("n", int), ("prev", str), ("record", str), ("section", str))
    return (parsed, digest) if all(type(parsed[key]) is kind for key, kind in kinds) else None


def _header(body: Body) -> Header | None:
    try:
        header = Header.model_validate(body)
    except ValidationError:
        return None
    return header if header.format == FORMAT else None


_TAIL = re.compile(rb'"n":[0-9]+,"prev":"[^"]*","record":"([ -!#-~]{1,200})","section":"([a-z]{1,20})"\}\s*$')


def _name(line: bytes) -> str:
    """What an altered line is, as far as can be told."""
    found = _TAIL.search(line[-1000:])
    return f"{found[2].decode()} {found[1].decode()}" if found else "it"


def _named(line: bytes) -> str:
    name = _name(line)
    return "" if name == "it" else f" ({name})"
