"""`masking rates`: rate cards. Asks neither a database nor for keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from masking.command_line import AsJson, or_exit, screen
from masking.domain.bill.quotes import Charged, LegQuote, Quote, quoted
from masking.domain.bill.rates import Legs, RateCard, RateEntry, Validity
from masking.domain.events import LegName
from masking.e164 import valid_e164
from masking.errors import MaskingError
from masking.rate_card import party, read_rate_card

app = typer.Typer(name="rates", no_args_is_help=True, add_completion=False)

SHOWN_PLACES = 12
"""Decimals of an amount that is not rounded yet."""


@app.callback()
def _group() -> None:
    """Rate cards: what calls cost, and why (docs/billing.md)."""


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The card, TOML.", metavar="FILE")],
    caller: Annotated[
        str | None, typer.Option("--from", help="The caller's number, E.164; empty for a hidden one.", metavar="NUMBER")
    ] = None,
    callee: Annotated[
        str | None, typer.Option("--to", help="The number that is dialled, E.164.", metavar="NUMBER")
    ] = None,
    seconds: Annotated[
        int | None, typer.Option(min=0, max=86_400, help="For how long both talk.", metavar="SECONDS")
    ] = None,
    ringing: Annotated[
        int,
        typer.Option(
            min=0, max=600, metavar="SECONDS", help="For how long the caller hears it ring: it is billed, too."
        ),
    ] = 0,
    answered: Annotated[
        bool,
        typer.Option("--answered/--unanswered", help="Whether the callee picks up; else only the caller's leg lasts."),
    ] = True,
    placed: Annotated[
        bool, typer.Option("--placed", help="We call the caller's phone ourselves (initiate_call_to_first_party).")
    ] = False,
    at: Annotated[
        str | None, typer.Option(help="When it is decided, ISO 8601; UTC without an offset. Now when left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a rate card and list it; or tell what a call would cost by it, and why.

    With --from, --to and --seconds it explains each leg: the entry that
    matches, the billed seconds, the amount before and after it is rounded,
    and what is left of it after the carrier's cost, where the card tells that.
    """
    card = or_exit(lambda: read_rate_card(file))
    asked = (caller, callee, seconds)
    if all(each is None for each in asked):
        _tell_card(card, as_json=as_json)
        return
    quote, moment = or_exit(
        lambda: _quote(card, asked, ringing if answered else 0, at, answered=answered, placed=placed)
    )
    if as_json:
        typer.echo(json.dumps(_quote_for_machines(card, quote, moment)))
        return
    for line in _explained(card, quote, moment):
        typer.echo(line)


def _quote(
    card: RateCard,
    asked: tuple[str | None, str | None, int | None],
    ringing: int,
    at: str | None,
    *,
    answered: bool,
    placed: bool,
) -> tuple[Quote, datetime]:
    caller, callee, seconds = asked
    if caller is None or callee is None or seconds is None:
        raise MaskingError("a call takes --from, --to and --seconds")
    numbers = Legs(party(_number("--from", caller) if caller else ""), party(_number("--to", callee)), placed)
    moment = _moment(at)
    return quoted(card, numbers, (seconds + ringing, seconds if answered else 0), moment), moment


def _number(option: str, text: str) -> str:
    number = valid_e164(text)
    if number is None:
        raise MaskingError(f"{option} must be a valid number in E.164, such as +12025550142")
    return number


