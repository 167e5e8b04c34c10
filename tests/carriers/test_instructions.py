"""How the network obeys Voice XML: digits, greetings, redirects, methods, several dials."""

from __future__ import annotations

import asyncio

import pytest

from masking.carriers.simulator.chaos import ChaosSwitches
from masking.carriers.simulator.network import Network
from masking.carriers.simulator.phones import MAGIC, Behaviour, born_behaviour
from tests.carriers.conftest import ALICE, BOB, NUMBER, Application, heard, reported, until

pytestmark = pytest.mark.anyio

CAROL = "+12025550103"


def ask(application: Application, attributes: str = "", after: str = "") -> None:
    base = application.base
    application.documents["/answer"] = (
        f'<Response><GetDigits action="{base}/digits" {attributes}><Speak>PIN?</Speak></GetDigits>{after}</Response>'
    )
    application.documents["/digits"] = "<Response><Speak>Thanks.</Speak><Hangup/></Response>"


async def test_digits_are_collected_until_the_finish_key_and_the_answer_goes_on(
    network: Network, application: Application
) -> None:
    ask(application)
    network.phone(ALICE).behaviour = Behaviour(presses=("12*4#99",))
    record = network.dial(ALICE, NUMBER)
    await reported(application, record)

    (form,) = application.forms("/digits")
    assert (form["Digits"], form["CallUUID"], form["From"]) == ("12*4", record.call_uuid, ALICE[1:])
    assert heard(record) == ["PIN?", "12*4", "Thanks."]


@pytest.mark.parametrize(
    ("attributes", "pressed", "digits"),
    [
        ('numDigits="3"', "123456", "123"),
        ('finishOnKey="*"', "12#4*", "12#4"),
        ('finishOnKey="none"', "12#", "12#"),
        ('validDigits="12"', "1923#", "12"),
        ('log="false"', "1234#", "1234"),
        ("", "77", "77"),
    ],
)
async def test_each_attribute_of_get_digits_counts(
    network: Network, application: Application, attributes: str, pressed: str, digits: str
) -> None:
    ask(application, attributes)
    network.phone(ALICE).behaviour = Behaviour(presses=(pressed,))
    record = network.dial(ALICE, NUMBER)
    await reported(application, record)

    assert application.forms("/digits")[0]["Digits"] == digits
    shown = "*" * len(digits) if "log" in attributes else digits
    assert heard(record) == ["PIN?", shown, "Thanks."]


async def test_without_digits_the_call_goes_on_behind_the_question(network: Network, application: Application) -> None:
    ask(application, 'timeout="3" retries="2"', "<Speak>Nothing heard.</Speak>")
    record = network.dial(ALICE, NUMBER)
    await reported(application, record)

    assert application.forms("/digits") == []
    assert heard(record) == ["PIN?", "PIN?", "Nothing heard."]


async def test_somebody_may_press_the_keys(network: Network, application: Application) -> None:
    ask(application, 'timeout="60"')
    record = network.dial(ALICE, NUMBER)
    await until(lambda: heard(record) == ["PIN?"])
    network.phone(ALICE).press("55#")
    await reported(application, record)
    assert application.forms("/digits")[0]["Digits"] == "55"


async def test_a_redirect_takes_the_documents_place(network: Network, application: Application) -> None:
    base = application.base
    application.documents["/answer"] = (
        f'<Response><Redirect method="GET">{base}/elsewhere</Redirect><Speak>Never said.</Speak></Response>'
    )
    application.documents["/elsewhere"] = "<Response><Speak>Hello.</Speak></Response>"
    record = network.dial(ALICE, NUMBER)
    await reported(application, record)

    assert heard(record) == ["Hello."]
    assert application.methods["/elsewhere"] == ["GET"]
    assert application.forms("/elsewhere")[0]["CallUUID"] == record.call_uuid
    assert record.caller.cause.code == 4010


async def test_an_actions_answer_is_followed_only_where_redirect_says_so(
    network: Network, application: Application
) -> None:
    base = application.base
    application.documents["/answer"] = (
        f'<Response><Dial action="{base}/done" redirect="false"><Number>{BOB[1:]}</Number></Dial>'
        f'<Dial action="{base}/done"><Number>{CAROL[1:]}</Number></Dial><Speak>Never said.</Speak></Response>'
    )
    application.documents["/done"] = "<Response><Speak>Goodbye.</Speak></Response>"
    for phone in (BOB, CAROL):
        network.phone(phone).behaviour = Behaviour(hangs_up_after=1)
    record = network.dial(ALICE, NUMBER)
    await reported(application, record)

    assert [leg.number for leg in record.callees] == [BOB, CAROL]
    assert heard(record) == ["Goodbye."]
    assert len(application.forms("/done")) == 2


