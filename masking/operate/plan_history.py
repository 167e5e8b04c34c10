"""Histories of demand: a CSV of past sessions, checked whole. What it tells of the parties is never shown."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from masking.domain.pool.simulation import Demand
from masking.e164 import country_of, valid_e164
from masking.errors import MaskingError
from masking.operate.csv_lines import opened, taken

REQUIRED = ("created_at", "ended_at", "first_party", "second_party")
OPTIONAL = ("country", "cooloff")
MAX_COOLOFF = 3600
YEARS = range(1970, 3000)
COUNTRY = re.compile("[A-Z]{2}")


def read_history(path: Path) -> list[Demand]:
    """The sessions of a file, in its order.

    Columns: `created_at`, `ended_at` (ISO 8601; UTC where no offset is given), `first_party` and
    `second_party` (phone numbers, or anything else that tells the parties apart), `country` (ISO, of
    the session's number; the first party's when left out, which must then be a phone number), and
    `cooloff` (seconds for which the whole number rested after the session).

    Raises:
        WrongLines: some lines cannot be taken; names all of them.
        MaskingError: the file cannot be read, or its columns are wrong.
    """
    with opened(path) as file:
        _check_columns(path, file.columns)
        demands = taken(file, lambda _, row: _demand(row), f"{path} cannot be planned for")
    if not demands:
        raise MaskingError(f"{path} has no sessions")
    return demands


def _check_columns(path: Path, columns: tuple[str, ...]) -> None:
    """Names no column of the file: where the line of names is missing, they are the parties of a session."""
    missing = [name for name in REQUIRED if name not in columns]
    unknown = [str(place) for place, name in enumerate(columns, 1) if name not in REQUIRED + OPTIONAL]
    if not missing and not unknown and len(set(columns)) == len(columns):
        return
    wrong = [f"missing: {', '.join(missing)}"] if missing else []
    wrong += [f"unknown: column {', '.join(unknown)}"] if unknown else []
    raise MaskingError(f"{path}: the first line must name the columns {', '.join(REQUIRED)}, and may name "
                       f"{', '.join(OPTIONAL)}, each once ({'; '.join(wrong) or 'some are named twice'})")  # fmt: skip


def _demand(row: dict[str, str]) -> Demand:
    starts, ends = _moment("created_at", row["created_at"]), _moment("ended_at", row["ended_at"])
    if ends < starts:
        raise ValueError("ended_at is before created_at")
    first, second = _party("first_party", row["first_party"]), _party("second_party", row["second_party"])
    if first == second:
        raise ValueError("first_party and second_party are the same")
    country = row.get("country", "").upper() or _country(row["first_party"])
    if not COUNTRY.fullmatch(country):
        raise ValueError("country must be an ISO country of two letters, such as US")
    return Demand(country, first, second, starts, ends, _cooloff(row.get("cooloff", "")))


def _moment(name: str, text: str) -> datetime:
    try:
        told = datetime.fromisoformat(text)
        moment = told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)
    except (ValueError, OverflowError):
        moment = None
    # A date alone would be taken for its midnight.
    if moment is None or moment.year not in YEARS or len(text) <= len("2026-11-23"):
        raise ValueError(f"{name} must be a moment in ISO 8601, such as 2026-11-23T14:03:07Z")
    return moment


def _party(name: str, text: str) -> str:
    """What tells a party apart: a phone number is the same with and without its plus sign."""
    if not text:
        raise ValueError(f"{name} is missing")
    return text[1:] if text[0] == "+" and text[1:].isdecimal() else text


@cache
def _country(first_party: str) -> str:
    e164 = valid_e164(first_party)
    country = country_of(e164) if e164 is not None else None
    if country is None:
        raise ValueError("country is missing, and first_party is not a phone number of a country in E.164")
    return country


def _cooloff(text: str) -> int:
    if not text:
        return 0
    if not re.fullmatch("[0-9]{1,4}", text) or int(text) > MAX_COOLOFF:
        raise ValueError(f"cooloff must be whole seconds, 0 to {MAX_COOLOFF}")
    return int(text)
