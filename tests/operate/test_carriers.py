"""`masking carriers`: whether the carrier works, and setting Plivo up, against the simulator's REST API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from aiohttp import BasicAuth, web
from typer.testing import CliRunner, Result

from masking.carriers.callback_configuration import ASKED, TOLD
from masking.carriers.simulator.network import Network
from masking.cli import app
from masking.gateway.metrics import Metrics
from masking.ports import serving
from masking.privacy.keyring import Keyring
from masking.storage import carrier_turns
from masking.storage.database import Database
from tests.carriers.conftest import (
    ALICE,
    AUTH_ID,
    NUMBER,
    TOKEN,
    Application,
    address,
    application,
    http,
    network,
    until,
)
from tests.carriers.test_rest import leave
from tests.conftest import KEYS, POOL
from tests.integration.conftest import free_port

__all__ = ["address", "application", "http", "network"]
pytestmark = pytest.mark.anyio

MASKS = "MAPLIVOMASKS00000000"
NUMBERS = [number for number, _ in POOL]


class Operator:
    def __init__(self, database_url: str, carrier: str, gateway: str) -> None:
        self.environment = {
            "DATABASE_URL": database_url,
            "MASKING_KEYS": KEYS,
            "MASKING_CARRIER_API_URL": carrier,
            "MASKING_CARRIER_AUTH_ID": AUTH_ID,
            "MASKING_CARRIER_AUTH_TOKEN": TOKEN,
            "MASKING_PUBLIC_URL": gateway,
            "COLUMNS": "200",
        }

    async def runs(self, *arguments: str, say: str | None = None, **environment: str) -> Result:
        env = {**self.environment, **environment}
        return await asyncio.to_thread(CliRunner().invoke, app, ["carriers", *arguments], env=env, input=say)

    async def checks(self, **environment: str) -> tuple[int, dict[str, tuple[str, str]]]:
        """How it exited, and each step's outcome and words."""
        done = await self.runs("check", "--json", **environment)
        told = json.loads(done.stdout)
        assert told["works"] == (done.exit_code == 0)
        return done.exit_code, {step["name"]: (step["outcome"], step["told"]) for step in told["steps"]}

    async def sets_up(self, *arguments: str) -> dict[str, Any]:
        done = await self.runs("plivo", "setup", "--json", *arguments)
        told: dict[str, Any] = json.loads(done.stdout)
        assert (done.exit_code == 1) == bool(told["missing"]), done.output
        return told


@pytest.fixture
async def plivo() -> AsyncIterator[tuple[str, list[int]]]:
    """A Masking API at the same address as an account: how it answers, and its URL."""
    answers = [200]

    async def account(request: web.Request) -> web.Response:
        given = BasicAuth.decode(request.headers["Authorization"])
        if (given.login, given.password) != (MASKS, TOKEN):
            return web.json_response({"error": "authentication failed"}, status=401)
        return web.json_response({"auth_id": MASKS, "name": "masked", "cash_credits": "12.50", "auto_recharge": False})

    async def sessions(request: web.Request) -> web.Response:
        assert dict(request.query) == {"limit": "1"}
        return web.json_response({"error": "Masking is not enabled for this account."}, status=answers[0])

    app = web.Application()
    app.router.add_get(f"/v1/Account/{MASKS}/", account)
    app.router.add_get(f"/v1/Account/{MASKS}/Masking/Session/", sessions)
    async with serving(app, free_port()) as url:
        yield url, answers


async def test_plivo_that_masks_is_checked_besides(operator: Operator, plivo: tuple[str, list[int]]) -> None:
    url, answers = plivo
    settings = {"MASKING_PLIVO_API_URL": url, "MASKING_PLIVO_AUTH_ID": MASKS, "MASKING_PLIVO_AUTH_TOKEN": TOKEN}

    _, steps = await operator.checks(**settings)
    assert {name: steps[name] for name in steps if name.startswith("plivo: ")} == {
        "plivo: settings": ("ok", f"{MASKS} at {url}"),
        "plivo: connection": ("ok", url.removeprefix("http://")),
        "plivo: credentials": ("ok", "the account masked"),
        "plivo: balance": ("ok", "12.50 left"),
        "plivo: sessions": ("ok", "its Masking API answers"),
        "plivo: webhooks": ("ok", steps["plivo: webhooks"][1]),
    }
    assert "credentials" in steps, "the carrier that places calls is looked at, too"

    answers[0] = 403
    code, steps = await operator.checks(**settings)
    assert code == 1
    assert steps["plivo: sessions"] == (
        "failed", "the carrier refused with 403: Masking is not enabled for this account.",
    )  # fmt: skip
    code, steps = await operator.checks(**settings | {"MASKING_PLIVO_AUTH_TOKEN": "another"})
    assert code == 1
    assert steps["plivo: credentials"][0] == "failed"


@pytest.fixture
def operator(database: Database, migrated_url: str, address: str, application: Application) -> Operator:
    del database
    return Operator(migrated_url, address, f"{application.base}/gateway")