async def test_two_conversations_of_one_call_are_two_recordings(network: Network, application: Application) -> None:
    base = application.base
    record_next = f'<Record startOnDialAnswer="true" redirect="false" fileFormat="wav" callbackUrl="{base}/recording"/>'
    application.documents["/answer"] = (
        f"<Response>{record_next}<Dial><Number>{BOB[1:]}</Number></Dial>"
        f"{record_next}<Dial><Number>{CAROL[1:]}</Number></Dial></Response>"
    )
    for phone in (BOB, CAROL):
        network.phone(phone).behaviour = Behaviour(hangs_up_after=2)
    record = network.dial(ALICE, NUMBER)
    await until(lambda: record.reported)

    assert len(record.recordings) == 2
    assert len({form["RecordingID"] for form in application.forms("/recording")}) == 2


async def test_a_callee_hears_its_greeting_before_it_is_connected(network: Network, application: Application) -> None:
    base = application.base
    application.documents["/answer"] = (
        f'<Response><Dial callbackUrl="{base}/dial" confirmSound="{base}/hello"><Number>{BOB[1:]}</Number></Dial>'
        "</Response>"
    )
    application.documents["/hello"] = "<Response><Play>https://x.example/hello.mp3</Play></Response>"
    network.phone(BOB).behaviour = Behaviour(hangs_up_after=1)
    record = network.dial(ALICE, NUMBER)
    await reported(application, record)

    assert heard(record, "callee") == ["https://x.example/hello.mp3"]
    assert [form["DialAction"] for form in application.forms("/dial")] == ["answer", "connected", "hangup"]

    application.documents["/hello"] = "<Response><Hangup/></Response>"
    record = network.dial(ALICE, NUMBER)
    await until(lambda: record.reported)
    assert record.callee is not None
    assert not record.callee.connected
    assert record.caller.cause.code == 8011


async def test_a_hidden_callers_number_never_shows(network: Network, application: Application) -> None:
    application.documents["/answer"] = f"<Response><Dial><Number>{BOB[1:]}</Number></Dial></Response>"
    network.phone(ALICE).behaviour = Behaviour(hidden=True, hangs_up_after=1)
    record = network.dial(ALICE, NUMBER)
    await until(lambda: network.phone(BOB).state == "ringing")
    assert network.phone(BOB).screen is None
    await reported(application, record)


@pytest.mark.parametrize(
    ("instructions", "code"),
    [
        ('<GetDigits numDigits="many"/>', "8011"),
        ('<GetDigits finishOnKey="##"/>', "8011"),
        ('<GetDigits validDigits="abc"/>', "8011"),
        ("<GetDigits><Hangup/></GetDigits>", "8011"),
        ("<GetDigits>Your PIN?</GetDigits>", "8011"),
        ('<GetDigits><Play loop="banana">http://x.example/a.mp3</Play></GetDigits>', "8011"),
        ("<GetDigits><Speak>PIN<Wait/></Speak></GetDigits>", "8011"),
        ('<GetDigits redirect="maybe"/>', "8011"),
        ('<GetDigits action="digits"/>', "7022"),
        ('<GetDigits method="DELETE"/>', "7032"),
        ('<Redirect method="PUT">http://x.example/</Redirect>', "7034"),
        ("<Redirect>ftp://x.example/</Redirect>", "7024"),
        ("<Redirect/>", "8011"),
        ('<Dial confirmSound="hello"><Number>12025550102</Number></Dial>', "8011"),
        ('<Dial action="/done"><Number>12025550102</Number></Dial>', "7022"),
        ('<Dial method="PUT"><Number>12025550102</Number></Dial>', "7032"),
        ('<Dial><Number colour="red">12025550102</Number></Dial>', "8011"),
        ("<Dial><Number>12025550102<Wait/></Number></Dial>", "8011"),
        ("<Dial>Bob<Number>12025550102</Number></Dial>", "8011"),
        ("<Dial><Number>12025550102</Number>Bob</Dial>", "8011"),
        ('<Play loop="banana">http://x.example/a.mp3</Play>', "8011"),
        ('<Speak loop="-1">Hello.</Speak>', "8011"),
        ('<Speak voice="CHILD">Hello.</Speak>', "8011"),
        ('<Record startOnDialAnswer="true" redirect="false" maxLength="1"/>', "8011"),
        (f'<Dial callerName="{"n" * 51}"><Number>12025550102</Number></Dial>', "8011"),
        ('<Hangup schedule="soon"/>', "8011"),
        ('<Hangup schedule="0"/>', "8011"),
        ("<Hangup>Goodbye.</Hangup>", "8011"),
        ('<Wait silence="maybe"/>', "8011"),
        ("Hello.<Hangup/>", "8011"),
        ("<Hangup/>Hello.", "8011"),
    ],
)
async def test_what_the_real_carrier_would_refuse_ends_the_call(
    network: Network, application: Application, instructions: str, code: str
) -> None:
    application.documents["/answer"] = f"<Response>{instructions}</Response>"
    record = network.dial(ALICE, NUMBER)
    await reported(application, record)

    assert application.forms("/hangup")[0]["HangupCauseCode"] == code
    assert (record.callees, record.caller.answered_at) == ([], None), "nothing of it is carried out"


