"""A carrier's call records as a CSV file, checked whole. The numbers in it are neither read nor shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from masking.domain.bill.reconciliation import CarrierRecord
from masking.errors import MaskingError
from masking.operate.csv_lines import opened, taken

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "call_uuid": ("call_uuid", "calluuid", "uuid"),
    "amount": ("amount", "total_amount", "total_cost", "totalcost"),
    "currency": ("currency",),
    "direction": ("direction", "call_direction"),
    "duration": ("duration", "call_duration"),
    "billed_duration": ("billed_duration", "billed_seconds"),
    "end_time": ("end_time",),
}
"""What is read, each by the names it may have, those of Plivo's call records among them; in any case."""

DEFAULT_CURRENCY = "USD"


def read_call_records(path: Path) -> list[CarrierRecord]:
    """The legs of a file, in its order. Columns that are not known are ignored.

    Raises:
        WrongLines: some lines cannot be taken; names all of them.
        MaskingError: the file cannot be read, or its columns are wrong.
    """
    with opened(path) as file:
        names = _names(path, file.columns)
        records = taken(
            file,
            lambda line, row: _record(line, {known: row.get(name, "") for known, name in names.items()}),
            f"{path} cannot be compared",
        )
    if not records:
        raise MaskingError(f"{path} has no call records")
    return records


def _names(path: Path, columns: tuple[str, ...]) -> dict[str, str]:
    """By which name the file has each column that is known."""
    names: dict[str, str] = {}
    for known, aliases in COLUMNS.items():
        found = [column for column in columns if re.sub("[^a-z0-9]+", "_", column.strip().lower()) in aliases]
        if len(found) > 1:
            raise MaskingError(f"{path}: several columns tell the {known}; leave one of {', '.join(aliases)}")
        if found:
            names[known] = found[0]
    missing = [known for known in ("call_uuid", "amount") if known not in names]
    if missing:
        told = "; ".join(f"{known} is also known as {', '.join(COLUMNS[known][1:])}" for known in missing)
        raise MaskingError(f"{path}: the first line must name the columns call_uuid and amount ({told})")
    return names


def _record(line: int, row: Mapping[str, str]) -> CarrierRecord:
    leg_uuid = row["call_uuid"]
    if not leg_uuid:
        raise ValueError("call_uuid is missing")
    currency = row.get("currency", "").upper() or DEFAULT_CURRENCY
    if not re.fullmatch("[A-Z]{3}", currency):
        raise ValueError("currency must be three letters, such as USD")
    return CarrierRecord(
        line=line,
        leg_uuid=leg_uuid,
        amount=_amount(row["amount"]),
        currency=currency,
        direction=row.get("direction", "").lower(),
        duration=_seconds("duration", row.get("duration", "")),
        billed_duration=_seconds("billed_duration", row.get("billed_duration", "")),
        ended_at=_moment(row.get("end_time", "")),
    )


def _amount(text: str) -> Decimal:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,12})?", text or "0"):
        raise ValueError("amount must be a decimal, such as 0.00550")
    return Decimal(text or "0")


def _seconds(name: str, text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,9}(\.0*)?", text):
        raise ValueError(f"{name} must be whole seconds")
    return int(text.partition(".")[0])


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("end_time must be a moment in ISO 8601, such as 2026-11-23 14:03:07") from None
