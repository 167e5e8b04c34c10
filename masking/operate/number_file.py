"""Files of virtual numbers: CSV with a line of names, checked whole before anything is kept."""

from __future__ import annotations

from pathlib import Path

import phonenumbers

from masking.e164 import country_of, valid_e164
from masking.errors import MaskingError
from masking.operate.csv_lines import Lines, opened, taken
from masking.operate.progress import Done
from masking.storage.accounts import AUTH_ID
from masking.storage.numbers import NewNumber

COLUMNS = ("number", "account", "country", "area", "carrier", "capabilities")


def read_numbers(path: Path, account_id: str | None, done: Done) -> list[NewNumber]:
    """The numbers of a file.

    Columns: `number` (E.164); `account`, unless `account_id` is given for all; `country` (ISO,
    told by the number when left out), `area`, `carrier`, `capabilities` (separated by spaces).

    Raises:
        WrongLines: some lines cannot be taken; names all of them.
        MaskingError: the file cannot be read, or its columns are wrong.
    """
    with opened(path) as file:
        unknown = sorted(set(file.columns) - set(COLUMNS))
        if "number" not in file.columns or unknown:
            named = f"unknown: {', '.join(unknown)}; " if unknown else ""
            raise MaskingError(f"{path}: the first line must name columns, number among them ({named}known: "
                               f"{', '.join(COLUMNS)})")  # fmt: skip
        if len(set(file.columns)) < len(file.columns):
            raise MaskingError(f"{path}: the first line names a column twice")
        return _checked(file, account_id, done)


def new_number(
    number: str,
    account_id: str,
    country: str = "",
    area: str = "",
    carrier: str = "",
    capabilities: str = "",
) -> NewNumber:
    """One number, checked.

    Raises:
        ValueError: what is wrong, in words.
    """
    e164 = valid_e164(number)
    if e164 is None:
        raise ValueError("number must be a valid number in E.164, such as +12025550142")
    told = country_of(e164) or ""
    if country and told and country.upper() != told:
        raise ValueError(f"country is {country}, but the number is of {told}")
    if not (country or told):
        raise ValueError("country is missing, and the number belongs to none")
    if not AUTH_ID.fullmatch(account_id):
        raise ValueError("account must be an auth id, MA or SA and 18 characters")
    return NewNumber(
        number=e164,
        account_id=account_id,
        country=(country or told).upper(),
        area=area,
        carrier=carrier or "voice",
        capabilities=tuple(sorted(set(capabilities.split()))) or ("voice",),
    )


def checked_number(number: str) -> str:
    """A phone number in E.164. Raises `MaskingError`."""
    try:
        parsed = phonenumbers.parse(number if number.startswith("+") else f"+{number}")
    except phonenumbers.NumberParseException:
        raise MaskingError("a number must be in E.164, such as +12025550142") from None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def _checked(lines: Lines, account_id: str | None, done: Done) -> list[NewNumber]:
    first_line: dict[str, int] = {}

    def take(line: int, row: dict[str, str]) -> NewNumber:
        done(1)
        new = new_number(
            row.get("number", ""),
            row.get("account") or account_id or "",
            row.get("country", ""),
            row.get("area", ""),
            row.get("carrier", ""),
            row.get("capabilities", ""),
        )
        if new.number in first_line:
            raise ValueError(f"the same number as in line {first_line[new.number]}")
        first_line[new.number] = line
        return new

    numbers = taken(lines, take, "nothing was imported")
    if not numbers:
        raise MaskingError("the file names no number")
    return numbers