async def test_sound_is_repeated_as_often_as_it_says(network: Network, application: Application) -> None:
    ask(application, 'timeout="1"', '<Play loop="0">http://x.example/music.mp3</Play>')
    question = application.documents["/answer"].replace("<Speak>PIN?", '<Speak loop="2">PIN?')
    application.documents["/answer"] = question.replace("<Response>", '<Response><Speak loop="3">Hi.</Speak>')
    record = network.dial(ALICE, NUMBER)
    await until(lambda: heard(record).count("http://x.example/music.mp3") >= 4)
    network.phone(ALICE).hang_up()
    await reported(application, record)

    assert heard(record)[:5] == ["Hi.", "Hi.", "Hi.", "PIN?", "PIN?"]
    assert record.caller.cause.code == 4000


async def test_a_hangup_may_be_scheduled_while_the_call_goes_on(network: Network, application: Application) -> None:
    application.documents["/answer"] = (
        '<Response><Hangup schedule="60"/><Speak>Hold on.</Speak><Wait length="600"/></Response>'
    )
    record = network.dial(ALICE, NUMBER)
    await reported(application, record)

    assert heard(record) == ["Hold on."]
    assert record.caller.cause.code == 6000
    assert 55 <= record.caller.duration <= 75


async def test_a_hangup_before_the_answer_rejects_the_call(network: Network, application: Application) -> None:
    application.documents["/answer"] = "<Response><Hangup/></Response>"
    record = network.dial(ALICE, NUMBER)
    await reported(application, record)

    assert (record.caller.cause.code, record.caller.answered_at) == (3020, None)


async def test_stopping_takes_a_moment_also_when_nobody_takes_the_reports(
    network: Network, application: Application
) -> None:
    application.documents["/answer"] = f"<Response><Dial><Number>{BOB[1:]}</Number></Dial></Response>"
    record = network.dial(ALICE, NUMBER)
    await until(lambda: network.phone(BOB).state == "talking")
    application.status = 503
    began = asyncio.get_running_loop().time()
    await network.close()

    assert asyncio.get_running_loop().time() - began < 4
    assert record.ended


async def test_lost_and_repeated_reports_still_arrive(network: Network, application: Application) -> None:
    base = application.base
    application.documents["/answer"] = (
        f'<Response><Dial callbackUrl="{base}/dial#rc=5"><Number>{BOB[1:]}</Number></Dial></Response>'
    )
    network.chaos = ChaosSwitches(drop=0.6, duplicate=0.5, delay=0.5, reorder=0.5, late_by=20, seed=11)
    network.phone(BOB).behaviour = Behaviour(hangs_up_after=1)
    record = network.dial(ALICE, NUMBER)
    await until(lambda: record.reported)

    assert {form["DialAction"] for form in application.forms("/dial")} == {"answer", "connected", "hangup"}
    assert len(application.told) > 5
    assert application.forms("/hangup")


async def test_a_question_whose_answer_is_lost_is_asked_again(network: Network, application: Application) -> None:
    application.documents["/answer"] = "<Response><Speak>Hello.</Speak></Response>"
    network.chaos = ChaosSwitches(drop=0.9, seed=2)
    for _ in range(4):
        record = network.dial(ALICE, NUMBER)
        await until(lambda record=record: record.ended)  # type: ignore[misc]
        assert heard(record) == ["Hello."]
    assert 4 < len(application.forms("/answer")) < 8


def test_magic_numbers_provoke_outcomes_by_themselves() -> None:
    assert born_behaviour("+12025550180").on_ring == "busy"
    assert born_behaviour("+14155550182").on_ring == "ignore"
    assert born_behaviour("+12025550186").presses == ("1234#",)
    assert born_behaviour("+12025550101") == born_behaviour("+912025550180") == Behaviour()
    assert {each.on_ring for each in MAGIC.values()} == {"busy", "reject", "ignore", "answer"}
