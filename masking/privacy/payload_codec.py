"""Temporal sees ciphertext only: the payload codec."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from masking.privacy.ingress import ingress_day
from masking.privacy.keyring import Keyring, Unreadable
from masking.privacy.payload_keys import (
    BILL_IN_CLEAR,
    PURPOSE,
    SESSION,
    UNDER_MASTER,
    PayloadKey,
    PayloadKeys,
    Writing,
    named,
    naming,
)

ENCODING = b"binary/encrypted"

FOR_CALLER = "masking-for-caller"
"""Marks a payload, until it is encrypted, as one that whoever started the session reads."""

_ANSWER, _BILL = b"answer", b"bill"

COMPRESSED_FROM = 2048
"""Bytes."""

MOST = 32 * 1024 * 1024
"""Bytes of a payload that came compressed. Temporal takes 2 MiB, which other services could have become gigabytes."""


class EncryptingCodec(PayloadCodec):
    """AES-256-GCM over whole payloads; the key's id travels in the metadata, so that keys can differ and rotate.

    Large payloads are compressed first: ciphertext cannot be.

    Args:
        keys: those of sessions and days; None where the key ring is all there is, as in other services.
        session_uuid: whose payloads are encoded; None for those of no session.
    """

    def __init__(self, keyring: Keyring, keys: PayloadKeys | None = None, session_uuid: str | None = None) -> None:
        self._keyring = keyring
        self._keys = keys
        self._session_uuid = session_uuid

    def of_session(self, session_uuid: str | None) -> EncryptingCodec:
        """The codec of a session's payloads."""
        if self._keys is None or session_uuid == self._session_uuid:
            return self
        return EncryptingCodec(self._keyring, self._keys, session_uuid)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt each payload, metadata included."""
        writing = UNDER_MASTER
        if self._keys is not None and self._session_uuid is not None:
            writing = await self._keys.writing(self._session_uuid)
        return [self._written(payload, writing) for payload in payloads]

    async def encode_under(self, payloads: Sequence[Payload], key_id: str) -> list[Payload]:
        """Encrypt each payload under the ingress key of this id; under the master key where it is none's.

        Raises:
            KeysAway, Unreadable: see `decode`.
        """
        key = await self._keys.reading(key_id) if self._keys is not None and ingress_day(key_id) else None
        return [self._encoded(payload, key) for payload in payloads]

    async def answers_apart(self) -> bool:
        """Whether whoever started the session reads its answers only, and not what else belongs to it.

        Raises:
            KeysAway, Unreadable: see `decode`.
        """
        if self._keys is None or self._session_uuid is None:
            return False
        writing = await self._keys.writing(self._session_uuid)
        return writing.answers is not writing.inner

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt each payload that this codec made; leave others as they are.

        Raises:
            Unreadable: a key is not here or was destroyed, or a payload was altered.
            KeysAway: a key cannot be had at the moment.
        """
        keys = await self.keys_of(payloads)
        return [self.decoded(payload, keys) for payload in payloads]

    async def keys_of(self, payloads: Iterable[Payload]) -> dict[str, PayloadKey]:
        """What `decoded` takes for these, by the keys' ids. Raises what `decode` raises."""
        found: dict[str, PayloadKey] = {}
        if self._keys is None:
            return found
        for payload in payloads:
            if payload.metadata.get("encoding") != ENCODING:
                continue
            key_id = named(payload.metadata)
            if key_id in found:
                continue
            is_own = key_id.startswith(SESSION)
            if is_own or ingress_day(key_id):
                found[key_id] = await self._keys.reading(key_id)
            if self._session_uuid is not None and not is_own:
                self._keys.note_start(self._session_uuid, key_id, bill_in_clear=BILL_IN_CLEAR in payload.metadata)
        return found

    def decoded(self, payload: Payload, keys: Mapping[str, PayloadKey]) -> Payload:
        """The payload in the clear; one that this codec did not make, as it is.

        Raises:
            Unreadable: its key is not at hand, it was altered, or it is too large.
        """
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        key_id = named(payload.metadata)
        if key_id in keys:
            content = keys[key_id].open(payload.data)
        elif key_id.startswith(SESSION):
            raise Unreadable("a payload is under its session's own key, which no key ring holds")
        else:
            content = self._keyring.open(key_id, payload.data, PURPOSE)
        try:
            return Payload.FromString(_expanded(content) if "compression" in payload.metadata else content)
        except (zlib.error, DecodeError):
            raise Unreadable("a payload holds something else than its metadata say") from None

    def _written(self, payload: Payload, writing: Writing) -> Payload:
        mark = _mark_of(payload)
        if mark == _BILL and writing.bill_in_clear:
            return payload
        key = writing.inner if mark is None else writing.answers
        encoded = self._encoded(payload, key)
        if writing.bill_in_clear and (key is None or not key.key_id.startswith(SESSION)):
            # There is no row yet that tells it.
            encoded.metadata[BILL_IN_CLEAR] = b""
        return encoded

    def _encoded(self, payload: Payload, key: PayloadKey | None) -> Payload:
        content, metadata = payload.SerializeToString(), {"encoding": ENCODING}
        if len(content) >= COMPRESSED_FROM:
            content, metadata = zlib.compress(content, 1), metadata | {"compression": b"zlib"}
        if key is not None:
            return Payload(metadata={**metadata, **key.metadata}, data=key.seal(content))
        key_id, ciphertext = self._keyring.seal(content, PURPOSE)
        return Payload(metadata={**metadata, **naming(key_id)}, data=ciphertext)


def _expanded(content: bytes) -> bytes:
    decompressor = zlib.decompressobj()
    expanded = decompressor.decompress(content, MOST)
    if not decompressor.eof:
        raise Unreadable(f"a compressed payload is cut short, or larger than {MOST >> 20} MiB")
    return expanded


def mark_for_caller(payload: Payload) -> Payload:
    """Mark a payload as one that whoever started the session reads."""
    payload.metadata[FOR_CALLER] = _ANSWER
    return payload


def mark_bill(payload: Payload) -> Payload:
    """Mark a payload as the final bill, which Temporal itself hands to whoever started the session by Nexus."""
    payload.metadata[FOR_CALLER] = _BILL
    return payload


def _mark_of(payload: Payload) -> bytes | None:
    """How a payload was marked, if it was; the mark goes."""
    mark = payload.metadata.get(FOR_CALLER)
    if mark is not None:
        del payload.metadata[FOR_CALLER]
    return mark
