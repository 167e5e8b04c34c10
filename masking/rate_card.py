"""Rate cards as files: reading one, and asking it about phone numbers."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import phonenumbers
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from masking.domain.bill.money import ZERO, CallRates, Direction, Rate
from masking.domain.bill.rates import Legs, Party, RateCard, RateEntry, SessionFee, WrongCard, checked
from masking.domain.routing import Route
from masking.e164 import country_of
from masking.errors import StartupError
from masking.settings import Settings

LONGEST_S = 86_400
MOST = Decimal(1_000_000)
PLACES = 12
"""So large and so exact may a price be that any leg's amount is computed without an error."""

COUNTRIES = frozenset(phonenumbers.SUPPORTED_REGIONS)


def _money(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise ValueError("must be an amount, such as 0.0085")
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", f"{value:f}" if isinstance(value, Decimal) else str(value)):
        raise ValueError("must be an amount, such as 0.0085")
    amount = Decimal(value)
    if amount >= MOST or -int(amount.as_tuple().exponent) > PLACES:
        raise ValueError(f"must be less than {MOST} and have at most {PLACES} decimals")
    return amount


def _moment(value: object) -> datetime:
    """TOML's dates are midnight, and its moments without an offset are in UTC."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    raise ValueError("must be a date or a moment without quotes, such as 2026-12-01 or 2026-12-01T00:00:00Z")


def _seconds(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LONGEST_S:
        raise ValueError(f"must be whole seconds, 0 to {LONGEST_S}")
    return value


def _increments(value: object) -> tuple[int, int]:
    found = re.fullmatch("([0-9]{1,5})/([0-9]{1,5})", value) if isinstance(value, str) else None
    first, further = (int(seconds) for seconds in found.groups()) if found else (0, 0)
    if not (1 <= first <= LONGEST_S and 1 <= further <= LONGEST_S):
        raise ValueError(
            f'must be the seconds of the first increment and of those that follow, 1 to {LONGEST_S}, such as "60/60"'
        )
    return first, further


def _prefix(value: object) -> str:
    found = re.fullmatch(r"\+?([1-9][0-9]{0,14})", value) if isinstance(value, str) else None
    if found is None:
        raise ValueError('must be the first digits of E.164 numbers, in quotes, such as "+9198"')
    return found[1]


def _country(value: object) -> str:
    if not isinstance(value, str) or value not in COUNTRIES:
        raise ValueError('must be an ISO country of two capital letters, such as "IN"')
    return value


def _currency(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch("[A-Z]{3}", value):
        raise ValueError('must be a currency of three capital letters, such as "USD"')
    return value


Money = Annotated[Decimal, BeforeValidator(_money)]
Moment = Annotated[datetime, BeforeValidator(_moment)]
Seconds = Annotated[int, BeforeValidator(_seconds)]
Increments = Annotated[tuple[int, int], BeforeValidator(_increments)]
Prefix = Annotated[str, BeforeValidator(_prefix)]
Country = Annotated[str, BeforeValidator(_country)]
Currency = Annotated[str, BeforeValidator(_currency)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _Dated(_Section):
    valid_from: Moment | None = None
    valid_until: Moment | None = None

    @model_validator(mode="after")
    def _in_order(self) -> _Dated:
        if self.valid_from is not None and self.valid_until is not None and self.valid_from >= self.valid_until:
            raise ValueError("valid_until must be after valid_from")
        return self


class _Entry(_Dated):
    country: Country | None = None
    prefix: Prefix | None = None
    direction: Direction | None = None
    per_minute: Money
    increments: Increments = (60, 60)
    minimum: Seconds = 0
    connection_fee: Money = ZERO

    @model_validator(mode="after")
    def _one_target(self) -> _Entry:
        if self.country is not None and self.prefix is not None:
            raise ValueError("country and prefix cannot both be given: a prefix names its country")
        return self


class _Fee(_Dated):
    fee: Money


def _not_empty(entries: tuple[_Entry, ...]) -> tuple[_Entry, ...]:
    if not entries:
        raise ValueError("must have an entry")
    return entries


class _File(_Section):
    currency: Currency
    customer: Annotated[tuple[_Entry, ...], AfterValidator(_not_empty)]
    cost: tuple[_Entry, ...] = ()
    session_fee: tuple[_Fee, ...] = Field(default=())


def read_rate_card(path: Path) -> RateCard:
    """The rate card in a TOML file (docs/billing.md).

    Raises:
        StartupError: it cannot be read, or is no card; names the entry and the rule.
    """
    try:
        with path.open("rb") as file:
            content = tomllib.load(file, parse_float=_float)
        card = _File.model_validate(content)
        return checked(_card(card))
    except OSError as error:
        raise StartupError(f"{path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise StartupError(f"{path}: {_first_fault(error)}") from None
    except WrongCard as error:
        raise StartupError(f"{path}: {error}") from None
    except ValueError as error:
        raise StartupError(f"{path} is no TOML: {error}") from None


def load_rate_card(settings: Settings) -> RateCard | None:
    """The card that the settings name; None without one.

    Raises:
        StartupError: see `read_rate_card`.
    """
    if settings.rate_card is None:
        return None
    try:
        return read_rate_card(settings.rate_card)
    except StartupError as error:
        raise StartupError(f"MASKING_RATE_CARD: {error}") from None


def flat_rate(settings: Settings, card: RateCard | None) -> Rate:
    """The rate of legs that no card prices."""
    rate = Rate(per_minute=settings.rate_per_minute, increment=settings.billing_increment)
    return rate if card is None else rate.model_copy(update={"currency": card.currency})


def party(number: str) -> Party:
    """A number in E.164 with its country; empty when it is hidden."""
    return Party(number, (country_of(number) or "") if number else "")


class Decided(NamedTuple):
    """A call as it is decided: its parties' numbers in E.164, empty when hidden, and when.

    Attributes:
        callee: None where nobody is dialled.
        placed: whether it was us who called the caller's phone.
    """

    caller: str
    callee: str | None
    at: datetime
    placed: bool = False


def rates_of(card: RateCard | None, call: Decided) -> CallRates | None:
    """The rates of a call, fixed with its decision; None where the session's own holds."""
    if card is None:
        return None
    callee = None if call.callee is None else party(call.callee)
    return card.call_rates(Legs(party(call.caller), callee, call.placed), call.at)


def placed_rates(card: RateCard | None, route: Route, now: datetime) -> CallRates | None:
    """The rates of a call that we make to a session's first party, before it is answered."""
    return rates_of(card, Decided(route.caller_number, None, now, placed=True))


def _float(text: str) -> Any:
    """A number of TOML exactly as it stands there."""
    return Decimal(text.replace("_", ""))


def _card(file: _File) -> RateCard:
    return RateCard(
        currency=file.currency,
        customer=_entries("customer", file.customer, file.currency),
        cost=_entries("cost", file.cost, file.currency),
        session_fees=tuple(
            SessionFee(name=f"session_fee {n}", fee=fee.fee, valid_from=fee.valid_from, valid_until=fee.valid_until)
            for n, fee in enumerate(file.session_fee, 1)
        ),
    )


def _entries(section: str, entries: tuple[_Entry, ...], currency: str) -> tuple[RateEntry, ...]:
    return tuple(
        RateEntry(
            name=f"{section} {n}",
            prefix=entry.prefix or "",
            country=entry.country or "",
            direction=entry.direction,
            rate=_rate(entry, currency),
            valid_from=entry.valid_from,
            valid_until=entry.valid_until,
        )
        for n, entry in enumerate(entries, 1)
    )


def _rate(entry: _Entry, currency: str) -> Rate:
    first, further = entry.increments
    return Rate(
        per_minute=entry.per_minute,
        increment=further,
        currency=currency,
        first=first if first != further else None,
        minimum=entry.minimum,
        connection_fee=entry.connection_fee,
    )


def _first_fault(error: ValidationError) -> str:
    """Where the first fault is, counted from 1 as people do, and which rule it breaks."""
    fault = error.errors(include_input=False, include_url=False)[0]
    where = " ".join(str(part + 1) if isinstance(part, int) else str(part) for part in fault["loc"])
    words = {
        "missing": "is missing",
        "extra_forbidden": "is not a word of rate cards",
        "enum": 'must be "inbound" or "outbound"',
        "tuple_type": f"must be a list of tables: write [[{where}]]",
        "model_type": "must be a table",
    }
    return f"{where}: {words.get(fault['type'], fault['msg'].removeprefix('Value error, '))}"
