"""Plivo's V3 webhook signatures (plivo-wire.md §6.1)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, urlsplit

SIGNATURE = "X-Plivo-Signature-V3"
MAIN_ACCOUNT_SIGNATURE = "X-Plivo-Signature-Ma-V3"
NONCE = "X-Plivo-Signature-V3-Nonce"
NONCE_DIGITS = 20


def plivo_v3(method: str, url: str, params: Mapping[str, str], nonce: str, token: str) -> str:
    """The signature of a request: base64 of HMAC-SHA256 keyed with an auth token.

    Args:
        params: the decoded form fields of a POST; a GET carries its own in the URL.
    """
    parts = urlsplit(url)
    query = "&".join(f"{key}={value}" for key, value in sorted(parse_qsl(parts.query, keep_blank_values=True)))
    signed = f"{parts.scheme}://{parts.netloc}{parts.path}"
    if method == "POST" and params:
        # The "?" stays even without a query: Plivo signs it so.
        signed += "?" + query + ("." if query else "") + "".join(key + params[key] for key in sorted(params))
    elif query:
        signed += "?" + query
    digest = hmac.digest(token.encode(), f"{signed}.{nonce}".encode(), hashlib.sha256)
    return base64.b64encode(digest).decode()


def signed_headers(
    method: str, url: str, params: Mapping[str, str], tokens: Sequence[str], main_tokens: Sequence[str] | None = None
) -> dict[str, str]:
    """The headers that sign a request with every token that is valid now; none without a token.

    Args:
        tokens: of the account or subaccount that the request is about.
        main_tokens: of its main account; None where it is one itself.
    """
    if not tokens:
        return {}
    nonce = f"{secrets.randbelow(10**NONCE_DIGITS):0{NONCE_DIGITS}}"

    def signatures(of: Sequence[str]) -> str:
        return ",".join(plivo_v3(method, url, params, nonce, token) for token in of)

    main = tokens if main_tokens is None else main_tokens
    return {SIGNATURE: signatures(tokens), MAIN_ACCOUNT_SIGNATURE: signatures(main), NONCE: nonce}


def is_signed_by(
    method: str, url: str, params: Mapping[str, str], headers: Mapping[str, str], tokens: Sequence[str]
) -> bool:
    """Whether one of the signatures in `headers` was made with one of `tokens`; compared in constant time."""
    nonce = headers.get(NONCE, "")
    given = ",".join((headers.get(SIGNATURE, ""), headers.get(MAIN_ACCOUNT_SIGNATURE, ""))).split(",")
    try:
        expected = [plivo_v3(method, url, params, nonce, token) for token in tokens]
    except UnicodeEncodeError:
        # Half a character of UTF-16, as JSON and headers may hold, is no text that anybody signed.
        return False
    return bool(nonce) and any(
        hmac.compare_digest(one.strip().encode(errors="replace"), other.encode()) for one in given for other in expected
    )