async def test_setup_plans_asks_changes_and_then_has_nothing_to_change(operator: Operator, network: Network) -> None:
    network.inventory.rent(NUMBERS)
    other = network.inventory.create("somebodys", network.inventory.runs_on(NUMBER))  # type: ignore[arg-type]
    network.inventory.attach(NUMBER, other.app_id)
    network.inventory.rent(["+12025550000"])

    plan = await operator.sets_up("--dry-run")
    assert [(each["kind"], each["what"]) for each in plan["changes"]] == [
        ("create", "answer_url"), ("create", "hangup_url"), ("create", "fallback_answer_url"),
        *(("attach", number) for number in NUMBERS),
    ]  # fmt: skip
    assert plan["changes"][3]["before"] == "somebodys"
    assert plan["done"] == 0
    assert len(network.inventory.applications) == 1

    nobody = await operator.runs("plivo", "setup", say="")
    assert nobody.exit_code == 3, "1 is for numbers that the account lacks"
    asked = await operator.runs("plivo", "setup", say="n\n")
    assert asked.exit_code == 3
    assert "somebodys" in asked.stdout
    assert f"{operator.environment['MASKING_PUBLIC_URL']}/carrier/voice/fallback" in asked.stdout
    assert len(network.inventory.applications) == 1, "nothing without a yes"

    asked = await operator.runs("plivo", "setup", say="y\n")
    assert (asked.exit_code, "7 changes were made" in asked.stdout) == (0, True), asked.output
    ours = network.inventory.named(plan["application"])
    assert ours is not None
    hooks = f"{operator.environment['MASKING_PUBLIC_URL']}/carrier/voice"
    assert [hook.url for hook in ours.runs] == [
        f"{hooks}/answer{ASKED}", f"{hooks}/hangup{TOLD}", f"{hooks}/fallback{ASKED}",
    ]  # fmt: skip
    assert {network.inventory.rented(number).app_id for number in NUMBERS} == {ours.app_id}  # type: ignore[union-attr]
    assert network.inventory.runs_on("+12025550000") is None, "a number that is not of our pool is left alone"

    again = await operator.sets_up("--yes")
    assert (again["changes"], again["done"]) == ([], 0)


async def test_setup_mends_what_was_changed_and_names_numbers_that_are_not_rented(
    operator: Operator, network: Network
) -> None:
    network.inventory.rent(NUMBERS[:2])
    told = await operator.sets_up("--yes")
    assert (told["done"], told["missing"]) == (5, NUMBERS[2:])
    ours = network.inventory.named(told["application"])
    assert ours is not None
    ours.runs = ours.runs._replace(hangup=ours.runs.answer)
    network.inventory.attach(NUMBERS[1], None)

    told = await operator.sets_up("--yes")
    assert [(each["kind"], each["what"]) for each in told["changes"]] == [
        ("update", "hangup_url"), ("attach", NUMBERS[1]),
    ]  # fmt: skip
    assert ours.runs.hangup.url.endswith(f"/carrier/voice/hangup{TOLD}")


async def test_setup_refuses_a_gateway_that_plivo_cannot_reach(operator: Operator) -> None:
    told = {"MASKING_CARRIER_API_URL": "https://carrier.example", "MASKING_PUBLIC_URL": "http://10.0.0.7:8080"}
    done = await operator.runs("plivo", "setup", "--yes", **told)
    assert done.exit_code == 2
    assert "cannot reach http://10.0.0.7:8080: set MASKING_PUBLIC_URL" in done.output


async def test_a_caller_reaches_what_setup_set_up_and_the_fallback_when_it_fails(
    operator: Operator, network: Network, application: Application
) -> None:
    network.inventory.rent(NUMBERS)
    await operator.sets_up("--yes")
    hooks = "/gateway/carrier/voice"
    application.documents[f"{hooks}/answer"] = "<Response><Speak>hello</Speak></Response>"
    record = network.dial(ALICE, NUMBER)
    await until(lambda: bool(application.forms(f"{hooks}/hangup")))
    assert "hello" in [line.detail for line in record.transcript]

    application.failures[f"{hooks}/answer"] = [503] * 3
    application.documents[f"{hooks}/fallback"] = "<Response><Speak>sorry</Speak></Response>"
    record = network.dial(ALICE, NUMBER)
    await until(lambda: record.ended)
    assert [line.detail for line in record.transcript if line.what == "heard"] == ["sorry"]
    assert record.caller.cause.code == 4010


async def test_a_carrier_that_works_is_told_to_work_step_by_step(operator: Operator, network: Network) -> None:
    network.inventory.rent(NUMBERS)
    await operator.sets_up("--yes")
    code, steps = await operator.checks()
    assert (code, {outcome for outcome, _ in steps.values()}) == (0, {"ok"}), steps
    assert list(steps) == ["settings", "connection", "credentials", "balance", "webhooks", "numbers", "application"]
    assert steps["balance"][1] == "100.00000 left"
    people = await operator.runs("check")
    assert "The carrier works." in people.stdout
    assert TOKEN not in people.stdout


