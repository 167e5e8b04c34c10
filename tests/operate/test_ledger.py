"""`masking ledger`, as an operator uses it on a real database."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from masking.cli import app
from masking.domain.bill.charges import bill
from masking.domain.bill.reconciliation import Unposted
from masking.domain.session import Session
from masking.operate import ledger
from masking.privacy.keyring import Keyring
from masking.storage import sessions
from masking.storage.database import Database
from tests.conftest import ACCOUNT, KEYS
from tests.domain.conversation import declined_call, hear
from tests.storage.test_inbox import active, post
from tests.storage.test_ledger import closed, settle, told, with_fee

pytestmark = pytest.mark.anyio

HEADER = "Call UUID,call_direction,Call Duration,billed_duration,total_amount,end_time"


def this_month() -> str:
    return datetime.now(UTC).strftime("%Y-%m")


def next_month() -> str:
    return (datetime.now(UTC).replace(day=1) + timedelta(days=32)).strftime("%Y-%m")


class Operator:
    """Runs the command against the database of the test."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self.environment = {"DATABASE_URL": database_url, "MASKING_KEYS": KEYS, "COLUMNS": "160"}
        self.file = folder / "records.csv"

    async def runs(self, *arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, ["ledger", *arguments], env=self.environment)

    async def told(self, *arguments: str, code: int = 0) -> Any:
        done = await self.runs(*arguments, "--json")
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)

    async def reconciled(self, *lines: str, month: str | None = None, code: int = 1) -> list[list[str]]:
        """What differs, to which end, and why."""
        self.file.write_text("\n".join([HEADER, *lines]) + "\n")
        arguments = [str(self.file), *(["--month", month] if month else [])]
        answer = await self.told("reconcile", *arguments, code=code)
        assert answer["records"] == len(lines)
        return [
            [each[name] for name in ("what", "leg_uuid", "ours", "theirs", "cause")] for each in answer["differences"]
        ]


@pytest.fixture
def operator(migrated_url: str, tmp_path: Path) -> Operator:
    return Operator(migrated_url, tmp_path)


@pytest.fixture
async def session(database: Database, keyring: Keyring) -> Session:
    """Settled, with a fee of 0.5 and a call whose legs lasted 80 s and 75 s; each cost us 0.0123456 for 75 s."""
    final = closed(await with_fee(database, keyring), told())
    await settle(database, keyring, final)
    return final


def ended(session: Session) -> str:
    return f"{session.interactions['call-1'].ended_at:%Y-%m-%d %H:%M:%S}"


def record(leg: str, session: Session, *, duration: int, billed: int = 75, amount: str = "0.0123456") -> str:
    direction = "inbound" if leg == "caller" else "outbound"
    return f"call-1-{leg},{direction},{duration},{billed},{amount},{ended(session)}"


async def test_a_sessions_entries_are_shown_with_their_causes_and_sums(operator: Operator, session: Session) -> None:
    shown = await operator.told("show", session.session_uuid)
    entries = [(each["cause"], each["debit"], each["credit"], each["amount"]) for each in shown["entries"]]
    owed, cost = f"receivable:{ACCOUNT}", ("cost:calls", "payable:carrier", "0.0123456")
    assert sorted(entries) == sorted(
        [
            ("settlement", owed, "revenue:sessions", "0.5"),
            ("call-1:caller:hangup", owed, "revenue:calls", "0.01700"),
            ("call-1:callee:hangup", owed, "revenue:calls", "0.01700"),
            ("call-1:caller:hangup", *cost),
            ("call-1:callee:hangup", *cost),
        ]
    )
    assert shown["sums"] == {"USD": {"calls": "0.03400", "fee": "0.5", "cost": "0.0246912"}}
    words = (await operator.runs("show", session.session_uuid)).stdout
    assert "calls 0.03400, session 0.5, together 0.53400 USD; the carrier's cost 0.0246912, what is left" in words
    nobody = await operator.runs("show", "nobody")
    assert (nobody.exit_code, nobody.stderr) == (2, "masking: there is no session with this id\n")


