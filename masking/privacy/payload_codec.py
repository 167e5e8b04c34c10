"""Temporal sees ciphertext only: the payload codec."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from masking.privacy.keyring import Keyring

ENCODING = b"binary/encrypted"
PURPOSE = "temporal payload"

COMPRESSED_FROM = 2048
"""Bytes."""


class EncryptingCodec(PayloadCodec):
    """AES-256-GCM over whole payloads; the key's id travels in the metadata, so that keys can rotate.

    Large payloads are compressed first: ciphertext cannot be.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt each payload, metadata included."""
        return [self._encoded(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt each payload that this codec made; leave others as they are."""
        return [self.decoded(payload) for payload in payloads]

    def _encoded(self, payload: Payload) -> Payload:
        content, metadata = payload.SerializeToString(), {"encoding": ENCODING}
        if len(content) >= COMPRESSED_FROM:
            content, metadata = zlib.compress(content, 1), metadata | {"compression": b"zlib"}
        key_id, ciphertext = self._keyring.seal(content, PURPOSE)
        return Payload(metadata=metadata | {"encryption-key-id": key_id.encode()}, data=ciphertext)

    def decoded(self, payload: Payload) -> Payload:
        """The payload in the clear; one that this codec did not make, as it is.

        Raises:
            Unreadable: the key ring lacks its key, or it was altered.
        """
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        key_id = payload.metadata.get("encryption-key-id", b"").decode()
        content = self._keyring.open(key_id, payload.data, PURPOSE)
        return Payload.FromString(zlib.decompress(content) if "compression" in payload.metadata else content)
