"""`masking ledger`: what sessions owe and cost, entry by entry, and whether the carrier says the same."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer

from masking.command_line import AsJson, or_exit, plain
from masking.domain.bill.ledger import Sums, sums_by_currency
from masking.domain.bill.reconciliation import CarrierRecord, Difference, Unposted, differences, missing_there, twice
from masking.errors import MaskingError
from masking.operate.arguments import Session, auth_id
from masking.operate.call_records import read_call_records
from masking.operate.columns import Columns
from masking.operate.console import in_transaction, on_system
from masking.operate.known import account_must_be_known, of_known_session
from masking.operate.progress import Done, progress
from masking.operate.system import OperatedSystem
from masking.storage.accounts import AUTH_ID
from masking.storage.ledger import (
    Period,
    PostedEntry,
    WhyUnposted,
    ledger_of,
    legs_by_id,
    legs_ended_in,
    posted_in,
    why_unposted,
)

app = typer.Typer(name="ledger", no_args_is_help=True, add_completion=False)

EXIT_DIFFERENT = 1
BATCH = 500
UNHEARD = WhyUnposted(Unposted.UNHEARD, "")
COLUMNS = (
    "entry_id", "posted_at", "occurred_at", "account_id", "session_uuid", "cause", "kind", "leg", "leg_uuid", "debit",
    "credit", "amount", "currency", "duration", "billed_duration",
)  # fmt: skip

Month = Annotated[str, typer.Option(help="UTC.", metavar="YYYY-MM")]


@app.command()
def show(session: Session, as_json: AsJson = False) -> None:
    """Show a session's entries, each with the event that caused it, and what they add up to.

    There are none before the session is settled, and none of amounts that are 0.
    """

    entries = in_transaction(of_known_session(lambda connection: ledger_of(connection, session), session))
    sums = sums_by_currency(entries)
    if as_json:
        told = {currency: _sums_for_machines(each) for currency, each in sums.items()}
        typer.echo(json.dumps({"entries": [_entry_for_machines(entry) for entry in entries], "sums": told}))
        return
    columns = Columns("posted, UTC", "cause", "debit", "credit", "amount", "billed", right=("amount", "billed"))
    if entries:
        typer.echo("\n".join(columns.lines(map(_row, entries))))
    for currency, each in sums.items():
        typer.echo(
            f"calls {each.calls:f}, session {each.fee:f}, together {each.calls + each.fee:f} {currency};"
            f" the carrier's cost {each.cost:f}, what is left {each.calls + each.fee - each.cost:f}"
        )
    if not entries:
        typer.echo("No entries: it is not settled yet, or nothing of it costs anything.")


@app.command()
def export(
    month: Month,
    account: Annotated[
        str | None, typer.Option(help="Only of this main account.", metavar="AUTH_ID", parser=auth_id)
    ] = None,
    form: Annotated[
        Literal["csv", "json"], typer.Option("--format", help="CSV with a line of names, or a JSON object a line.")
    ] = "csv",
) -> None:
    """Print what was posted in a month, in order. A month that is over stays as it is: corrections come later."""
    period = or_exit(lambda: _month(month))
    or_exit(lambda: _check_account(account))
    begin = _csv_writer if form == "csv" else _json_writer

    async def print_all(system: OperatedSystem) -> None:
        async with system.database.transaction() as connection:
            await account_must_be_known(connection, account)
        write = begin()
        async with (
            system.database.transaction() as connection,
            aclosing(posted_in(connection, period, account)) as entries,
        ):
            # On a screen, the entries themselves tell.
            with progress("Exporting entries", quiet=sys.stdout.isatty()) as done:
                async for entry in entries:
                    write(_entry_for_machines(entry))
                    done(1)
        sys.stdout.flush()

    on_system(print_all)


class _Compared(NamedTuple):
    period: Period | None
    differences: list[Difference]


@app.command()
def reconcile(
    file: Annotated[Path, typer.Argument(help="The carrier's call records, CSV.", metavar="FILE")],
    month: Annotated[
        str | None,
        typer.Option(
            help="The month (UTC) of which the file has every leg; when left out, the time from its first end_time"
            " to its last.",
            metavar="YYYY-MM",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the ledger with a carrier's call records, and list every difference with its likely cause.

    The first line of the file names its columns: call_uuid and amount, and
    optionally currency (else USD), duration, billed_duration, direction and
    end_time (UTC without an offset); Plivo's names of them are known too.
    Without --month, and where a line lacks end_time, it is not looked for
    legs that the file lacks. Exits with 1 when there are differences.
    """
    records = or_exit(lambda: read_call_records(file))
    period = _period_of(records) if month is None else or_exit(lambda: _month(month))
    found = 0

    def tell(difference: Difference) -> None:
        nonlocal found
        found += 1
        if as_json:
            typer.echo((", " if found > 1 else "") + json.dumps(plain(difference)), nl=False)
        else:
            typer.echo(_line(difference))

    async def compare(system: OperatedSystem) -> None:
        if as_json:
            told = None if period is None else {"begin": period.begin.isoformat(), "end": period.end.isoformat()}
            opening = json.dumps({"records": len(records), "period": told, "differences": []})
            typer.echo(opening.removesuffix("]}"), nl=False)
        with progress("Comparing records", len(records), quiet=as_json) as done:
            await _compare(system, records, period, tell, done)

    on_system(compare)
    looked = "" if period is not None else " Legs that the file lacks were not looked for: name its --month."
    typer.echo("]}" if as_json else f"{len(records)} records compared, {found} differences.{looked}")
    if found:
        raise typer.Exit(EXIT_DIFFERENT)


