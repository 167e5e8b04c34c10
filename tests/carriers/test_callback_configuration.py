"""How often the network tries a webhook: as Plivo says that its URL's fragment tells."""

from __future__ import annotations

import pytest

from masking.carriers.callback_configuration import ASKED, TOLD, CallbackConfiguration, configuration_of
from masking.carriers.simulator.application import ApplicationClient, Unreachable, Webhook
from masking.carriers.simulator.network import Network
from tests.carriers.conftest import ALICE, BOB, NUMBER, TOKEN, Application, reported
from tests.integration.conftest import free_port

pytestmark = pytest.mark.anyio


def test_without_a_fragment_it_is_tried_once_more_and_only_where_no_answer_came() -> None:
    configuration = configuration_of("https://x.example/a?b=c")
    assert configuration == CallbackConfiguration(2_000, 40_000, 55_000, 1, frozenset({"ct", "rt"}))


def test_a_fragment_says_otherwise() -> None:
    configuration = configuration_of("https://x.example/a?b=c#ct=100&rt=3000&tt=9000&rc=0&rp=all&er=mumbai")
    assert configuration == CallbackConfiguration(100, 3_000, 9_000, 0, frozenset({"4xx", "5xx", "ct", "rt"}))
    for ours in (ASKED, TOLD):
        assert configuration_of(f"https://x.example/{ours}").rp == {"5xx", "ct", "rt"}


@pytest.mark.parametrize(
    "fragment", ["rc=6", "rc=-1", "rc=two", "rc", "ct=99", "rt=40001", "tt=55001", "rp=3xx", "rp=", "er=mars", "part"]
)
async def test_what_plivo_does_not_document_is_refused(
    network: Network, application: Application, fragment: str
) -> None:
    application.documents["/answer"] = (
        f'<Response><Dial callbackUrl="{application.base}/dial#{fragment}"><Number>{BOB[1:]}</Number></Dial></Response>'
    )
    record = network.dial(ALICE, NUMBER)
    await reported(application, record)
    assert record.caller.cause.code == 8011


@pytest.mark.parametrize(
    ("fragment", "status", "tries"),
    [("", 503, 1), ("", 404, 1), ("#rc=2&rp=5xx", 503, 3), ("#rc=2&rp=5xx", 404, 1), ("#rc=1&rp=4xx", 404, 2)],
)
async def test_an_answer_that_is_a_failure_is_tried_again_only_where_the_fragment_says_so(
    application: Application, fragment: str, status: int, tries: int
) -> None:
    application.status = status
    webhook = Webhook(f"{application.base}/asked{fragment}")
    async with ApplicationClient(TOKEN) as client:
        with pytest.raises(Unreachable):
            await client.fetch(webhook, {"CallUUID": "c"})
        assert len(application.forms("/asked")) == tries
        assert not await client.tell(webhook, {"CallUUID": "c"})
    assert len(application.forms("/asked")) == 2 * tries


async def test_nobody_there_is_tried_again_until_there_is_somebody(application: Application) -> None:
    application.failures["/told"] = [503, 502]
    async with ApplicationClient(TOKEN) as client:
        assert await client.tell(Webhook(f"{application.base}/told{TOLD}"), {"CallUUID": "c"})
        assert not await client.tell(Webhook(f"http://127.0.0.1:{free_port()}/told"), {"CallUUID": "c"})
    assert len(application.forms("/told")) == 3
