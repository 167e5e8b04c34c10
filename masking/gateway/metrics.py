"""`GET /metrics`: what operators watch, for Prometheus, on a port of its own.

Labels hold auth ids, countries and states; never a number, a PIN or a token.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import psycopg
from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0
from psycopg_pool import PoolTimeout

from masking.ports import Place, listening
from masking.settings import Settings
from masking.storage.archiving import Unarchived, unarchived
from masking.storage.database import Database
from masking.storage.measures import (
    Backlog,
    Erasing,
    Pool,
    Undelivered,
    backlog,
    carriers,
    erasing,
    pools,
    undelivered,
)
from masking.storage.overdue import OpenSessions, open_sessions
from masking.storage.recordings import Unkept, unkept

FRESH_S = 10.0
"""Scrapes within so many seconds get the same figures: they read every live route."""

OF_POOL = ("account", "country")


class Metrics:
    """The figures, read from the database when they are asked for. Every gateway tells the same.

    Args:
        keep_for: how long sessions are to be kept after their bill was closed; None for ever.
        closes_within: how long a bill may take once a session is over; see `Settings.closes_within`.
    """

    def __init__(
        self,
        database: Database,
        keep_for: timedelta | None = None,
        closes_within: timedelta = timedelta(hours=1),
    ) -> None:
        self._database, self._keep_for, self._closes_within = database, keep_for, closes_within
        self._registry = CollectorRegistry()
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()
        self._numbers = self._gauge("pool_numbers", "Virtual numbers, by state", (*OF_POOL, "state"))
        self._in_use = self._gauge("pool_in_use", "Virtual numbers that live or cooling sessions hold", OF_POOL)
        self._headroom = self._gauge("pool_headroom", "Numbers left for the two busiest parties; under 1 creates may "
                                     "be refused", OF_POOL)  # fmt: skip
        self._open = self._gauge("sessions_open", "Sessions whose bill is not closed yet")
        self._overdue = self._gauge("sessions_overdue", "Those of them whose time and calls are over for too long")
        self._oldest_overdue = self._gauge("sessions_overdue_oldest_seconds", "For how long the oldest of these are")
        self._waiting = self._gauge("inbox_waiting", "Carriers' events that no workflow has had yet")
        self._oldest = self._gauge("inbox_oldest_seconds", "How long the oldest of them has waited")
        self._late = self._gauge("inbox_late", "Carriers' events that came after their session had been settled")
        self._callbacks = self._gauge("callbacks_waiting", "Callbacks that are tried until the customer takes them")
        self._oldest_callback = self._gauge("callbacks_oldest_seconds", "How long the oldest of them has waited")
        self._dead = self._gauge("callbacks_dead", "Callbacks that were given up, and not sent again since")
        self._failing = self._gauge("callback_endpoints_failing", "Customers' endpoints that keep failing")
        self._to_erase = self._gauge("retention_waiting", "Sessions that have been kept longer than they should")
        self._begun = self._gauge("erasures_unfinished", "Erased sessions of which Temporal has yet to delete copies")
        self._erased = self._gauge("erased_last_day", "Sessions that were erased within a day")
        self._unarchived = self._gauge("archive_waiting", "Closed sessions whose evidence is not archived yet")
        self._oldest_unarchived = self._gauge("archive_oldest_seconds", "How long ago the oldest of them was closed")
        self._unfetched = self._gauge("recordings_waiting", "Recordings to be fetched from the carrier")
        self._oldest_unfetched = self._gauge("recordings_oldest_seconds", "How long the oldest of them has waited")
        self._undeleted = self._gauge("recordings_to_delete", "Recordings that are still where they should be deleted")
        self._lost_recordings = self._gauge("recordings_lost", "Recordings that could not be fetched")
        self._stopped = self._gauge("carriers_stopped", "Accounts at carriers that do not take our credentials")
        self._resting = self._gauge("carriers_resting", "Accounts at carriers that rest after failures in a row")
        self._unarchivable = self._gauge("archive_failing", "Those of them that were tried in vain")

    async def exposed(self) -> bytes:
        """The figures in Prometheus' text format."""
        async with self._reading:
            if time.monotonic() - self._read_at > FRESH_S:
                async with self._database.transaction() as connection:
                    self._set_pools(await pools(connection))
                    self._set_sessions(await open_sessions(connection, self._closes_within))
                    self._set_backlog(await backlog(connection))
                    self._set_undelivered(await undelivered(connection))
                    self._set_erasing(await erasing(connection, self._keep_for))
                    self._set_unarchived(await unarchived(connection))
                    self._set_recordings(await unkept(connection))
                    asked_nothing = await carriers(connection)
                    self._stopped.set(asked_nothing.stopped)
                    self._resting.set(asked_nothing.resting)
                self._read_at = time.monotonic()
        return generate_latest(self._registry)

    def _gauge(self, name: str, what: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"masking_{name}", what, labels, registry=self._registry)

    def _set_pools(self, found: list[Pool]) -> None:
        for gauge in (self._numbers, self._in_use, self._headroom):
            gauge.clear()
        for pool in found:
            name = (pool.account_id, pool.country)
            for state, count in zip(
                ("available", "draining", "blocked"), (pool.available, pool.draining, pool.blocked), strict=True
            ):
                self._numbers.labels(*name, state).set(count)
            self._in_use.labels(*name).set(pool.in_use)
            self._headroom.labels(*name).set(pool.headroom)

    def _set_sessions(self, found: OpenSessions) -> None:
        self._open.set(found.open)
        self._overdue.set(found.overdue)
        self._oldest_overdue.set(found.oldest_seconds)

    def _set_backlog(self, found: Backlog) -> None:
        self._waiting.set(found.waiting)
        self._oldest.set(found.oldest_seconds)
        self._late.set(found.late)

    def _set_undelivered(self, found: Undelivered) -> None:
        self._callbacks.set(found.waiting)
        self._oldest_callback.set(found.oldest_seconds)
        self._dead.set(found.dead)
        self._failing.set(found.failing_endpoints)

    def _set_erasing(self, found: Erasing) -> None:
        self._to_erase.set(found.waiting)
        self._begun.set(found.begun)
        self._erased.set(found.last_day)

    def _set_unarchived(self, found: Unarchived) -> None:
        self._unarchived.set(found.waiting)
        self._oldest_unarchived.set(found.oldest_seconds)
        self._unarchivable.set(found.failing)

    def _set_recordings(self, found: Unkept) -> None:
        self._unfetched.set(found.waiting)
        self._oldest_unfetched.set(found.oldest_seconds)
        self._undeleted.set(found.to_delete)
        self._lost_recordings.set(found.lost)


@asynccontextmanager
async def metrics_served(database: Database, settings: Settings) -> AsyncIterator[None]:
    """Serve the metrics while the context lasts; nothing where `MASKING_METRICS_PORT` is 0.

    Raises:
        StartupError: the port is taken.
    """
    if settings.metrics_port == 0:
        yield
        return
    metrics = Metrics(database, settings.retention, settings.closes_within)

    async def expose(request: web.Request) -> web.Response:
        del request
        try:
            return web.Response(body=await metrics.exposed(), headers={"Content-Type": CONTENT_TYPE_PLAIN_1_0_0})
        except (psycopg.Error, PoolTimeout):
            return web.Response(status=503, text="PostgreSQL does not answer\n")

    app = web.Application()
    app.router.add_get("/metrics", expose)
    place = Place(settings.metrics_host, settings.metrics_port, "MASKING_METRICS_PORT", "MASKING_METRICS_HOST")
    async with listening(web.AppRunner(app, access_log=None), place):
        yield