async def test_a_month_is_exported_to_the_last_digit(operator: Operator, session: Session) -> None:
    exported = await operator.runs("export", "--month", this_month())
    rows = list(csv.DictReader(io.StringIO(exported.stdout)))
    owed = sum(Decimal(row["amount"]) for row in rows if row["debit"] == f"receivable:{ACCOUNT}")
    assert owed == bill(session).total_amount
    assert len({row["entry_id"] for row in rows}) == len(rows) == 5

    lines = (await operator.runs("export", "--month", this_month(), "--format", "json", "--account", ACCOUNT)).stdout
    assert [{name: str(value) for name, value in json.loads(line).items()} for line in lines.splitlines()] == rows
    other = await operator.runs("export", "--month", next_month())
    assert (other.exit_code, len(other.stdout.splitlines())) == (0, 1), "a line of names, and nothing else"


async def test_a_subaccount_has_no_month_of_its_own(operator: Operator, session: Session) -> None:
    """Its entries are its main account's: nothing would pass for all that it owes."""
    del session
    done = await operator.runs("export", "--month", this_month(), "--account", "SATESTACCOUNT0000000")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--account must be the auth id of a main account" in done.stderr


async def test_a_carrier_that_says_the_same_differs_in_nothing(operator: Operator, session: Session) -> None:
    both = [record("caller", session, duration=80), record("callee", session, duration=75)]
    assert await operator.reconciled(*both, code=0) == []
    unanswered_and_free = f"no-such-leg,outbound,0,0,0.00000,{ended(session)}"
    assert await operator.reconciled(*both, unanswered_and_free, month=this_month(), code=0) == []
    words = await operator.runs("reconcile", str(operator.file))
    assert words.stdout == "3 records compared, 0 differences.\n"


