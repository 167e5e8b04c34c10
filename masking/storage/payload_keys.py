"""Where a process of ours has the keys of Temporal's payloads: from PostgreSQL, those used last at hand."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import psycopg
from psycopg_pool import PoolTimeout

from masking.errors import KeysAway
from masking.privacy.ingress import ingress_day
from masking.privacy.keyring import Keyring, Unreadable
from masking.privacy.payload_keys import SESSION, UNDER_MASTER, PayloadKey, Writing, of_ingress, of_session
from masking.privacy.session_cipher import SessionCipher
from masking.storage.database import Transactions
from masking.storage.ingress_keys import read_ingress_key
from masking.storage.session_keys import MASTER, OWN, StoredPayloadKey, read_payload_key

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
    """

    answers_under: str
    cipher: SessionCipher | None = None
    own: PayloadKey | None = None
    writing: Writing | None = None


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
            known.writing = Writing(known.own or answers, answers)
        return known.writing

    def note_start(self, session_uuid: str, key_id: str) -> None:
        """A payload of the session is under a key that is not its own. The first one is its start."""
        if self._runs_workflows and session_uuid not in self._sessions:
            self._keep(session_uuid, _Known(key_id))

    async def answers_under(self, session_uuid: str) -> str:
        """What answers of a session that is about to be opened here are to be under. Raises what `reading` raises."""
        known = self._at_hand(session_uuid) or await self._fetched(session_uuid)
        if known is None:
            return MASTER
        if known.own is not None:
            return OWN
        return known.answers_under if ingress_day(known.answers_under) is not None else MASTER

    def cipher(self, session_uuid: str) -> SessionCipher | None:
        """The session's data key, if it is at hand."""
        known = self._at_hand(session_uuid)
        return known.cipher if known is not None else None

    def keep(self, session_uuid: str, stored: StoredPayloadKey) -> None:
        """A session was given its key here, or got its row."""
        known = _Known(MASTER)
        if stored.answers_under is not None:
            own = of_session(session_uuid, stored.cipher)
            known = _Known(stored.answers_under, stored.cipher, own)
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
