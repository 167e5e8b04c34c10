"""The codec of one Nexus operation: its caller is answered under the key with which it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar

from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec
from temporalio.exceptions import ApplicationError

from masking.errors import KeysAway
from masking.privacy.ingress import ingress_day
from masking.privacy.keyring import KeyMissing, Unreadable
from masking.privacy.payload_codec import ENCODING, EncryptingCodec
from masking.privacy.payload_keys import SESSION, named

IN_CLEAR = b"json/plain"
"""The encoding of an input that is not encrypted, as the contract has it."""

REFUSED = "PayloadValidationError"
"""The type by which the SDK knows that an input is the caller's fault, and not to be tried again."""

_written_under: ContextVar[str] = ContextVar("written_under", default="")


def written_under() -> str:
    """The id of the key under which the caller of the operation that is being handled wrote; empty for none."""
    return _written_under.get()


class CallersCodec(PayloadCodec):
    """Reads what the caller of an operation wrote, and writes what it gets under the same key.

    What is told before anything was read holds nothing of the caller's, and goes in the clear.

    Args:
        codec: of payloads that belong to no session.
        takes_clear: whether a caller may write in the clear, and is answered so.
    """

    def __init__(self, codec: EncryptingCodec, *, takes_clear: bool) -> None:
        self._codec = codec
        self._takes_clear = takes_clear
        self._under = ""

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decode an input.

        Raises:
            ApplicationError: it is in the clear and must not be, or is under a key or codec that is not ours.
            KeysAway: its key cannot be had at the moment.
        """
        under = "".join({self._key_of(payload) for payload in payloads})
        try:
            decoded = await self._codec.decode(payloads)
        except Unreadable as error:
            if isinstance(error, KeyMissing) and ingress_day(under) is not None:
                # That of a day is ours to unwrap.
                raise KeysAway(str(error)) from None
            raise _refused(
                f"the input cannot be read: {error}. Encrypt it under today's ingress key, as docs/client.md shows"
            ) from None
        self._under = under
        _written_under.set(under)
        return decoded

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encode what the caller gets. Raises what `EncryptingCodec.decode` raises."""
        return await self._codec.encode_under(payloads, self._under) if self._under else list(payloads)

    def _key_of(self, payload: Payload) -> str:
        encoding = payload.metadata.get("encoding", b"")
        if encoding == ENCODING:
            key_id = named(payload.metadata)
            if not key_id or key_id.startswith(SESSION):
                raise _refused("the input is under no key of a caller's. Encrypt it under today's ingress key")
            return key_id
        if encoding != IN_CLEAR:
            raise _refused(
                f"the input is encoded as {encoding.decode(errors='replace')[:64]}, which is not ours. Encrypt what"
                " goes to the service Masking under today's ingress key, as docs/client.md shows"
            )
        if not self._takes_clear:
            raise _refused(
                "the input is in the clear, and its phone numbers with it. Encrypt it under today's ingress key, as"
                " docs/client.md shows, or have the operator allow it by MASKING_NEXUS_CLEAR"
            )
        return ""


def _refused(why: str) -> ApplicationError:
    return ApplicationError(why, type=REFUSED, non_retryable=True)