async def test_each_fault_is_found(operator: Operator, network: Network) -> None:
    network.inventory.rent(NUMBERS[:3])
    network.credit = "0.00000"
    code, steps = await operator.checks()
    assert code == 1
    failed = {name: told for name, (outcome, told) in steps.items() if outcome == "failed"}
    assert list(failed) == ["balance", "numbers", "application"]
    assert NUMBERS[3] in failed["numbers"]
    assert "`masking carriers plivo setup`" in failed["application"]

    _, steps = await operator.checks(MASKING_CARRIER_AUTH_TOKEN="wrong")
    assert steps["credentials"] == ("failed", "the carrier refused with 401: authentication failed")
    _, steps = await operator.checks(MASKING_CARRIER_API_URL="http://127.0.0.1:9")
    assert steps["connection"] == ("failed", "127.0.0.1:9 cannot be reached (ConnectionRefusedError)")
    _, steps = await operator.checks(MASKING_CARRIER_API_URL="http://carrier.example")
    assert steps["connection"][0] == "failed"
    assert "https://" in steps["connection"][1]
    _, steps = await operator.checks(MASKING_CARRIER_API_URL="https://carrier.invalid")
    assert "nobody knows a host carrier.invalid" in steps["connection"][1]
    _, steps = await operator.checks(MASKING_CARRIER_API_URL="")
    assert steps["settings"][0] == "failed"


async def test_a_check_that_succeeds_has_the_carrier_asked_again(
    operator: Operator, network: Network, database: Database, keyring: Keyring
) -> None:
    network.inventory.rent(NUMBERS)
    await operator.sets_up("--yes")
    await leave(database, keyring, TOKEN).refused("it refused with 401")

    done = await operator.runs("plivo", "setup", "--dry-run")
    assert (done.exit_code, "does not take our credentials" in done.output) == (2, True)
    _, steps = await operator.checks(MASKING_CARRIER_AUTH_TOKEN="wrong")
    assert steps["credentials"][0] == "failed"
    async with database.transaction() as connection:
        assert len(await carrier_turns.stops(connection)) == 1

    code, steps = await operator.checks()
    assert code == 0
    assert steps["stopped"][0] == "ok"
    assert "from now on it is asked again" in steps["stopped"][1]
    async with database.transaction() as connection:
        assert await carrier_turns.stops(connection) == []


async def test_a_carrier_that_rests_after_failures_is_asked_all_the_same_and_again_by_everybody_where_it_answers(
    operator: Operator, network: Network, database: Database
) -> None:
    network.inventory.rent(NUMBERS)
    await operator.sets_up("--yes")
    ours = carrier_turns.Account(AUTH_ID, b"of which nobody asks")
    async with database.transaction() as connection:
        for _ in range(7):
            await carrier_turns.failed(connection, ours, carrier_turns.Breaker(5, timedelta(minutes=5)))
    assert b"masking_carriers_resting 1.0" in await Metrics(database).exposed()
    done = await operator.runs("plivo", "setup", "--dry-run")
    assert (done.exit_code, "has failed 7 times in a row, and is not asked for 300 s" in done.output) == (2, True)

    _, steps = await operator.checks(MASKING_CARRIER_AUTH_TOKEN="wrong")
    assert steps["resting"] == ("warning", "it had failed 7 times in a row, and is tried again by itself")
    _, steps = await operator.checks()
    assert steps["resting"] == ("ok", "it had failed 7 times in a row; from now on it is asked again")
    _, steps = await operator.checks()
    assert "resting" not in steps
    assert b"masking_carriers_resting 0.0" in await Metrics(database).exposed()


async def test_the_simulator_takes_what_plivo_takes_and_nothing_else(
    network: Network, address: str, http: httpx.AsyncClient
) -> None:
    network.inventory.rent(["+12025550007"])
    account = f"{address}/v1/Account/{AUTH_ID}"

    async def post(path: str, body: dict[str, object]) -> int:
        return (await http.post(f"{account}{path}", json=body, auth=(AUTH_ID, TOKEN))).status_code

    assert await post("/Application/", {"app_name": "a b", "answer_url": "https://x.example/"}) == 400
    assert await post("/Application/", {"answer_url": "https://x.example/"}) == 400
    assert await post("/Application/", {"app_name": "ab", "answer_url": "ftp://x.example/"}) == 400
    assert await post("/Application/", {"app_name": "ab", "fallback_url": "https://x.example/"}) == 400
    assert await post("/Application/", {"app_name": "ab", "answer_url": "https://x.example/"}) == 201
    assert await post("/Application/", {"app_name": "ab", "answer_url": "https://x.example/"}) == 400
    assert await post("/Application/1/", {"answer_url": "https://x.example/"}) == 404
    assert await post("/Number/12025550007/", {}) == 400
    assert await post("/Number/12025550007/", {"app_id": "1"}) == 400
    assert await post("/Number/12025550008/", {"app_id": ""}) == 404
    for path in ("/", "/Application/", "/Number/"):
        assert (await http.get(f"{account}{path}")).status_code == 401
    for query in ("limit=21", "offset=-1", "colour=blue"):
        answer = await http.get(f"{account}/Number/?{query}", auth=(AUTH_ID, TOKEN))
        assert answer.status_code == 400
