"""The payloads in Temporal's histories: what is sealed in them is found wherever it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import DecodeError, Message
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent

from masking.audit.pack import Body
from masking.privacy.keyring import Unreadable
from masking.privacy.payload_codec import ENCODING, EncryptingCodec
from masking.privacy.payload_keys import PayloadKey
from masking.privacy.session_cipher import SessionCipher

SEALED = b"binary/sealed-for-evidence"
"""The encoding of a payload that is under its session's data key."""


def resealed(
    event: HistoryEvent, codec: EncryptingCodec, keys: Mapping[str, PayloadKey], cipher: SessionCipher | None
) -> Body:
    """An event as a pack holds it: whatever keys it was under, it is under the session's data key, or in the clear.

    Args:
        keys: what `codec` takes for it.
        cipher: the session's; None for an open pack.

    Raises:
        Unreadable: a key of the history is not there.
    """

    def reseal(payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        clear = codec.decoded(payload, keys)
        if cipher is None:
            return clear
        return Payload(metadata={"encoding": SEALED}, data=cipher.seal_bytes(clear.SerializeToString()))

    copy = HistoryEvent()
    copy.CopyFrom(event)
    _replace(copy, reseal)
    told: Body = MessageToDict(copy)
    return told


def unsealed(body: Body, cipher: SessionCipher | None) -> HistoryEvent:
    """The event in the clear, as a replayer takes it.

    Args:
        cipher: None for an open pack.

    Raises:
        Unreadable: it is under another key, or no event.
    """

    def unseal(payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != SEALED:
            return payload
        if cipher is None:
            raise Unreadable("an open pack holds something sealed")
        try:
            return Payload.FromString(cipher.open_bytes(payload.data))
        except DecodeError:
            raise Unreadable("what was sealed is no payload") from None

    try:
        event = ParseDict(body, HistoryEvent(), ignore_unknown_fields=True)
    except ParseError:
        raise Unreadable("this is no event of a history") from None
    _replace(event, unseal)
    return event


def _replace(message: Message, change: Callable[[Payload], Payload]) -> None:
    for payload in payloads_of(message):
        payload.CopyFrom(change(payload))


def payloads_of(message: Message) -> Iterator[Payload]:
    """All payloads in a message, wherever they stand."""
    if isinstance(message, Payload):
        yield message
        return
    for field, value in message.ListFields():
        for each in _messages(field, value):
            yield from payloads_of(each)


def _messages(field: FieldDescriptor, value: Any) -> Iterator[Message]:
    if field.message_type is None:
        return
    if field.message_type.GetOptions().map_entry:
        if field.message_type.fields_by_name["value"].message_type is not None:
            yield from value.values()
    elif isinstance(value, Message):
        yield value
    else:
        yield from value
