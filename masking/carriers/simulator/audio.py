"""Recordings as real audio files: each side of the conversation hums its own tone."""

from __future__ import annotations

import array
import functools
import io
import itertools
import math
import sys
import wave

SAMPLE_RATE = 8000
MAX_SECONDS = 30
"""A longer conversation's file ends here; its duration is told in full."""

_CALLER_HZ, _CALLEE_HZ, _LOUDNESS = 440.0, 554.4, 8000


def recorded(file_format: str, seconds: int) -> bytes:
    """A stereo recording, caller on the left.

    Args:
        file_format: `wav` or `mp3`.
    """
    samples = _samples(max(1, min(seconds, MAX_SECONDS)))
    return _wav(samples) if file_format == "wav" else _mp3(samples)


def _samples(seconds: int) -> bytes:
    """The two people hum in turn, a second each."""
    return b"".join(_turns()[second % 2] for second in range(seconds))


@functools.cache
def _turns() -> tuple[bytes, bytes]:
    """A second of either one's hum, beside the other's silence."""
    silence = [0] * SAMPLE_RATE
    return _side_by_side(_tone(_CALLER_HZ), silence), _side_by_side(silence, _tone(_CALLEE_HZ))


def _side_by_side(left: list[int], right: list[int]) -> bytes:
    frames = array.array("h", itertools.chain.from_iterable(zip(left, right, strict=True)))
    if sys.byteorder == "big":
        frames.byteswap()
    return frames.tobytes()


def _tone(hertz: float) -> list[int]:
    """A second of it."""
    return [int(_LOUDNESS * math.sin(2 * math.pi * hertz * n / SAMPLE_RATE)) for n in range(SAMPLE_RATE)]


def _wav(samples: bytes) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples)
    return buffer.getvalue()


def _mp3(samples: bytes) -> bytes:
    # Only here, since the production image has no simulator and need not have an encoder.
    import lameenc

    encoder = lameenc.Encoder()
    encoder.set_bit_rate(32)
    encoder.set_in_sample_rate(SAMPLE_RATE)
    encoder.set_channels(2)
    encoder.set_quality(7)
    encoder.silence()
    return bytes(encoder.encode(samples)) + bytes(encoder.flush())
