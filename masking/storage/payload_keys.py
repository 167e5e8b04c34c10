"""Where a process of ours has the keys of Temporal's payloads: from PostgreSQL, those used last at hand."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from psycopg_pool import PoolTimeout

from masking.errors import KeysAway
from masking.privacy.ingress import ingress_day, ingress_key_id
from masking.privacy.keyring import Keyring, Unreadable
from masking.privacy.payload_keys import SESSION, UNDER_MASTER, PayloadKey, Writing, of_ingress, of_session
from masking.privacy.session_cipher import SessionCipher
from masking.storage.database import Transactions
from masking.storage.ingress_keys import make_ahead, read_ingress_key
from masking.storage.session_keys import CLEAR, MASTER, OWN, StoredPayloadKey, read_payload_key

MOST = 10_000
"""Of so many sessions are the keys at hand."""

MOST_DAYS = 100


@dataclass
class _Known:
    """What is known of a session.

    Attributes:
        answers_under: what its answers are under, as in its row; until it is open, what its start was under.
        cipher, own: of its data key; None until it has one, and for sessions of before they had one for payloads.
        writing: what to write under; None until somebody asked.
        bill_in_clear: whether its bill is under no key.
        is_asked_for: whether it is only about to be started here. Its start tells better.
    """

    answers_under: str
    cipher: SessionCipher | None = None
    own: PayloadKey | None = None
    writing: Writing | None = None
    bill_in_clear: bool = False
    is_asked_for: bool = False

    @property
    def stored(self) -> str:
        """What its row has, or is to have, for what its answers are under."""
        if self.bill_in_clear:
            return CLEAR
        is_known = self.own is not None or ingress_day(self.answers_under) is not None
        return self.answers_under if is_known else MASTER


class StoredPayloadKeys:
    """The keys of sessions and days, as `masking.privacy.payload_keys.PayloadKeys` wants them.

    Args:
        runs_workflows: whether workflows run here: only then is the first payload of a session its start. Until
            the session is open, what belongs to it is written under the key of its start.
        most: of how many sessions keys are kept at hand, those used last. Where workflows run, far more than are
            cached there: for a session that is not known any more, an update of another service would pass for its
            start.
    """

    def __init__(
        self, database: Transactions, keyring: Keyring, *, runs_workflows: bool = False, most: int = MOST
    ) -> None:
        self._database, self._keyring = database, keyring
        self._runs_workflows = runs_workflows
        self._most = most
        self._sessions: OrderedDict[str, _Known] = OrderedDict()
        self._days: OrderedDict[str, PayloadKey] = OrderedDict()

    async def reading(self, key_id: str) -> PayloadKey:
        """The key of this id.

        Raises:
            Unreadable: it was destroyed, or there never was one.
            KeysAway: PostgreSQL does not answer.
        """
        if not key_id.startswith(SESSION):
            return await self._of_day(key_id)
        session_uuid = key_id.removeprefix(SESSION)
        known = self._at_hand(session_uuid)
        if known is None or known.own is None:
            known = await self._fetched(session_uuid)
        if known is None or known.own is None:
            raise Unreadable("there is no key of the session of this payload")
        return known.own

    async def writing(self, session_uuid: str) -> Writing:
        """What a session's payloads are to be under. Raises what `reading` raises."""
        known = self._at_hand(session_uuid)
        if known is None:
            known = await self._fetched(session_uuid)
            if known is None:
                return UNDER_MASTER
        if known.writing is None:
            answers = known.own
            if known.answers_under != OWN:
                is_of_day = ingress_day(known.answers_under) is not None
                answers = await self._of_day(known.answers_under) if is_of_day else None
            known.writing = Writing(known.own or answers, answers, known.bill_in_clear)
        return known.writing

    def note_start(self, session_uuid: str, key_id: str, *, bill_in_clear: bool = False) -> None:
        """A payload of the session is under a key that is not its own. The first one is its start."""
        known = self._sessions.get(session_uuid)
        if self._runs_workflows and (known is None or known.is_asked_for):
            self._keep(session_uuid, _Known(key_id, bill_in_clear=bill_in_clear))

    async def begin(self, session_uuid: str, key_id: str, *, bill_in_clear: bool = False) -> str:
        """A session is about to be started for somebody who writes under this key, unless it is there already.

        Until it is open, what belongs to it is written under that key.

        Returns:
            What its answers are under.

        Raises:
            KeysAway, Unreadable: see `reading`.
        """
        known = self._at_hand(session_uuid) or await self._fetched(session_uuid)
        if known is None or known.is_asked_for:
            known = _Known(key_id, bill_in_clear=bill_in_clear, is_asked_for=True)
            self._keep(session_uuid, known)
        return known.stored

    async def look_again(self, session_uuid: str) -> None:
        """Learn of a session that was only about to be started, as far as is known here, whether it is open by now.

        Raises what `reading` raises.
        """
        known = self._sessions.get(session_uuid)
        if known is not None and known.own is None:
            await self._fetched(session_uuid)

    async def today(self) -> str:
        """The id of today's ingress key, which is made if there is none yet. Raises `KeysAway`."""
        key_id = ingress_key_id(datetime.now(UTC).date())
        if key_id not in self._days:
            try:
                async with self._database.transaction() as connection:
                    await make_ahead(connection, self._keyring, 1)
            except (psycopg.Error, PoolTimeout) as error:
                raise _away(error) from None
        return key_id

    async def answers_under(self, session_uuid: str) -> str:
        """What answers of a session that is about to be opened here are to be under. Raises what `reading` raises."""
        known = self._at_hand(session_uuid) or await self._fetched(session_uuid)
        return MASTER if known is None else known.stored

    def cipher(self, session_uuid: str) -> SessionCipher | None:
        """The session's data key, if it is at hand."""
        known = self._at_hand(session_uuid)
        return known.cipher if known is not None else None

    def keep(self, session_uuid: str, stored: StoredPayloadKey) -> None:
        """A session was given its key here, or got its row."""
        known = _Known(MASTER)
        if stored.answers_under is not None:
            own, in_clear = of_session(session_uuid, stored.cipher), stored.answers_under == CLEAR
            known = _Known(OWN if in_clear else stored.answers_under, stored.cipher, own, bill_in_clear=in_clear)
        self._keep(session_uuid, known)

    async def _fetched(self, session_uuid: str) -> _Known | None:
        try:
            async with self._database.transaction() as connection:
                stored = await read_payload_key(connection, self._keyring, session_uuid)
        except (psycopg.Error, PoolTimeout) as error:
            raise _away(error) from None
        if stored is None:
            return None
        self.keep(session_uuid, stored)
        return self._sessions.get(session_uuid)

    async def _of_day(self, key_id: str) -> PayloadKey:
        key = self._days.get(key_id)
        if key is None:
            day = ingress_day(key_id)
            if day is None:
                raise Unreadable("a payload names a key that there is not")
            try:
                async with self._database.transaction() as connection:
                    key = of_ingress(key_id, await read_ingress_key(connection, self._keyring, day))
            except (psycopg.Error, PoolTimeout) as error:
                raise _away(error) from None
            self._days[key_id] = key
            if len(self._days) > MOST_DAYS:
                self._days.popitem(last=False)
        return key

    def _at_hand(self, session_uuid: str) -> _Known | None:
        known = self._sessions.get(session_uuid)
        if known is not None:
            self._sessions.move_to_end(session_uuid)
        return known

    def _keep(self, session_uuid: str, known: _Known) -> None:
        self._sessions[session_uuid] = known
        self._sessions.move_to_end(session_uuid)
        if len(self._sessions) > self._most:
            self._sessions.popitem(last=False)


def _away(error: Exception) -> KeysAway:
    return KeysAway(f"the keys of Temporal's payloads cannot be read: PostgreSQL is away ({type(error).__name__})")
