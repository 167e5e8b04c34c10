"""What Temporal's lists find sessions by. None of it holds a number: search attributes rest in the clear."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Literal

from temporalio.common import SearchAttributeKey, SearchAttributePair, SearchAttributeUpdate, TypedSearchAttributes

from masking.domain.limits import within_calendar
from masking.domain.terms import SessionRequest

STATUS = SearchAttributeKey.for_keyword("MaskingStatus")
"""`active` from the start until the session takes no more calls; then `expired`, or `refused`."""
ACCOUNT = SearchAttributeKey.for_keyword("MaskingAccount")
"""The auth id whose numbers it uses: a subaccount's where it has one."""
EXPIRY = SearchAttributeKey.for_datetime("MaskingExpiry")
"""When it was to expire at its start; once it has expired, when that was."""
CARRIER = SearchAttributeKey.for_keyword("MaskingCarrier")
"""Who carries its calls."""
PARTIES = SearchAttributeKey.for_keyword_list("MaskingParties")
"""Keyed hashes of the parties' numbers at its start. A starter without the look-up key leaves them to our worker."""

ATTRIBUTES: tuple[SearchAttributeKey[Any], ...] = (STATUS, ACCOUNT, EXPIRY, CARRIER, PARTIES)

_KINDS = {"KEYWORD": "Keyword", "DATETIME": "Datetime", "KEYWORD_LIST": "KeywordList"}


def kinds() -> dict[str, str]:
    """The attributes by name, with their types as the `temporal` command line calls them."""
    return {key.name: _KINDS[key.indexed_value_type.name] for key in ATTRIBUTES}


PartyHash = Callable[[str], str]
"""What a number in E.164 is found by, without being told."""

VOICE = "voice"


def told_at_start(
    request: SessionRequest, now: datetime, party_hash: PartyHash | None = None, carrier: str = VOICE
) -> TypedSearchAttributes:
    """What a session is found by from its start on. Attributes that are set at the start cost no Action."""
    return TypedSearchAttributes(list(_pairs(request, now, party_hash, carrier)))


def _pairs(
    request: SessionRequest, now: datetime, party_hash: PartyHash | None, carrier: str
) -> Iterator[SearchAttributePair[Any]]:
    yield SearchAttributePair(STATUS, "active")
    yield SearchAttributePair(ACCOUNT, request.subaccount_id or request.account_id)
    yield SearchAttributePair(EXPIRY, now + within_calendar(request.session_expiry))
    yield SearchAttributePair(CARRIER, carrier)
    if party_hash is not None:
        yield SearchAttributePair(PARTIES, [party_hash(number) for number in request.terms.parties.values()])


def lacks_parties(known: TypedSearchAttributes) -> bool:
    """Whether lists find a session, but not by its parties: whoever started it could not hash them."""
    return known.get(STATUS) is not None and known.get(PARTIES) is None


def told_when_open(parties: Sequence[str]) -> Sequence[SearchAttributeUpdate[Any]]:
    """What is added for a session that lacks its parties, given their hashes."""
    return (PARTIES.value_set(parties),) if parties else ()


def told_at_end(
    known: TypedSearchAttributes, status: Literal["expired", "refused"], expired_at: datetime
) -> Sequence[SearchAttributeUpdate[Any]]:
    """What changes once a session takes no more calls; nothing for one that was started without attributes."""
    if known.get(STATUS) in (None, status):
        return ()
    return (STATUS.value_set(status), EXPIRY.value_set(expired_at))
