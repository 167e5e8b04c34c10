"""The audio of recordings, for the account's owner only: from our own storage, or else the carrier's, passed on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from aiohttp import hdrs, web

from masking.carriers.errors import CarrierRefused, CarrierUnavailable
from masking.carriers.protocol import Audio
from masking.domain.events import RecordingCompleted
from masking.errors import MaskingError
from masking.gateway.call_resources import found_resource
from masking.gateway.context import CONTEXT
from masking.gateway.errors import ApiError
from masking.gateway.paths import path
from masking.recordings.sealed import opened
from masking.recordings.store import RecordingStore
from masking.storage.recordings import Kept, find_kept

logger = logging.getLogger(__name__)

MEDIA = path("v1/Account/{auth_id}/Recording/{resource_id}.{file_format:mp3|wav}")
CONTENT_TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav"}


def routes() -> list[web.RouteDef]:
    """The media's route; before that of the recording itself, whose ids would match it too."""
    return [web.get(MEDIA, _media, name="recording.media")]


async def _media(request: web.Request) -> web.StreamResponse:
    _, interaction = await found_resource(request, "recording")
    recording = interaction.recording
    if not isinstance(recording, RecordingCompleted) or recording.file_format != request.match_info["file_format"]:
        raise ApiError(404, "not found")
    context = request.app[CONTEXT]
    if context.recordings is not None:
        async with context.database.transaction() as connection:
            kept = await find_kept(connection, context.keyring, recording.recording_id)
        if kept is not None:
            return await _handed_over(request, context.recordings, kept, recording)
    try:
        async with context.audio(recording.url) as audio:
            return await _passed_on(request, audio, recording)
    except CarrierRefused:
        raise ApiError(502, "The carrier does not have this recording any more, or not yet. Try again later.") from None
    except CarrierUnavailable:
        raise ApiError(502, "The carrier does not answer. Try again later.") from None


async def _handed_over(
    request: web.Request, store: RecordingStore, kept: Kept, recording: RecordingCompleted
) -> web.StreamResponse:
    """What is in our own storage, decrypted piece by piece."""
    pieces = opened(kept.cipher, recording.recording_id, store.read(kept.name))

    async def others(piece: bytes | None) -> AsyncIterator[bytes]:
        while piece is not None:
            yield piece
            piece = await asyncio.to_thread(next, pieces, None)

    try:
        # Before the answer begins: after that, nothing can be told any more but that it ends.
        first = await asyncio.to_thread(next, pieces, None)
    except MaskingError as error:
        logger.error("a recording of session %s cannot be handed over: %s", kept.name.partition("/")[0], error)
        raise ApiError(502, "This recording cannot be read now. Try again later.") from None
    try:
        return await _passed_on(request, Audio(kept.size, others(first)), recording)
    except MaskingError as error:
        logger.error("a recording of session %s was handed over in part: %s", kept.name.partition("/")[0], error)
        # Else whoever reads it would wait for the rest.
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=502)


async def _passed_on(request: web.Request, audio: Audio, recording: RecordingCompleted) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Cache-Control": "private, no-store"})
    answer.content_type = CONTENT_TYPES[recording.file_format]
    answer.content_length = audio.size
    await answer.prepare(request)
    if request.method != hdrs.METH_HEAD:
        async for chunk in audio.chunks:
            await answer.write(chunk)
    await answer.write_eof()
    return answer
