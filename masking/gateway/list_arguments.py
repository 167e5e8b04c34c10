"""The filters of a list (masking-session-api.txt, "List All Sessions"), in every spelling that SDKs send.

Besides the documented `created_time__gte`, real SDKs send `created_time_gte` (Java, Node)
and `created_times` for equality (Node); old documents name `session_duration`
(plivo-wire.md §1.4). Of a key that is given several times, the last that is not empty counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple, cast

from pydantic_core import PydanticCustomError

from masking.gateway.arguments import e164
from masking.gateway.errors import ApiError
from masking.gateway.list_pages import MAX_OFFSET, Cursor, read_cursor
from masking.storage.accounts import AUTH_ID
from masking.storage.session_list import Bound, Column, Operator, SessionFilter

MAX_LIMIT = 20
DEFAULT_WINDOW, MAX_WINDOW = timedelta(days=7), timedelta(days=30)
YEARS = range(1970, 3000)
STATUSES = ("active", "in-progress", "expired", "all")

_COLUMNS: dict[str, Column] = {
    "created_time": "created_at",
    "expiry_time": "expires_at",
    "duration": "duration",
    "session_duration": "duration",
}
_OPERATORS: dict[str, Operator] = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_BESIDE_SPAN: dict[str, Callable[[datetime, datetime], tuple[Operator, datetime]]] = {
    "gt": lambda begin, end: (">=", end),
    "gte": lambda begin, end: (">=", begin),
    "lt": lambda begin, end: ("<", begin),
    "lte": lambda begin, end: ("<", end),
}
"""A time names a span as long as it is precise: later than 10:00 is from 10:01 on, up to 10:00 is before 10:01."""
_COMPARED = re.compile(r"(created_time|expiry_time|session_duration|duration)(?:s|__?(gte?|lte?))?")
_OTHERS = ("first_party", "second_party", "virtual_number", "status", "subaccount", "sub_account")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d)(?:(:\d\d)(\.\d{1,6})?)?(?: ?\+0000 UTC|Z|\+00:00)?", re.ASCII)


class Parameter(NamedTuple):
    """A query parameter, as the OpenAPI document describes it."""

    name: str
    schema: dict[str, Any]
    description: str


def _parameters() -> tuple[Parameter, ...]:
    found = [
        Parameter("first_party", {"type": "string"}, "The first party's number."),
        Parameter("second_party", {"type": "string"}, "The second party's number."),
        Parameter("virtual_number", {"type": "string"}, "The virtual number."),
        Parameter("status", {"type": "string", "enum": list(STATUSES)}, "all unless given."),
        Parameter("subaccount", {"type": "string"}, "Sessions of this subaccount."),
    ]
    times = {"created_time": "Time of creation", "expiry_time": "Time of expiry"}
    for name, what in times.items():
        meaning = (
            f"{what}, UTC, YYYY-MM-DD HH:MM[:ss[.uuuuuu]], meant as precisely as it is given;"
            " a window of 7 days unless given, at most 30."
        )
        found += [Parameter(each, {"type": "string"}, meaning) for each in _variants(name)]
    found += [
        Parameter(each, {"type": "integer"}, "Seconds from creation to expiry.") for each in _variants("duration")
    ]
    found.append(Parameter("limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT}, "Sessions per page."))
    found.append(Parameter("offset", {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET}, "Sessions to skip."))
    found.append(Parameter("cursor", {"type": "string"}, "Part of meta.next and meta.previous: goes before offset."))
    return tuple(found)


def _variants(name: str) -> list[str]:
    return [name, *(f"{name}__{operator}" for operator in _OPERATORS)]


PARAMETERS = _parameters()


class ListArguments(NamedTuple):
    """What to list, and which page of it.

    Attributes:
        cursor: where the page begins, when it is the neighbour of another; then `offset` only tells its place.
        filters: the filters as they were given.
    """

    wanted: SessionFilter
    limit: int
    offset: int
    cursor: Cursor | None
    filters: dict[str, str]


def read_list(query: Mapping[str, str], now: datetime) -> ListArguments:
    """Check the filters of a list. Unknown ones are ignored.

    Raises:
        ApiError: 400 with a sentence that names the filter and its rule.
    """
    given = {key: value.strip() for key, value in query.items() if value.strip()}
    filters = {key: value for key, value in given.items() if key in _OTHERS or _COMPARED.fullmatch(key)}
    cursor = read_cursor(given["cursor"], filters) if "cursor" in given else None
    compared = [bound for key, value in filters.items() for bound in _bounds(key, value)]
    bounds = _within_window(compared, now if cursor is None else cursor.as_of)
    if cursor is not None:
        bounds.append(Bound("created_at", "<=", cursor.newest))
    status = given.get("status", "all")
    if status not in STATUSES:
        raise ApiError(400, f"Invalid parameter. status allowed values are {', '.join(STATUSES)}.")
    subaccount = given.get("subaccount") or given.get("sub_account")
    if subaccount is not None and not AUTH_ID.fullmatch(subaccount):
        raise ApiError(400, "Invalid parameter. subaccount should be the auth ID of a subaccount.")
    wanted = SessionFilter(
        first_party=_number(given, "first_party"),
        second_party=_number(given, "second_party"),
        virtual_number=_number(given, "virtual_number"),
        subaccount=subaccount,
        status=cast(Literal["active", "in-progress", "expired", "all"], status),
        bounds=tuple(bounds),
    )
    limit = whole(given, "limit", MAX_LIMIT, lowest=1, highest=MAX_LIMIT)
    offset = whole(given, "offset", 0, lowest=0, highest=MAX_OFFSET)
    return ListArguments(wanted, limit, offset, cursor, filters)


def _bounds(key: str, value: str) -> list[Bound]:
    match = _COMPARED.fullmatch(key)
    if match is None:
        return []
    name, operator = match[1], match[2]
    column = _COLUMNS[name]
    if column == "duration":
        seconds = _seconds(name, value)
        operators: tuple[Operator, ...] = (">=", "<=") if operator is None else (_OPERATORS[operator],)
        return [Bound(column, each, seconds) for each in operators]
    begin, end = _span(name, value)
    if operator is None:
        return [Bound(column, ">=", begin), Bound(column, "<", end)]
    return [Bound(column, *_BESIDE_SPAN[operator](begin, end))]


def _within_window(bounds: list[Bound], now: datetime) -> list[Bound]:
    """Add the default window to times that are open at an end; refuse a window that is too long."""
    compared = {bound.column for bound in bounds} & {"created_at", "expires_at"}
    added: list[Bound] = []
    for column in compared or {"created_at"}:
        lower = [b.value for b in bounds if b.column == column and b.operator in (">", ">=")]
        upper = [b.value for b in bounds if b.column == column and b.operator in ("<", "<=")]
        end = min((v for v in upper if isinstance(v, datetime)), default=None)
        start = max((v for v in lower if isinstance(v, datetime)), default=None)
        if start is None:
            start = (end or now) - DEFAULT_WINDOW
            added.append(Bound(column, ">=", start))
        elif (end or now) - start > MAX_WINDOW + timedelta(minutes=1):
            name = "created_time" if column == "created_at" else "expiry_time"
            raise ApiError(400, f"Invalid parameter. {name} should span at most {MAX_WINDOW.days} days.")
    return bounds + added


def _span(name: str, value: str) -> tuple[datetime, datetime]:
    """What a time says, UTC: the minute, second or fraction that it names, from its begin to before its end."""
    match = _TIME.fullmatch(value)
    try:
        if match is None:
            raise ValueError
        date, minutes, seconds, fraction = match.groups()
        begin = datetime.fromisoformat(f"{date} {minutes}{seconds or ':00'}").replace(tzinfo=UTC)
    except ValueError:
        raise ApiError(
            400, f"Invalid parameter. {name} should be of the form YYYY-MM-DD HH:MM[:ss[.uuuuuu]]."
        ) from None
    if begin.year not in YEARS:
        raise ApiError(400, f"Invalid parameter. {name} should be in the years {YEARS[0]} to {YEARS[-1]}.")
    if fraction is None:
        return begin, begin + (timedelta(seconds=1) if seconds is not None else timedelta(minutes=1))
    digits = fraction[1:]
    unit = timedelta(microseconds=10 ** (6 - len(digits)))
    begin += int(digits) * unit
    return begin, begin + unit


def _seconds(name: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) < 10):
        raise ApiError(400, f"Invalid parameter. {name} should be a whole number of seconds.")
    return int(value)


def whole(given: Mapping[str, str], name: str, default: int, *, lowest: int, highest: int) -> int:
    """A whole number of a query; `default` when it is not given.

    Raises:
        ApiError: 400, it is none, or outside its range.
    """
    value = given.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdecimal() and len(value) < 10 and lowest <= int(value) <= highest):
        raise ApiError(400, f"Invalid parameter. {name} should be a whole number from {lowest} to {highest}.")
    return int(value)


def _number(given: Mapping[str, str], name: str) -> str | None:
    value = given.get(name)
    if value is None:
        return None
    try:
        return e164(value)
    except PydanticCustomError:
        raise ApiError(400, f"Invalid parameter. {name} is not a valid phone number.") from None