async def _compare(
    system: OperatedSystem,
    records: Sequence[CarrierRecord],
    period: Period | None,
    tell: Callable[[Difference], None],
    done: Done,
) -> None:
    """Tells each difference as it is found: in a wrong month every leg is one."""
    seen: set[str] = set()
    for start in range(0, len(records), BATCH):
        batch = records[start : start + BATCH]
        ids = [record.leg_uuid for record in batch]
        async with system.database.transaction() as connection:
            ours = await legs_by_id(connection, ids)
            unposted = await why_unposted(connection, [leg_uuid for leg_uuid in ids if leg_uuid not in ours])
        for record in batch:
            if record.leg_uuid in seen:
                tell(twice(record))
                continue
            seen.add(record.leg_uuid)
            why = unposted.get(record.leg_uuid, UNHEARD)
            for difference in differences(record, ours.get(record.leg_uuid), why.unposted, why.session_uuid):
                tell(difference)
        done(len(batch))
    if period is not None:
        async with (
            system.database.transaction() as connection,
            aclosing(legs_ended_in(connection, period)) as legs,
        ):
            async for leg in legs:
                if leg.leg_uuid not in seen:
                    tell(missing_there(leg, *period))


def _period_of(records: Sequence[CarrierRecord]) -> Period | None:
    """From the first end to the last, where every record tells its own."""
    ends = [record.ended_at for record in records if record.ended_at is not None]
    if len(ends) < len(records):
        return None
    return Period(min(ends), max(ends) + timedelta(microseconds=1))


def _month(text: str) -> Period:
    found = re.fullmatch("([0-9]{4})-([0-9]{2})", text)
    year, month = (int(part) for part in found.groups()) if found else (0, 0)
    if not (1970 <= year <= 2999 and 1 <= month <= 12):
        raise MaskingError("--month must be a year and a month, such as 2026-11")
    begin = datetime(year, month, 1, tzinfo=UTC)
    return Period(begin, datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC))


def _check_account(account: str | None) -> None:
    if account is not None and not (AUTH_ID.fullmatch(account) and account.startswith("MA")):
        raise MaskingError("--account must be the auth id of a main account, MA and 18 characters")


def _csv_writer() -> Callable[[dict[str, object]], None]:
    writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    writer.writeheader()

    def write(entry: dict[str, object]) -> None:
        writer.writerow(entry)

    return write


def _json_writer() -> Callable[[dict[str, object]], None]:
    def write(entry: dict[str, object]) -> None:
        sys.stdout.write(json.dumps(entry) + "\n")

    return write


def _entry_for_machines(entry: PostedEntry) -> dict[str, object]:
    """Amounts are exact decimals, as text."""
    told = {name: getattr(entry, name) for name in COLUMNS}
    moments = {name: told[name].isoformat() for name in ("posted_at", "occurred_at")}
    return {**told, **moments, "kind": str(entry.kind), "leg": str(entry.leg), "amount": _plain(entry.amount)}


def _row(entry: PostedEntry) -> tuple[str, ...]:
    return (
        f"{entry.posted_at:%Y-%m-%d %H:%M:%S}",
        entry.cause,
        entry.debit,
        entry.credit,
        f"{entry.amount:f} {entry.currency}",
        f"{entry.billed_duration} s" if entry.leg else "",
    )


def _sums_for_machines(sums: Sums) -> dict[str, str]:
    return {name: _plain(amount) for name, amount in sums._asdict().items()}


def _line(difference: Difference) -> str:
    of_session = f" of session {difference.session_uuid}" if difference.session_uuid else ""
    sides = [f"{difference.ours} here"] * bool(difference.ours)
    sides += [f"{difference.theirs} at the carrier"] * bool(difference.theirs)
    return f"{difference.what}: leg {difference.leg_uuid}{of_session}: {', '.join(sides)}; {difference.cause}"


def _plain(amount: Decimal) -> str:
    return format(amount, "f")
