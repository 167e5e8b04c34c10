"""Ingress keys: one for each day, under which other services write to Temporal without holding the key ring.

They are random, rest in PostgreSQL wrapped by a master key, and are handed to services as a file of their own.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from masking.errors import StartupError
from masking.privacy.keyring import Keyring, Unreadable, key_bytes

WRAPPING = "ingress key"
"""The purpose for which master keys wrap them."""

PREFIX = "ingress-"
"""How the id of an ingress key begins; its day follows."""

_NO_RING = (
    "the keys are ingress keys, which are for services that start sessions by a Temporal client; this process needs the"
    " key ring itself"
)


class _IngressFile(BaseModel):
    """The form of a file of ingress keys: by their ids, as base64 of 32 bytes."""

    model_config = ConfigDict(hide_input_in_errors=True, extra="forbid")

    ingress: dict[str, SecretStr] = Field(min_length=1)


class IngressKeyring(Keyring):
    """The keys of a service that starts sessions: one for each day (UTC), and no other key."""

    def __init__(self, keys: dict[str, bytes], source: Callable[[], Keyring | None] | None = None) -> None:
        super().__init__(keys, max(keys), b"", source)

    @property
    def current(self) -> str:
        """The id of today's key.

        Raises:
            Unreadable: there is none.
        """
        newest = super().current
        today = ingress_key_id(datetime.now(UTC).date())
        if today not in self.master_ids:
            raise Unreadable(
                f"today's ingress key is missing, the newest here is {newest}: have newer ones exported by"
                " `masking keys ingress export`"
            )
        return today

    def lookup_hash(self, kind: str, value: str) -> bytes:
        """There are none without the look-up key. Raises `StartupError`."""
        raise StartupError(_NO_RING)

    def derived_token(self, purpose: str) -> str:
        """There are none without the look-up key. Raises `StartupError`."""
        raise StartupError(_NO_RING)

    def derived_key(self, purpose: str) -> bytes:
        """There are none without the look-up key. Raises `StartupError`."""
        raise StartupError(_NO_RING)


def must_be_whole(keyring: Keyring) -> None:
    """Let a process of ours go on only with the key ring itself.

    Raises:
        StartupError: it was given a service's keys.
    """
    if isinstance(keyring, IngressKeyring):
        raise StartupError(_NO_RING)


def ingress_key_id(day: date) -> str:
    """How the ingress key of a day (UTC) is called."""
    return f"{PREFIX}{day.isoformat()}"


def ingress_day(key_id: str) -> date | None:
    """The day of an ingress key, by its id; None for another key's."""
    try:
        return date.fromisoformat(key_id.removeprefix(PREFIX)) if key_id.startswith(PREFIX) else None
    except ValueError:
        return None


def ingress_file(keys: Mapping[str, bytes]) -> str:
    """The content of a file of ingress keys, by their ids."""
    encoded = {key_id: base64.b64encode(key).decode() for key_id, key in keys.items()}
    return json.dumps({"ingress": encoded}, indent=2) + "\n"


def parsed_ingress(content: str, source: Callable[[], Keyring | None] | None = None) -> IngressKeyring | None:
    """The keys in a file of ingress keys; None if it is another file."""
    try:
        parsed = _IngressFile.model_validate_json(content)
        keys = {key_id: key_bytes(key) for key_id, key in parsed.ingress.items()}
    except (ValidationError, ValueError):
        return None
    return IngressKeyring(keys, source) if all(map(ingress_day, keys)) else None
