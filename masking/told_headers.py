"""Signals that tell whoever started a session what they may read of them, in a header."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from temporalio.api.common.v1 import Payload
from temporalio.client import Client, Interceptor, OutboundInterceptor, SignalWorkflowInput

from masking.contract import HEADER_TOLD
from masking.domain.events import AnyCarrierEvent
from masking.domain.told_calls import told_calls
from masking.privacy.payload_codec import EncryptingCodec, mark_for_caller

_headers: ContextVar[Mapping[str, Payload]] = ContextVar("headers", default={})  # noqa: B039 it is not changed


def telling(client: Client) -> Client:
    """The same connection, whose signals carry what `told` says."""
    config = client.config()
    config["interceptors"] = [*config["interceptors"], _Telling()]
    return Client(**config)


async def header_of(client: Client, session_uuid: str, events: Sequence[AnyCarrierEvent]) -> Mapping[str, Payload]:
    """The header of a signal of these, under the key of whoever started the session; empty where the signal is, too.

    Raises:
        KeysAway, Unreadable: see `EncryptingCodec.decode`.
    """
    codec = client.data_converter.payload_codec
    if not isinstance(codec, EncryptingCodec):
        return {}
    codec = codec.of_session(session_uuid)
    if not await codec.answers_apart():
        return {}
    calls = told_calls(events)
    if not calls.calls:
        return {}
    payload = client.data_converter.payload_converter.to_payload(calls)
    (sealed,) = await codec.encode([mark_for_caller(payload)])
    return {HEADER_TOLD: sealed}


@contextmanager
def told(headers: Mapping[str, Payload]) -> Iterator[None]:
    """Let the signals that are sent meanwhile have these headers."""
    token = _headers.set(headers)
    try:
        yield
    finally:
        _headers.reset(token)


class _Telling(Interceptor):
    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _WithHeaders(next)


class _WithHeaders(OutboundInterceptor):
    async def signal_workflow(self, input: SignalWorkflowInput) -> None:
        input.headers = {**input.headers, **_headers.get()}
        await super().signal_workflow(input)
