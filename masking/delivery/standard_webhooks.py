"""The signature of Standard Webhooks, symmetric, version 1 (https://www.standardwebhooks.com).

Its secret is the account's auth token: `whsec_` followed by the token in base64.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"


def standard_signature(message_id: str, timestamp: int, body: bytes, key: bytes) -> str:
    """One signature, `v1,` and base64 of HMAC-SHA256.

    Args:
        timestamp: of the try, in seconds since 1970, UTC.
        key: the secret's bytes, decoded.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def standard_headers(message_id: str, timestamp: int, body: bytes, tokens: Sequence[str]) -> dict[str, str]:
    """The headers that sign a body with every token that is valid now; none without a token."""
    if not tokens:
        return {}
    signatures = (standard_signature(message_id, timestamp, body, token.encode()) for token in tokens)
    return {ID: message_id, TIMESTAMP: str(timestamp), SIGNATURE: " ".join(signatures)}
