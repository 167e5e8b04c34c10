"""The keys by which packs are opened and their signer is known."""

from __future__ import annotations

import base64
from typing import NamedTuple

from pydantic import ValidationError

from masking.audit.pack import Header
from masking.audit.signing import data_key_id
from masking.domain.model import Model
from masking.errors import MaskingError
from masking.privacy.keyring import KEY_BYTES, Unreadable
from masking.privacy.session_cipher import SessionCipher


class Keys(NamedTuple):
    """What a pack is verified with.

    Attributes:
        data_key: the session's, 32 bytes; None where it is not at hand.
        why_not: the reason for that.
        signer: the public key that must have signed, in base64; None where nobody named one.
    """

    data_key: bytes | None = None
    why_not: str = "the key of the session is not at hand; --key names its file"
    signer: str | None = None


class KeyFile(Model):
    """A session's data key, handed out to who is to verify its pack."""

    session_uuid: str
    data_key_id: str
    data_key: str

    @classmethod
    def of(cls, session_uuid: str, cipher: SessionCipher) -> KeyFile:
        """Of a session."""
        key = cipher.data_key
        encoded = base64.b64encode(key).decode()
        return cls(session_uuid=session_uuid, data_key_id=data_key_id(key), data_key=encoded)


def read_key_file(content: str) -> KeyFile:
    """A key file.

    Raises:
        MaskingError: it is none.
    """
    try:
        found = KeyFile.model_validate_json(content)
        if len(base64.b64decode(found.data_key, validate=True)) != KEY_BYTES:
            raise ValueError
    except (ValidationError, ValueError):
        raise MaskingError("this is no key of a session; `masking audit key SESSION` prints one") from None
    return found


def key_of(found: KeyFile) -> bytes:
    """The key in a key file."""
    return base64.b64decode(found.data_key)


def cipher_of(header: Header, keys: Keys) -> SessionCipher | None:
    """What opens a pack; None for one in the clear.

    Raises:
        Unreadable: the key is not at hand, or is another one.
    """
    if header.is_open:
        return None
    if keys.data_key is None:
        raise Unreadable(keys.why_not)
    if data_key_id(keys.data_key) != header.data_key_id:
        raise Unreadable("the key that was given is another session's")
    return SessionCipher(header.session_uuid, keys.data_key)
