"""What other services write: they have a key, so that their ciphertext is in order, whatever is in it."""

from __future__ import annotations

import time
import zlib

import pytest
from temporalio.api.common.v1 import Payload

from masking.privacy.keyring import Keyring, Unreadable
from masking.privacy.payload_codec import ENCODING, MOST, EncryptingCodec
from masking.privacy.payload_keys import PURPOSE, naming

pytestmark = pytest.mark.anyio

KEYRING = Keyring({"k": b"1" * 32}, "k", b"2" * 32)


def written(content: bytes, **metadata: bytes) -> Payload:
    """A payload with this content, whatever it is, as somebody with the key may write it."""
    key_id, sealed = KEYRING.seal(content, PURPOSE)
    return Payload(metadata={"encoding": ENCODING, **naming(key_id), **metadata}, data=sealed)


@pytest.mark.parametrize("size", [0, 1, 2047, 3_000_000])
async def test_what_is_encoded_is_decoded_large_or_small(size: int) -> None:
    payload, codec = Payload(metadata={"encoding": b"json/plain"}, data=b"x" * size), EncryptingCodec(KEYRING)
    assert await codec.decode(await codec.encode([payload])) == [payload]


async def test_a_payload_that_would_fill_the_workers_memory_is_not_expanded() -> None:
    bomb = written(zlib.compress(Payload(data=b"0" * (2 * MOST)).SerializeToString()), compression=b"zlib")
    assert len(bomb.data) < 2**20, "Temporal takes it"
    began = time.process_time()
    with pytest.raises(Unreadable, match="larger than 32 MiB"):
        await EncryptingCodec(KEYRING).decode([bomb])
    assert time.process_time() - began < 1


@pytest.mark.parametrize("content", [b"no zlib", zlib.compress(b"whole")[:-3], zlib.compress(b"\xff no payload")])
async def test_a_payload_that_is_not_what_it_says_is_unreadable(content: bytes) -> None:
    with pytest.raises(Unreadable):
        await EncryptingCodec(KEYRING).decode([written(content, compression=b"zlib")])
    with pytest.raises(Unreadable):
        await EncryptingCodec(KEYRING).decode([written(b"\xff no payload")])
