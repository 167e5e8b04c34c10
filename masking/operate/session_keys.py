"""The data keys of sessions, for operators' commands: the one way by which these come to read what is sealed."""

from __future__ import annotations

from collections.abc import Sequence

from masking.audit.keys import Keys
from masking.operate.system import OperatedSystem
from masking.privacy.keyring import Unreadable
from masking.privacy.session_cipher import SessionCipher, unwrapped
from masking.storage.evidence import StoredKey, read_keys


async def keys_of(system: OperatedSystem, session_uuids: Sequence[str], signer: str | None) -> dict[str, Keys]:
    """What packs of these sessions are verified with; one that is unknown here has no key."""
    async with system.database.transaction() as connection:
        stored = await read_keys(connection, session_uuids)
    return {uuid: _keys(system, stored.get(uuid), signer) for uuid in session_uuids}


def _keys(system: OperatedSystem, stored: StoredKey | None, signer: str | None) -> Keys:
    if stored is None:
        return Keys(None, "this system has no such session, and so no key of it", signer)
    try:
        cipher = cipher_of(system, stored)
    except Unreadable as error:
        return Keys(None, str(error), signer)
    return Keys(cipher.data_key, "", signer)


def cipher_of(system: OperatedSystem, stored: StoredKey) -> SessionCipher:
    """The cipher of a session.

    Raises:
        Unreadable: it was erased, or the key ring lacks its master key.
    """
    if stored.erased_at is not None:
        raise Unreadable(f"the session was erased at {stored.erased_at.isoformat()}: its key is destroyed")
    return unwrapped(system.keyring, stored.session_uuid, stored.key_id, stored.wrapped_key)
