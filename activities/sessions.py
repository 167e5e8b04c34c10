"""What a session's workflow asks of PostgreSQL. Quick row writes, run as local activities."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

import psycopg
from pydantic import Field
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.starts import HouseTerms, Starts, impossible, must_be_its_own
from masking.contract import PIN_TAKEN, POOL_EXHAUSTED
from masking.domain.agreement import Agreement, Left
from masking.domain.bill.charges import Bill
from masking.domain.callbacks import Callback
from masking.domain.deadlines import waiting_for
from masking.domain.events import Side
from masking.domain.lifecycle import settled
from masking.domain.model import Model
from masking.domain.session import REVISION, Session
from masking.domain.terms import Terms
from masking.e164 import countries_beside, country_of
from masking.errors import SessionGone, Superseded
from masking.last_written import LastWritten
from masking.lookup import PartyHash
from masking.privacy.keyring import Keyring
from masking.privacy.session_cipher import RecentCiphers
from masking.storage import inbox, opening, restoring, resuming, routes, sessions
from masking.storage.callback_queue import Queued
from masking.storage.database import Connection, Database
from masking.storage.payload_keys import StoredPayloadKeys
from masking.storage.session_keys import StoredPayloadKey

ResultT = TypeVar("ResultT")

FEW_NUMBERS = 2
"""With fewer than so many numbers left for a pair, the operator is warned."""


class OpenSession(Model):
    """Open this session: find it a number and take its routes.

    Attributes:
        left: what its request left to the operator.
        asks_parties: whether lists are to find it by its parties, and do not yet.
    """

    session: Session
    left: Left = Left()
    asks_parties: bool = Field(default=False, exclude_if=lambda asks: not asks)


class Opened(Model):
    """The number it got (E.164) and its PINs; or None, and what to tell whoever asked.

    Attributes:
        revision: of the rules that the session follows from here to its end.
        agreement: what the operator decided about the session; None where it is what was asked for.
        parties: what lists are to find its parties by, where that was asked.
        outlives_cancel: whether cancelling the workflow ends the session early, instead of breaking it off.
    """

    virtual_number: str | None
    pins: dict[Side, str] = Field(default_factory=dict)
    refusal: str = POOL_EXHAUSTED
    revision: int = 1
    agreement: Agreement | None = Field(default=None, exclude_if=lambda agreement: agreement is None)
    parties: tuple[str, ...] = Field(default=(), exclude_if=lambda parties: not parties)
    outlives_cancel: bool = False


class ChangeParties(Model):
    """Let this session's routes be those of `terms`."""

    session: Session
    terms: Terms


class PartiesChanged(Model):
    """Whether the session holds the routes of its new parties; if not, it holds the old ones."""

    holds_routes: bool


class RecordSession(Model):
    """Write this state, and queue these callbacks.

    Attributes:
        touched: the calls of which something is new, by the carrier's ids; all when None.
        asks_unreported: whether to look afterwards for what the workflow may not know.
        settle_at: the time of settlement (UTC), to close the bill at once if nothing is missing; None leaves it open.
        heard: the ids of all events that are in this state, where the bill may be closed.
    """

    session: Session
    callbacks: tuple[Callback, ...] = ()
    touched: tuple[str, ...] | None = None
    asks_unreported: bool = False
    settle_at: datetime | None = None
    heard: tuple[str, ...] = ()


class Recorded(Model):
    """What came of recording a session.

    Attributes:
        holds_routes: whether the session still holds its routes.
        unreported: what is unreported, where that was asked.
        settled: whether the bill was closed, with this very state and the time that was given.
    """

    holds_routes: bool
    unreported: int | None = None
    settled: bool = False


class SessionRef(Model):
    """A session, by its id."""

    session_uuid: str


class UnheededEvents(Model):
    """Events that came when a session's bill was closed already, by their ids."""

    session_uuid: str
    event_ids: tuple[str, ...]


class Unreported(Model):
    """Events on their way to the workflow, and calls that have not ended, as the gateway knows them.

    Attributes:
        waiting: how many of these are events that can be read.
    """

    count: int
    waiting: int = 0


