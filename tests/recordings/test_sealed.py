"""A recording under its session's key opens as it was, and not otherwise."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator

import pytest

from masking.privacy.keyring import Unreadable
from masking.privacy.session_cipher import SessionCipher
from masking.recordings import sealed
from masking.recordings.sealed import PLAIN, TooLarge, opened, seal_into

pytestmark = pytest.mark.anyio

CIPHER = SessionCipher("a-session", b"k" * 32)


async def chunks(content: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def pieces(content: bytes, size: int = 1000) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


async def written(content: bytes, size: int = 7001, recording: str = "r") -> bytes:
    file = io.BytesIO()
    assert await seal_into(file, CIPHER, recording, chunks(content, size)) == len(content)
    return file.getvalue()


@pytest.mark.parametrize("length", [0, 1, PLAIN - 1, PLAIN, PLAIN + 1, 3 * PLAIN, 3 * PLAIN + 5])
async def test_audio_comes_back_as_it_was_however_it_is_cut_into_pieces(length: int) -> None:
    audio = bytes(n % 251 for n in range(length))
    for size in (PLAIN * 2, 7001):
        file = await written(audio, size)
        assert b"".join(opened(CIPHER, "r", pieces(file))) == audio
    assert len(file) < length + 200 * (length // PLAIN + 1)
    assert audio[:50] not in file or length < 20


def opens(content: bytes) -> bool:
    try:
        return bool(list(opened(CIPHER, "r", pieces(content))))
    except Unreadable:
        return False


async def test_what_was_altered_cut_or_moved_does_not_open() -> None:
    audio = b"x" * (2 * PLAIN + 10)
    file = await written(audio)
    (first,) = {int.from_bytes(file[:4]) + 4}
    spoiled = {
        "cut in a piece": file[:-1],
        "cut between pieces": file[:first],
        "nothing": b"",
        "the first piece twice": file[:first] + file,
        "without the first": file[first:],
        "with more behind": file + file[:first],
        "altered": file[:50] + bytes([file[50] ^ 1]) + file[51:],
        "a length of its own": b"\xff" * 4 + file[4:],
    }
    for how, content in spoiled.items():
        assert not opens(content), how
    with pytest.raises(Unreadable):
        list(opened(CIPHER, "another", pieces(file)))
    with pytest.raises(Unreadable):
        list(opened(SessionCipher("another", b"k" * 32), "r", pieces(file)))


async def test_what_never_ends_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "LARGEST", 3 * PLAIN)
    with pytest.raises(TooLarge):
        await seal_into(io.BytesIO(), CIPHER, "r", chunks(b"x" * 4 * PLAIN, 5000))