def _moment(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise MaskingError("--at must be a moment in ISO 8601, such as 2026-12-01T00:00:00Z") from None


def _tell_card(card: RateCard, *, as_json: bool) -> None:
    if as_json:
        told = {
            "currency": card.currency,
            "customer": [_entry_for_machines(entry) for entry in card.customer],
            "cost": [_entry_for_machines(entry) for entry in card.cost],
            "session_fees": [
                {"name": fee.name, "fee": _plain(fee.fee)} | _validity_for_machines(fee) for fee in card.session_fees
            ],
        }
        typer.echo(json.dumps(told))
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("entry", no_wrap=True)
    for name in ("numbers", "direction", f"{card.currency} a minute", "increments", "minimum", "connection", "valid"):
        table.add_column(name, justify="right" if "minute" in name or name == "connection" else "left")
    for entry in (*card.customer, *card.cost):
        rate = entry.rate
        table.add_row(
            entry.name,
            entry.target,
            entry.direction or "both",
            _plain(rate.per_minute),
            rate.increments,
            f"{rate.minimum} s" if rate.minimum else "",
            _plain(rate.connection_fee) if rate.connection_fee else "",
            _valid(entry),
        )
    console = screen()
    console.print(table)
    for fee in card.session_fees:
        console.print(f"{fee.name}: {_plain(fee.fee)} {card.currency} a session, {_valid(fee)}", highlight=False)
    if not card.cost:
        console.print("No cost section: only what the carrier itself tells of a leg is known as its cost.")


def _explained(card: RateCard, quote: Quote, at: datetime) -> list[str]:
    currency = card.currency
    lines = [f"A call that is decided at {at:%Y-%m-%d %H:%M:%S} UTC"]
    for leg in quote.legs:
        who = "the caller" if leg.leg is LegName.CALLER else "the callee"
        lines += ["", f"{who}'s leg, {leg.direction}, {leg.seconds} s"]
        if leg.price is None:
            lines.append("  price   no entry: the card begins later, so MASKING_RATE_PER_MINUTE holds")
        else:
            lines += _charge_lines("price", leg.price, currency)
        if leg.cost is not None:
            lines += _charge_lines("cost", leg.cost, currency)
    lines.append("")
    if quote.session_fee is not None:
        name, fee = quote.session_fee
        lines.append(f"session fee  {_plain(fee)} {currency} ({name})")
    lines.append(f"sum          {_plain(quote.amount)} {currency}")
    if quote.cost is not None and quote.margin is not None:
        lines.append(f"cost         {_plain(quote.cost)} {currency}")
        lines.append(f"margin       {_plain(quote.margin)} {currency}")
    return lines


def _charge_lines(name: str, charged: Charged, currency: str) -> list[str]:
    rate = charged.entry.rate
    fee = f" + {_plain(rate.connection_fee)} connection" if rate.connection_fee and charged.billed_seconds else ""
    return [
        f"  {name:<7} {charged.entry.name}: {charged.why} ({_valid(charged.entry)})",
        f"          {rate.increments}: {charged.how} → {charged.billed_seconds} s",
        f"          {_plain(rate.per_minute)} × {charged.billed_seconds} / 60{fee}"
        f" = {_exact(charged.exact)}, rounded {_plain(charged.amount)} {currency}",
    ]


def _quote_for_machines(card: RateCard, quote: Quote, at: datetime) -> dict[str, object]:
    return {
        "at": at.isoformat(),
        "currency": card.currency,
        "legs": [_leg_for_machines(leg) for leg in quote.legs],
        "session_fee": None if quote.session_fee is None else _plain(quote.session_fee[1]),
        "amount": _plain(quote.amount),
        "cost": None if quote.cost is None else _plain(quote.cost),
        "margin": None if quote.margin is None else _plain(quote.margin),
    }


def _leg_for_machines(leg: LegQuote) -> dict[str, object]:
    return {
        "leg": leg.leg,
        "direction": leg.direction,
        "seconds": leg.seconds,
        "price": leg.price and _charged_for_machines(leg.price),
        "cost": leg.cost and _charged_for_machines(leg.cost),
    }


def _charged_for_machines(charged: Charged) -> dict[str, object]:
    return {
        "entry": _entry_for_machines(charged.entry),
        "why": charged.why,
        "billed_seconds": charged.billed_seconds,
        "how": charged.how,
        "exact": _exact(charged.exact),
        "amount": _plain(charged.amount),
    }


def _entry_for_machines(entry: RateEntry) -> dict[str, object]:
    return {
        "name": entry.name,
        "country": entry.country or None,
        "prefix": entry.prefix or None,
        "direction": entry.direction,
        "per_minute": _plain(entry.rate.per_minute),
        "increments": entry.rate.increments,
        "minimum": entry.rate.minimum,
        "connection_fee": _plain(entry.rate.connection_fee),
    } | _validity_for_machines(entry)


def _validity_for_machines(validity: Validity) -> dict[str, object]:
    begin, end = validity.valid_from, validity.valid_until
    return {"valid_from": begin and begin.isoformat(), "valid_until": end and end.isoformat()}


def _valid(validity: Validity) -> str:
    begin, end = (moment and _written(moment) for moment in (validity.valid_from, validity.valid_until))
    if begin is None and end is None:
        return "always"
    return " ".join([f"from {begin}"] * (begin is not None) + [f"until {end}"] * (end is not None))


def _written(moment: datetime) -> str:
    return (
        f"{moment:%Y-%m-%d}"
        if moment.timetz() == datetime.min.replace(tzinfo=UTC).timetz()
        else f"{moment:%Y-%m-%d %H:%M:%S}"
    )


def _plain(amount: Decimal) -> str:
    return format(amount, "f")


def _exact(amount: Decimal) -> str:
    """Not rounded yet; a figure that does not end is cut off."""
    text = _plain(amount)
    whole, _, places = text.partition(".")
    return text if len(places) <= SHOWN_PLACES else f"{whole}.{places[:SHOWN_PLACES]}…"