async def test_differences_are_told_as_they_are_found(
    operator: Operator, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a wrong month every leg is one, and there may be millions."""

    def stopped(*_: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(ledger, "legs_ended_in", stopped)
    operator.file.write_text("\n".join([HEADER, record("caller", session, duration=80, amount="0.5")]) + "\n")
    done = await operator.runs("reconcile", str(operator.file), "--month", this_month())
    assert (done.exit_code, done.stdout.startswith("amount differs: leg call-1-caller ")) == (130, True)


async def test_each_difference_is_listed_with_its_likely_cause(operator: Operator, session: Session) -> None:
    found = await operator.reconciled(
        # 75 s at 0.0123456 are 0.00988 a minute; 0.0200 for 120 s are 0.01
        record("caller", session, duration=81, billed=120, amount="0.0200"),
        record("callee", session, duration=75, amount="0.0125"),
        record("callee", session, duration=75),
        month=this_month(),
    )
    assert found == [
        ["duration differs", "call-1-caller", "80 s", "81 s", "seconds that have begun are counted by one and not by"
         " the other"],
        ["billed seconds differ", "call-1-caller", "75 s", "120 s", "follows from the duration"],
        ["amount differs", "call-1-caller", "0.0123456 USD", "0.0200 USD", "the rates differ: 0.00988 a minute here,"
         " 0.01000 at the carrier, connection fees included"],
        ["amount differs", "call-1-callee", "0.0123456 USD", "0.0125 USD", "the rates differ: 0.00988 a minute here,"
         " 0.01000 at the carrier, connection fees included"],
        ["twice in the file", "call-1-callee", "", "0.0123456 USD", "line 4 repeats an earlier one; the first was"
         " compared"],
    ]  # fmt: skip


async def test_legs_that_only_one_of_them_has_are_listed(
    operator: Operator, session: Session, database: Database, keyring: Keyring
) -> None:
    live, silent = await active(database, keyring, "+12025550111"), await active(database, keyring, "+12025550122")
    async with database.transaction() as connection:
        await sessions.record_session(connection, keyring, hear(live, told("live")[:3]).session, ())
    await settle(database, keyring, closed(silent, told("silent")[:3]))
    await post(database, keyring, live, declined_call("busy"))

    found = await operator.reconciled(
        record("caller", session, duration=80),
        *(f"{leg},{direction},60,60,0.005,{ended(session)}" for leg, direction in (
            ("live-caller", "inbound"), ("silent-caller", "inbound"), ("busy", "inbound"), ("in", "inbound"),
            ("out", "outbound"))),
    )  # fmt: skip

    assert [(what, leg, cause) for what, leg, _, _, cause in found] == [
        ("missing here", "live-caller", Unposted.UNSETTLED),
        ("missing here", "silent-caller", Unposted.UNTOLD),
        ("missing here", "busy", Unposted.DECLINED),
        ("missing here", "in", Unposted.UNHEARD),
        ("missing here", "out", Unposted.UNHEARD_OUTBOUND),
        ("missing at the carrier", "call-1-callee", "it ended near the period's edge, and may be in the neighbouring"
         " file"),
    ]  # fmt: skip
    assert (await operator.reconciled(record("caller", session, duration=80), month=next_month(), code=0)) == []


async def test_another_currency_and_an_unknown_cost_are_told(
    operator: Operator, session: Session, database: Database, keyring: Keyring
) -> None:
    free = await active(database, keyring, "+12025550133")
    without_cost = [event.model_copy(update={"carrier_charge": None}) for event in told("free")]
    await settle(database, keyring, closed(free, without_cost))
    operator.file.write_text(
        "uuid,amount,currency\ncall-1-caller,0.0123456,EUR\ncall-1-callee,0.0123456,\nfree-caller,0.0055,USD\n"
    )

    done = await operator.runs("reconcile", str(operator.file))
    assert (done.exit_code, done.stdout.splitlines()) == (
        1,
        [
            f"currency differs: leg call-1-caller of session {session.session_uuid}: USD here, EUR at the carrier; the"
            " carrier bills in another currency",
            f"amount differs: leg free-caller of session {free.session_uuid}: 0 USD here, 0.0055 USD at the carrier; no"
            " cost was known of it: its hangup told none, and the rate card has none",
            "3 records compared, 2 differences. Legs that the file lacks were not looked for: name its --month.",
        ],
    )


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("call_uuid\nx", "must name the columns call_uuid and amount (amount is also known as total_amount, total_cost,"
         " totalcost)"),
        ("call_uuid,amount,Total Amount\nx,1,1", "several columns tell the amount"),
        ("call_uuid,amount\n", "has no call records"),
        ("call_uuid,amount\n,1", "line 2: call_uuid is missing"),
        ("call_uuid,amount\nx,1\nx,-1", "line 3: amount must be a decimal"),
        ("call_uuid,amount,duration\nx,1,1.5", "line 2: duration must be whole seconds"),
        ("call_uuid,amount,currency\nx,1,$", "line 2: currency must be three letters"),
        ("call_uuid,amount,end_time\nx,1,noon", "line 2: end_time must be a moment in ISO 8601"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_compared_is_refused_whole(tmp_path: Path, content: str, fault: str) -> None:
    path = tmp_path / "records.csv"
    path.write_text(content)
    done = CliRunner().invoke(app, ["ledger", "reconcile", str(path)])
    assert (done.exit_code, fault in done.stderr) == (2, True), done.output


@pytest.mark.parametrize("month", ["2026", "2026-13", "2026-00", "november"])
def test_a_month_is_a_year_and_a_month(month: str) -> None:
    done = CliRunner().invoke(app, ["ledger", "export", "--month", month])
    assert (done.exit_code, done.stderr) == (2, "masking: --month must be a year and a month, such as 2026-11\n")
