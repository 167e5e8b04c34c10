"""`GET /healthz`: whether the gateway can do its work."""

from __future__ import annotations

import psycopg
from aiohttp import web
from psycopg_pool import PoolTimeout

from masking.gateway.context import CONTEXT
from masking.storage import tables


def routes() -> list[web.RouteDef]:
    """The health route."""
    return [web.get("/healthz", healthz, name="health")]


async def healthz(request: web.Request) -> web.Response:
    """200 while PostgreSQL answers with our tables, else 503. Temporal may be away: calls connect, the inbox waits."""
    try:
        async with request.app[CONTEXT].database.transaction() as connection:
            behind = await tables.are_behind(connection)
    except (psycopg.Error, PoolTimeout):
        return web.json_response({"status": "PostgreSQL does not answer"}, status=503)
    if behind:
        return web.json_response({"status": "the tables are not up to date; run `masking migrate`"}, status=503)
    return web.json_response({"status": "ok"})
