"""The codec of the service Masking, written from docs/client.md alone. Copy it."""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    NexusSerializationContext,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
)

SERVICE = "Masking"
PURPOSE = b"temporal payload"
ENCODING, KEY_ID = b"binary/encrypted", "encryption-key-id"
NONCE_BYTES = 12


class MaskingCodec(PayloadCodec, WithSerializationContext):
    """Encrypts what goes to the service Masking, and decrypts what comes from there. All else is the team's own.

    Args:
        keys: ingress keys by their ids, see `ingress_keys`.
        own: the team's codec for everything else; None leaves that as it is.
    """

    def __init__(self, keys: Mapping[str, bytes], own: PayloadCodec | None = None, *, to_masking: bool = False) -> None:
        self._keys, self._own, self._to_masking = keys, own, to_masking

    def with_context(self, context: SerializationContext) -> MaskingCodec:
        """The same for one call of the SDK's."""
        to_masking = isinstance(context, NexusSerializationContext) and context.service == SERVICE
        return MaskingCodec(self._keys, self._own, to_masking=to_masking)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt."""
        if self._to_masking:
            return [self._sealed(payload) for payload in payloads]
        return await self._own.encode(payloads) if self._own is not None else list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt. A payload says itself which key it is under."""
        return [await self._opened(payload) for payload in payloads]

    def _sealed(self, payload: Payload) -> Payload:
        key_id = f"ingress-{datetime.now(UTC).date()}"
        content, metadata = payload.SerializeToString(), {"encoding": ENCODING, KEY_ID: key_id.encode()}
        nonce = os.urandom(NONCE_BYTES)
        return Payload(metadata=metadata, data=nonce + self._cipher(key_id).encrypt(nonce, content, PURPOSE))

    async def _opened(self, payload: Payload) -> Payload:
        key_id = payload.metadata.get(KEY_ID, b"").decode()
        if payload.metadata.get("encoding") != ENCODING or not key_id.startswith("ingress-"):
            return (await self._own.decode([payload]))[0] if self._own is not None else payload
        nonce, ciphertext = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
        content = self._cipher(key_id).decrypt(nonce, ciphertext, PURPOSE)
        return Payload.FromString(zlib.decompress(content) if "compression" in payload.metadata else content)

    def _cipher(self, key_id: str) -> AESGCM:
        return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE).derive(self._keys[key_id]))


def ingress_keys(file: str) -> dict[str, bytes]:
    """The keys in the content of a file that `masking keys ingress export` wrote."""
    return {key_id: base64.b64decode(key) for key_id, key in json.loads(file)["ingress"].items()}
