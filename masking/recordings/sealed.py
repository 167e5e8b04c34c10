"""A recording under its session's data key, piece by piece, so that none need be in memory whole.

Each piece is ciphertext of its own, bound to the session, the recording and its place, and the last one says that it is
the last: what was cut, put together anew or moved elsewhere does not open.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import AsyncIterator, Iterator
from typing import IO

from masking.errors import MaskingError
from masking.privacy.keyring import Unreadable
from masking.privacy.session_cipher import SessionCipher

PLAIN = 64 * 1024
"""Bytes of audio in a piece."""
LARGEST = 2 * 1024**3
"""Bytes of audio. The longest call as wav has 1.4 GB."""

_LENGTH, _PLACE = struct.Struct(">I"), struct.Struct(">QB")
_LONGEST_PIECE = PLAIN + 1024


class TooLarge(MaskingError):
    """It is larger than any recording."""


async def seal_into(file: IO[bytes], cipher: SessionCipher, recording_id: str, audio: AsyncIterator[bytes]) -> int:
    """Write audio into a file as ciphertext. Returns how many bytes of audio there were.

    Raises:
        TooLarge: there are more than `LARGEST`.
    """
    waiting, size, place = bytearray(), 0, 0

    def write(piece: bytes, *, is_last: bool) -> None:
        sealed = cipher.seal_bytes(_bound(recording_id, place, is_last=is_last) + piece)
        file.write(_LENGTH.pack(len(sealed)) + sealed)

    async for chunk in audio:
        waiting += chunk
        size += len(chunk)
        if size > LARGEST:
            raise TooLarge(f"a recording of more than {LARGEST} bytes is none")
        while len(waiting) > PLAIN:
            write(bytes(waiting[:PLAIN]), is_last=False)
            del waiting[:PLAIN]
            place += 1
    write(bytes(waiting), is_last=True)
    return size


def opened(cipher: SessionCipher, recording_id: str, content: Iterator[bytes]) -> Iterator[bytes]:
    """The audio in a file's content, piece by piece.

    Raises:
        Unreadable: it was altered or cut, or is another's.
    """
    waiting, place, is_last = bytearray(), 0, False
    for chunk in content:
        waiting += chunk
        while len(waiting) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(waiting)
            if length > _LONGEST_PIECE or is_last:
                raise Unreadable("a recording was altered")
            if len(waiting) < _LENGTH.size + length:
                break
            piece = cipher.open_bytes(bytes(waiting[_LENGTH.size : _LENGTH.size + length]))
            del waiting[: _LENGTH.size + length]
            is_last = piece.startswith(_bound(recording_id, place, is_last=True))
            bound = _bound(recording_id, place, is_last=is_last)
            if not piece.startswith(bound):
                raise Unreadable("a recording was put together anew")
            yield piece[len(bound) :]
            place += 1
    if waiting or not is_last:
        raise Unreadable("a recording was cut short")


def _bound(recording_id: str, place: int, *, is_last: bool) -> bytes:
    return hashlib.sha256(recording_id.encode()).digest() + _PLACE.pack(place, is_last)
