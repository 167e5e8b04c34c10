"""The audio of recordings, for the account's owner only: fetched from the carrier and passed on."""

from __future__ import annotations

import httpx
from aiohttp import web

from masking.domain.events import RecordingCompleted
from masking.gateway.call_resources import found_resource
from masking.gateway.context import CONTEXT
from masking.gateway.errors import ApiError
from masking.gateway.paths import path

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
    try:
        async with request.app[CONTEXT].carrier_http.stream("GET", recording.url) as source:
            if source.status_code != 200:
                raise ApiError(502, "The carrier does not have this recording any more, or not yet. Try again later.")
            return await _passed_on(request, source, recording)
    except (httpx.HTTPError, httpx.InvalidURL):
        raise ApiError(502, "The carrier does not answer. Try again later.") from None


async def _passed_on(request: web.Request, source: httpx.Response, recording: RecordingCompleted) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Cache-Control": "private, no-store"})
    answer.content_type = CONTENT_TYPES[recording.file_format]
    if source.headers.get("Content-Length", "").isdecimal() and "Content-Encoding" not in source.headers:
        answer.content_length = int(source.headers["Content-Length"])
    await answer.prepare(request)
    async for chunk in source.aiter_bytes():
        await answer.write(chunk)
    await answer.write_eof()
    return answer
