"""`masking rates check`, with neither a database nor keys."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from masking.cli import app
from masking.errors import StartupError
from masking.rate_card import load_rate_card, read_rate_card
from masking.run.system import running_system
from masking.settings import Settings

Card = Callable[..., Path]

MINIMAL = 'currency = "USD"\n[[customer]]\nper_minute = 0.0085\n'
SECOND = f'{MINIMAL}[[customer]]\nper_minute = 1\ncountry = "IN"\n'
CALL = ("--from", "+12025550101", "--to", "+919812345678", "--seconds", "61", "--at", "2026-12-01")


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Card:
    monkeypatch.setenv("COLUMNS", "140")

    def write(content: str) -> Path:
        path = tmp_path / "card.toml"
        path.write_text(content)
        return path

    return write


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["rates", "check", *map(str, arguments)])


def told(*arguments: str | Path) -> Any:
    result = run(*arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def test_amounts_are_the_decimals_that_stand_in_the_file(card: Card) -> None:
    path = card(MINIMAL.replace("0.0085", "0.1") + "connection_fee = '0.000000000001'\n[[cost]]\nper_minute = 1\n")
    (entry,), (cost,) = told(path)["customer"], told(path)["cost"]
    assert (entry["per_minute"], entry["connection_fee"]) == ("0.1", "0.000000000001")
    assert cost["per_minute"] == "1"


def test_a_call_is_explained_leg_by_leg(card: Card) -> None:
    path = card(
        f'{MINIMAL}[[customer]]\nprefix = "+9198"\ndirection = "outbound"\nper_minute = 0.01\nincrements = "30/1"\n'
        "connection_fee = 0.002\n[[session_fee]]\nfee = 0.5\n[[cost]]\nper_minute = 0.005\n"
    )
    quote = told(path, *CALL, "--ringing", "5")
    caller, callee = (leg["price"] for leg in quote["legs"])
    assert (caller["entry"]["name"], caller["billed_seconds"], caller["amount"]) == ("customer 1", 120, "0.01700")
    assert (callee["entry"]["name"], callee["billed_seconds"], callee["amount"]) == ("customer 2", 61, "0.01217")
    assert callee["exact"] == "0.012166666666…"
    # 0.017 + 0.01217 + 0.5, and 2 × 2 × 0.005 for the carrier
    assert [quote[name] for name in ("amount", "cost", "margin")] == ["0.52917", "0.02000", "0.50917"]

    words = run(path, *CALL, "--ringing", "5")
    assert words.exit_code == 0
    for expected in (
        "the caller's leg, inbound, 66 s",
        "customer 2: +9198 is the longest prefix that fits; for outbound legs (always)",
        "30/1: 61 s, a first increment of 30 s and 31 of 1 s → 61 s",
        "0.01 × 61 / 60 + 0.002 connection = 0.012166666666…, rounded 0.01217 USD",
        "session fee  0.5 USD",
        "margin       0.50917 USD",
    ):
        assert expected in words.stdout


def test_an_unanswered_call_costs_the_callers_leg_alone(card: Card) -> None:
    legs = told(card(MINIMAL), *CALL, "--ringing", "30", "--unanswered")["legs"]
    assert [(leg["seconds"], leg["price"]["amount"]) for leg in legs] == [(61, "0.01700"), (0, "0.00000")]


def test_a_card_is_listed(card: Card) -> None:
    listed = run(card(SECOND + "valid_from = 2026-12-01\nvalid_until = 2026-12-31T12:00:00+01:00\n"))
    assert listed.exit_code == 0
    assert "customer 2  IN" in listed.stdout
    assert "from 2026-12-01 until 2026-12-31 11:00:00" in listed.stdout


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "currency: is missing"),
        ('currency = "USD"', "customer: is missing"),
        ('currency = "usd"\ncustomer = []', 'currency: must be a currency of three capital letters, such as "USD"'),
        ('currency = "USD"\ncustomer = []', "customer: must have an entry"),
        (f"{SECOND}incremnets = '60/60'", "customer 2 incremnets: is not a word of rate cards"),
        (f"{SECOND}prefix = '91'", "customer 2: country and prefix cannot both be given: a prefix names its country"),
        (f"{SECOND}increments = '60'", 'customer 2 increments: must be the seconds of the first increment and of those'
         ' that follow, 1 to 86400, such as "60/60"'),
        (f"{SECOND}increments = '0/6'", 'customer 2 increments: must be the seconds of the first increment and of those'
         ' that follow, 1 to 86400, such as "60/60"'),
        (f"{SECOND}direction = 'in'", 'customer 2 direction: must be "inbound" or "outbound"'),
        (f"{SECOND}minimum = -1", "customer 2 minimum: must be whole seconds, 0 to 86400"),
        (f"{SECOND}minimum = 0.5", "customer 2 minimum: must be whole seconds, 0 to 86400"),
        (f"{SECOND}connection_fee = -1", "customer 2 connection_fee: must be an amount, such as 0.0085"),
        (f"{SECOND}connection_fee = nan", "customer 2 connection_fee: must be an amount, such as 0.0085"),
        (f"{SECOND}connection_fee = 1e-13", "customer 2 connection_fee: must be less than 1000000 and have at most 12"
         " decimals"),
        (f"{SECOND}valid_from = '2026-12-01'", "customer 2 valid_from: must be a date or a moment without quotes, such"
         " as 2026-12-01 or 2026-12-01T00:00:00Z"),
        (f"{SECOND}valid_from = 2026-12-01\nvalid_until = 2026-12-01", "customer 2: valid_until must be after"
         " valid_from"),
        (SECOND.replace('"IN"', '"India"'), 'customer 2 country: must be an ISO country of two capital letters, such as'
         ' "IN"'),
        (f"{MINIMAL}[[customer]]\nprefix = '0'\nper_minute = 1", "customer 2 prefix: must be the first digits of E.164"
         ' numbers, in quotes, such as "+9198"'),
        (f"{MINIMAL}[[cost]]\ncountry = 'IN'", "cost 1 per_minute: is missing"),
        (f"{MINIMAL}[cost]\nper_minute = 1", "cost: must be a list of tables: write [[cost]]"),
        (f"{MINIMAL}[[customer]]\nper_minute = 1", "customer 2 and customer 1 are for the same and are valid at the"
         " same time; let one end (valid_until) where the other begins (valid_from)"),
    ],
)  # fmt: skip
def test_a_wrong_card_is_refused_with_the_entry_and_the_rule(card: Card, content: str, fault: str) -> None:
    path = card(content)
    result = run(path)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"masking: {path}: {fault}\n")


def test_what_is_no_toml_is_told_with_its_place(card: Card, tmp_path: Path) -> None:
    assert "is no TOML: " in run(card("currency = USD")).stderr
    with pytest.raises(StartupError, match=r"nowhere\.toml cannot be read: No such file"):
        read_rate_card(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("--from", "+12025550101"), "a call takes --from, --to and --seconds"),
        ((*CALL, "--to", "110"), "--to must be a valid number in E.164"),
        ((*CALL, "--at", "tomorrow"), "--at must be a moment in ISO 8601"),
    ],
)
def test_a_wrong_call_is_told_what_is_missing(card: Card, wrong: tuple[str, ...], words: str) -> None:
    result = run(card(MINIMAL), *wrong)
    assert (result.exit_code, words in result.stderr) == (2, True)


def test_a_process_is_stopped_by_its_wrong_card_with_the_settings_name(card: Card) -> None:
    settings = Settings(rate_card=card("currency = 1"))
    with pytest.raises(StartupError, match=r"^MASKING_RATE_CARD: .*card.toml: currency: must be a currency"):
        load_rate_card(settings)
    assert load_rate_card(Settings(rate_card=None)) is None


@pytest.mark.anyio
async def test_the_whole_system_does_not_begin_to_start_with_a_wrong_card(card: Card, tmp_path: Path) -> None:
    settings = Settings(rate_card=card("currency = 1"), data=tmp_path / "data")
    with pytest.raises(StartupError, match=r"^MASKING_RATE_CARD: "):
        async with running_system(settings, lambda _: None):
            pass
    assert not settings.data.exists()
