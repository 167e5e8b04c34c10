"""Errors as Plivo's SDKs understand them: `{"api_id": …, "error": "one sentence"}` (plivo-wire.md §4)."""

from __future__ import annotations

import logging
from uuid import uuid4

from aiohttp import web
from aiohttp.typedefs import Handler

logger = logging.getLogger(__name__)

_SENTENCES = {
    404: "not found",
    405: "method not allowed",
    413: "the request body is too large",
}


class ApiError(Exception):
    """A request that is answered with an error.

    Args:
        status: the HTTP status, 4xx or 503.
        sentence: what is wrong and with which argument; never holds a phone number.
    """

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = headers or {}


def new_api_id() -> str:
    """The id of one answer, for support questions."""
    return str(uuid4())


def error_response(status: int, sentence: str, headers: dict[str, str] | None = None) -> web.Response:
    """The answer that tells an error."""
    return web.json_response({"api_id": new_api_id(), "error": sentence}, status=status, headers=headers)


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error, the unforeseen one too, into JSON of the one shape."""
    try:
        return await handler(request)
    except ApiError as error:
        return error_response(error.status, error.sentence, error.headers)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return error_response(error.status, _SENTENCES.get(error.status, error.reason.lower()), headers)
    except Exception as error:
        # The type only: a message could quote what the request held.
        logger.error("%s failed with %s", request.match_info.route.name or "a request", type(error).__name__)
        return error_response(500, "Internal server error.")