class Outbox(Protocol):
    """Who sends callbacks."""

    def lease(self) -> timedelta | None:
        """For how long it would take callbacks in hand that are queued now; None when it has no room."""

    def take(self, queued: Queued) -> None:
        """These were queued."""


class SessionActivities:
    """Sessions, routes and settlements in PostgreSQL.

    Args:
        outbox: takes the callbacks; None leaves them to the senders of other processes.
        house, keys, party_hash: see `Starts`.
        written: is told what was written.
    """

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        outbox: Outbox | None = None,
        house: HouseTerms | None = None,
        keys: StoredPayloadKeys | None = None,
        party_hash: PartyHash | None = None,
        written: LastWritten | None = None,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._outbox = outbox
        self._starts = Starts(house, keys, party_hash)
        self._ciphers = RecentCiphers()
        self._written = written or LastWritten()

    @activity.defn
    async def open_session(self, command: OpenSession) -> Opened:
        """Decide what the request left open, choose a number, take the routes, write the row. Safe to repeat."""
        if fault := impossible(command.session):
            return Opened(virtual_number=None, refusal=fault)
        session, agreement = self._starts.agreed(command.session, command.left)
        country = country_of(session.terms.matched_number) if session.terms.geomatch else None
        key = await self._starts.key(session.session_uuid)
        unchecked = await self._starts.is_unchecked(session, command.left)
        async with self._database.transaction() as connection:
            if unchecked and (fault := await self._starts.fault(connection, session)):
                return Opened(virtual_number=None, refusal=fault)
            result = await opening.open_session(
                connection, self._keyring, session, country, *key, beside=countries_beside(country)
            )
        if isinstance(result, opening.Exhausted):
            activity.logger.warning(
                "no number of %s could be had for a pair of parties; `masking numbers explain` tells why",
                session.owner_id,
            )
            return Opened(virtual_number=None, refusal=PIN_TAKEN if result.pin_taken else POOL_EXHAUSTED)
        self._ciphers.keep(session.session_uuid, result.key.cipher)
        self._starts.opened(session.session_uuid, result.key)
        self._written.note(session.session_uuid, session.version + 1)
        if result.left is not None and result.left < FEW_NUMBERS:
            activity.logger.warning(
                "the numbers of %s run out: %d more could be had for a pair of parties; add numbers",
                session.owner_id,
                result.left,
            )
        return Opened(
            virtual_number=result.virtual_number,
            pins=result.terms.pins,
            revision=REVISION,
            agreement=agreement,
            parties=self._starts.parties(session) if command.asks_parties else (),
            outlives_cancel=True,
        )

    @activity.defn
    async def change_parties(self, command: ChangeParties) -> PartiesChanged:
        """Take the routes of a session's new parties. Safe to repeat."""
        must_be_its_own(command.session.session_uuid)
        async with _unless_superseded(), self._database.transaction() as connection:
            held = await routes.change_parties(connection, self._keyring, command.session, command.terms)
        return PartiesChanged(holds_routes=held)

    @activity.defn
    async def record_session(self, command: RecordSession) -> Recorded:
        """Write the newest state, move the leases, queue callbacks. Safe to repeat and to come late."""
        must_be_its_own(command.session.session_uuid)
        recorded = await self._write(
            command.session,
            lambda connection: sessions.record_session(
                connection,
                self._keyring,
                command.session,
                command.callbacks,
                command.touched,
                lease=self._outbox.lease() if self._outbox is not None else None,
                ciphers=self._ciphers,
            ),
        )
        if recorded.queued is not None and self._outbox is not None:
            self._outbox.take(recorded.queued)
        if command.settle_at is not None:
            # Only once the end of its routes is there for all to see: a call that was connected before then counts.
            return await self._settled_if_complete(command, command.settle_at, holds_routes=recorded.holds_routes)
        if not command.asks_unreported:
            return Recorded(holds_routes=recorded.holds_routes)
        unreported = (await self._missing(command.session.session_uuid)).unreported
        if unreported == 0 and not waiting_for(command.session):
            # Its bill is closed next, by a run that does not know all that it heard by name.
            unreported = await self._told_again(command.session)
        return Recorded(holds_routes=recorded.holds_routes, unreported=unreported)

    async def _settled_if_complete(
        self, command: RecordSession, settle_at: datetime, *, holds_routes: bool
    ) -> Recorded:
        """Close the bill if every event that the gateway took is in it, and no more is to come."""
        session = command.session
        async with _unless_superseded(), self._database.pipelined() as connection:
            missing = await inbox.missing(connection, session.session_uuid, command.heard)
            # A retry of this activity finds what its first try did, whatever came since.
            closes = missing.settled or not missing.unheard
            if closes:
                final = settled(session, settle_at).session
                await sessions.settle_session(connection, self._keyring, final, self._ciphers)
        if not closes:
            unreported = missing.unreported or await self._told_again(session)
            return Recorded(holds_routes=holds_routes, unreported=unreported)
        self._ciphers.forget(session.session_uuid)
        self._written.note(session.session_uuid, final.version)
        return Recorded(holds_routes=holds_routes, unreported=missing.unreported, settled=True)

    async def _told_again(self, session: Session) -> int:
        """Have told again what was told already, and the session lacks all the same. How much that is.

        So it is with one whose workflow was reset, or whose Temporal was set back: its bill would lack it as well.
        """
        async with self._database.transaction() as connection:
            return await resuming.tell_lacking(connection, self._keyring, session)

    @activity.defn
    async def count_unreported(self, command: SessionRef) -> Unreported:
        """What the gateway knows of and the workflow may not yet."""
        missing = await self._missing(command.session_uuid)
        return Unreported(count=missing.unreported, waiting=missing.waiting)

    async def _missing(self, session_uuid: str) -> inbox.Missing:
        async with self._database.pipelined() as connection:
            return await inbox.missing(connection, session_uuid)

    @activity.defn
    async def settle_session(self, command: RecordSession) -> Bill:
        """Close the bill. Safe to repeat."""
        must_be_its_own(command.session.session_uuid)
        self._ciphers.forget(command.session.session_uuid)
        return await self._write(
            command.session,
            lambda connection: sessions.settle_session(connection, self._keyring, command.session),
        )

    async def _write(self, session: Session, write: Callable[[Connection], Awaitable[ResultT]]) -> ResultT:
        """Write of a session in one transaction; where the database has lost its row, once it has that again."""
        async with _unless_superseded():
            try:
                async with self._database.pipelined() as connection:
                    written = await write(connection)
            except (SessionGone, psycopg.errors.ForeignKeyViolation):
                await self._put_back(session)
                async with self._database.pipelined() as connection:
                    written = await write(connection)
        self._written.note(session.session_uuid, session.version)
        return written

    async def _put_back(self, session: Session) -> None:
        """Write the row of a session anew, under the key that it has here, which is nowhere else by now."""
        uuid = session.session_uuid
        key = await self._starts.key(uuid)
        async with self._database.transaction() as connection:
            cipher = self._ciphers.get(uuid) or key.cipher
            cipher = await restoring.put_back(connection, self._keyring, session, cipher, key.answers_under)
        self._starts.opened(uuid, StoredPayloadKey(cipher, key.answers_under))
        activity.logger.warning(
            "the database had lost session %s, whose workflow runs: it is written down again; it was set back to an"
            " earlier moment, see docs/operations.md, After a restore",
            uuid,
        )

    @activity.defn
    async def put_back_events(self, command: UnheededEvents) -> None:
        """Let events be told again, once their workflow has closed: as late ones. Safe to repeat."""
        async with self._database.transaction() as connection:
            await inbox.put_back(connection, command.session_uuid, command.event_ids)


@asynccontextmanager
async def _unless_superseded() -> AsyncIterator[None]:
    """Fail for good where the session was resumed in another run: a run that was taken for lost ends by that."""
    try:
        yield
    except Superseded as error:
        raise ApplicationError(str(error), type=type(error).__name__, non_retryable=True) from None
