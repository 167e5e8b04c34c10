"""Errors as Plivo's SDKs understand them: `{"api_id": …, "error": "one sentence"}` (plivo-wire.md §4)."""

from __future__ import annotations

import logging
from uuid import uuid4

import psycopg
from aiohttp import web
from aiohttp.typedefs import Handler

from masking.privacy.keyring import Unreadable

logger = logging.getLogger(__name__)

_SENTENCES = {
    404: "not found",
    405: "method not allowed",
    413: "the request body is too large",
    417: "this expectation cannot be met",
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


def http_error(error: web.HTTPException) -> web.Response:
    """The answer for an error of aiohttp's own."""
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
    return error_response(error.status, _SENTENCES.get(error.status, error.reason.lower()), headers)


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
        return http_error(error)
    except (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction) as error:
        return _storage_away(error)
    except Unreadable:
        logger.error(
            "%s: what is stored cannot be decrypted; a key is missing, or it was altered",
            request.match_info.route.name or "a request",
        )
        return error_response(500, "What is stored of this cannot be decrypted at the moment.")
    except Exception as error:
        # The type only: a message could quote what the request held.
        logger.error("%s failed with %s", request.match_info.route.name or "a request", type(error).__name__)
        return error_response(500, "Internal server error.")


def _storage_away(error: psycopg.Error) -> web.Response:
    """The answer while PostgreSQL is away or takes nothing: whoever asked, customer or carrier, is to ask again."""
    # The same line whatever was asked, so that an outage is told once in a while and not for each request.
    match error:
        case psycopg.errors.ReadOnlySqlTransaction():
            why = "PostgreSQL is read-only"
        case psycopg.errors.DiskFull():
            why = "PostgreSQL's disk is full"
        case _:
            why = f"PostgreSQL does not answer ({type(error).__name__})"
    logger.error("%s: requests are answered with 503", why)
    return error_response(503, "The service cannot reach its storage at the moment. Try again.", {"Retry-After": "1"})
