"""What a carrier is answered, webhook by webhook, and what of it is refused."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4
from xml.etree import ElementTree

import psycopg
import pytest

from masking.carriers import words
from masking.carriers.signature import MAIN_ACCOUNT_SIGNATURE, NONCE, SIGNATURE, signed_headers
from masking.storage.database import Database
from tests.integration.conftest import Receiver, System
from tests.integration.reported_calls import FIRST, SECOND, STRANGER, create, dial_of, rest_of_call, ring_at
from tests.integration.telephone import heard

pytestmark = pytest.mark.anyio


async def test_whom_to_dial_is_told_again_and_rings_once(system: System, receiver: Receiver) -> None:
    session = await create(
        system, callback_url=receiver.url, second_party_play_url="https://x.example/2.mp3", record=True, ring_timeout=30
    )
    asked = await ring_at(system, session["virtual_number"], SECOND, "call-1")
    connect = str(asked.findtext("Redirect"))
    assert (asked.find("Dial"), asked.findtext("Play")) == (None, "https://x.example/2.mp3")

    documents = [await system.webhook(connect, {"CallUUID": "call-1"}) for _ in range(2)]
    await rest_of_call(system, ElementTree.fromstring(documents[0].text), "call-1")
    await heard(receiver, "SessionPartiesHangup")

    assert documents[0].text == documents[1].text
    dial = dial_of(ElementTree.fromstring(documents[0].text))
    assert (dial.findtext("Number"), dial.attrib["callerId"]) == (FIRST, session["virtual_number"])
    assert dial.attrib["timeout"] == "30"
    assert receiver.names == [
        "SessionFirstPartyAnswer", "SessionSecondPartyRing", "SessionSecondPartyAnswer",
        "SessionSecondPartyHangup", "SessionFirstPartyHangup", "SessionPartiesHangup",
    ]  # fmt: skip


async def test_nobody_is_dialled_for_a_caller_who_has_left(system: System, receiver: Receiver) -> None:
    session = await create(system, callback_url=receiver.url, first_party_play_url="https://x.example/1.mp3")
    asked = await ring_at(system, session["virtual_number"], FIRST, "call-1")
    left = {"CallUUID": "call-1", "HangupCauseName": "Canceled", "HangupCauseCode": "1000", "Duration": "0"}
    await system.webhook("/carrier/voice/hangup", left)

    told = await system.webhook(str(asked.findtext("Redirect")), {"CallUUID": "call-1"})
    unknown = await system.webhook("/carrier/voice/calls/no-such-call/connect", {"CallUUID": "no-such-call"})

    for document in (told, unknown):
        assert [each.tag for each in ElementTree.fromstring(document.text)] == ["Hangup"]
    await heard(receiver, "SessionPartiesHangup")
    assert "SessionSecondPartyRing" not in receiver.names


async def test_nobody_is_dialled_once_the_session_has_ended_while_the_caller_listened(
    system: System, receiver: Receiver
) -> None:
    session = await create(system, callback_url=receiver.url, first_party_play_url="https://x.example/1.mp3")
    asked = await ring_at(system, session["virtual_number"], FIRST, "call-1")
    assert (await system.http.delete(f"{system.api}/{session['session_uuid']}/")).status_code == 200

    document = ElementTree.fromstring(
        (await system.webhook(str(asked.findtext("Redirect")), {"CallUUID": "call-1"})).text
    )
    left = {"CallUUID": "call-1", "HangupCauseName": "Normal Hangup", "HangupCauseCode": "4000", "Duration": "9"}
    await system.webhook("/carrier/voice/hangup", left)

    assert document.find("Dial") is None
    assert document.findtext("Speak") == words.SESSION_ENDED
    await heard(receiver, "SessionPartiesHangup")
    assert "SessionSecondPartyRing" not in receiver.names


async def test_a_party_is_connected_to_the_other_and_shows_only_the_virtual_number(system: System) -> None:
    session = await create(system, ring_timeout=30, call_time_limit=600)

    for caller, callee in ((FIRST, SECOND), (SECOND, FIRST)):
        dial = dial_of(await ring_at(system, session["virtual_number"], caller))
        assert dial.findtext("Number") == callee
        assert dial.attrib["callerId"] == session["virtual_number"]
        assert (dial.attrib["timeout"], dial.attrib["timeLimit"]) == ("30", "600")
        await _end_all_calls(system)


async def _end_all_calls(system: System) -> None:
    async with system.database.transaction() as connection:
        await connection.execute("UPDATE calls SET ended_at = now()")


async def test_a_caller_who_hangs_up_while_its_call_is_being_decided_leaves_the_session_free(system: System) -> None:
    """As when PostgreSQL stalls for a moment: the carrier tells of the end before it has its answer."""
    session, call_uuid = await create(system), str(uuid4())
    end = {"CallUUID": call_uuid, "Duration": "0", "HangupCauseName": "Cancelled", "HangupCauseCode": "1010"}
    async with system.database.transaction() as connection:
        await connection.execute("SELECT FROM sessions FOR UPDATE")
        answer = asyncio.create_task(ring_at(system, session["virtual_number"], FIRST, call_uuid))
        await until_they_wait(system.database, 1)
        hangup = asyncio.create_task(system.webhook("/carrier/voice/hangup", end))
        await asyncio.wait([hangup], timeout=0.5)
    await answer
    assert (await hangup).status_code == 200

    dial = dial_of(await ring_at(system, session["virtual_number"], SECOND))
    assert dial.findtext("Number") == FIRST


@pytest.mark.parametrize("with_pin", [False, True])
async def test_a_call_whose_end_comes_before_the_question_what_to_do_with_it_leaves_the_session_free(
    system: System, with_pin: bool
) -> None:
    """As when one gateway stalls with the question, and another takes the end."""
    pins = {
        "is_pin_authentication_required": True,
        "pin_prompt_play": "https://a.example/pin.mp3",
        "first_party_pin": "4711",
        "second_party_pin": "4712",
    }
    session, call_uuid = await create(system, **(pins if with_pin else {})), str(uuid4())
    end = {"CallUUID": call_uuid, "Duration": "0", "HangupCauseName": "Cancelled", "HangupCauseCode": "1010"}
    for _ in range(2):
        assert (await system.webhook("/carrier/voice/hangup", end)).status_code == 200
    if with_pin:
        asked = {"CallUUID": call_uuid, "From": FIRST, "To": session["virtual_number"], "Digits": "4711"}
        late = await system.webhook(f"/carrier/voice/calls/{call_uuid}/pin?wrong=0", asked)
        assert ElementTree.fromstring(late.text).find("Dial") is None
    else:
        assert (await ring_at(system, session["virtual_number"], FIRST, call_uuid)).find("Dial") is None

    async with system.database.transaction() as connection:
        assert await (await connection.execute("SELECT * FROM calls")).fetchall() == []
        await connection.execute("UPDATE undecided_ends SET told_at = told_at - interval '11 minutes'")
    assert (await system.webhook("/carrier/voice/hangup", end | {"CallUUID": "another"})).status_code == 200
    async with system.database.transaction() as connection:
        left = await (await connection.execute("SELECT call_uuid FROM undecided_ends")).fetchall()
    assert left == [("another",)], "it is kept for some minutes"


async def until_they_wait(database: Database, count: int) -> None:
    """So many statements wait for a lock."""
    async with asyncio.timeout(20), database.autocommit() as connection:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        while await (await connection.execute(waiting)).fetchone() != (count,):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_stranger_and_a_hidden_caller_are_refused(system: System) -> None:
    session = await create(system)

    for caller in (STRANGER, "anonymous", "", "\u0661\u0662"):
        document = await ring_at(system, session["virtual_number"], caller)
        assert [(e.tag, e.attrib) for e in document] == [("Hangup", {"reason": "rejected"})]


async def test_a_second_call_meanwhile_gets_busy_and_a_repeated_webhook_the_same_answer(system: System) -> None:
    session = await create(system)
    one = str(uuid4())

    first = await ring_at(system, session["virtual_number"], FIRST, one)
    repeated = await ring_at(system, session["virtual_number"], FIRST, one)
    second = await ring_at(system, session["virtual_number"], SECOND)

    assert ElementTree.tostring(repeated) == ElementTree.tostring(first)
    assert [(e.tag, e.attrib) for e in second] == [("Hangup", {"reason": "busy"})]


async def test_after_expiry_the_caller_hears_that_it_ended_and_reaches_nobody(system: System) -> None:
    session = await create(system)
    await system.http.delete(f"{system.api}/{session['session_uuid']}/")

    document = await ring_at(system, session["virtual_number"], FIRST)

    assert [e.tag for e in document] == ["Speak", "Hangup"]


async def test_expiry_needs_nobody_awake(system: System) -> None:
    """The lease alone ends the forwarding: no worker, no workflow."""
    session = await create(system)
    async with system.database.transaction() as connection:
        await connection.execute("UPDATE routes SET expires_at = now()")

    document = await ring_at(system, session["virtual_number"], FIRST)

    assert document.find("Dial") is None


BAD_PART = b"--b\r\n%s\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b--\r\n"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded; charset=utf-8", b"From=\xff\xfe"),
        ("application/x-www-form-urlencoded; charset=klingon", b"From=1"),
        ("application/x-www-form-urlencoded; charset=utf-16", b"odd"),
        ("multipart/form-data", b"From=1"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1"),
        ("multipart/form-data; boundary=b", b"nothing of the kind"),
        ("multipart/form-data; boundary=b", BAD_PART % b"Content-Transfer-Encoding: klingon"),
        ("multipart/form-data; boundary=b", BAD_PART % (b"X: y\r\n" * 9000)),
        ("application/x-www-form-urlencoded; charset=utf-7", b"From=+2AA-"),
        ("application/x-www-form-urlencoded; charset=unicode_escape", b"From=\\ud800"),
    ],
)
async def test_a_body_that_is_no_form_is_refused(system: System, content_type: str, body: bytes) -> None:
    url = f"{system.settings.base_url}/carrier/voice/answer"
    response = await system.http.post(url, content=body, headers={"Content-Type": content_type})
    assert response.status_code == 400
    assert response.json()["error"] == "The body should be a form, application/x-www-form-urlencoded in UTF-8."


async def test_no_encoding_of_a_body_keeps_calls_waiting(system: System) -> None:
    url = f"{system.settings.base_url}/carrier/voice/answer"
    for charset, body in (("idna", b"tdna.xn--" * 7000), ("punycode", b"-" + b"ba" * 30_000)):
        headers = {"Content-Type": f"application/x-www-form-urlencoded; charset={charset}"}
        before = time.process_time()
        assert (await system.http.post(url, content=body, headers=headers)).status_code == 400
        assert time.process_time() - before < 1


@pytest.mark.parametrize("path", ["/carrier/voice/answer", "/carrier/plivo/sessions/a/b"])
@pytest.mark.parametrize(
    ("name", "value"), [(SIGNATURE, b"\xff"), (NONCE, b"\xff"), (MAIN_ACCOUNT_SIGNATURE, "é".encode())]
)
async def test_a_signature_that_is_no_text_is_a_wrong_one(system: System, path: str, name: str, value: bytes) -> None:
    signed = signed_headers("POST", f"{system.settings.base_url}{path}", {}, ["guessed"])
    headers = [(key.encode(), text.encode()) for key, text in signed.items() if key != name] + [(name.encode(), value)]
    assert (await system.http.post(f"{system.settings.base_url}{path}", headers=headers)).status_code == 403


async def test_an_unsigned_or_wrongly_signed_webhook_changes_nothing(system: System) -> None:
    session = await create(system)
    form = {"CallUUID": "forged", "From": FIRST, "To": session["virtual_number"]}
    url = f"{system.settings.base_url}/carrier/voice/answer"

    for response in (
        await system.http.post(url, data=form),
        await system.webhook("/carrier/voice/answer", form, token="another token"),
    ):
        assert response.status_code == 403
        assert set(response.json()) == {"api_id", "error"}
    async with system.database.transaction() as connection:
        assert await (await connection.execute("SELECT * FROM calls")).fetchall() == []


async def test_webhooks_of_unknown_calls_and_malformed_ones_do_no_harm(system: System) -> None:
    await create(system)
    for path in (
        "/carrier/voice/hangup",
        "/carrier/voice/calls/unknown/dial",
        "/carrier/voice/calls/unknown/recording",
    ):
        assert (await system.webhook(path, {"CallUUID": "unknown", "Duration": "many"})).status_code == 200
    document = await ring_at(system, "not-a-number", "\u0000", "x")
    assert document.find("Dial") is None


async def test_the_fallback_and_the_farewell_need_nothing_but_the_gateway(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: Database) -> None:
        raise psycopg.OperationalError

    monkeypatch.setattr(Database, "transaction", away)
    for path, said in (("fallback", words.OUT_OF_ORDER), ("farewell", words.FAREWELL)):
        answer = await system.webhook(f"/carrier/voice/{path}", {"CallUUID": "c"})
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/xml; charset=utf-8")
        assert answer.text == f"<Response><Speak>{said}</Speak><Hangup /></Response>"
        assert (await system.webhook(f"/carrier/voice/{path}", {"CallUUID": "c"}, token="wrong")).status_code == 403
