"""Every decision becomes a document that the real carrier takes, and says nothing it should not."""

from __future__ import annotations

import re
from inspect import signature
from xml.etree.ElementTree import fromstring

from hypothesis import given
from hypothesis import strategies as st
from plivo import plivoxml

from masking.carriers.protocol import CallUrls
from masking.carriers.simulator import elements as xml
from masking.carriers.simulator.application import Webhook
from masking.carriers.simulator.voice_xml import read_greeting, read_xml
from masking.carriers.voice.answer_xml import answer_xml, greeting_xml, hangup_xml
from masking.domain.limits import CALL_S
from masking.domain.routing import Announce, AskPin, Busy, Connect, Decision, Reason, Refuse, SayEnded

URLS = CallUrls(
    *(f"https://gateway.example/{name}" for name in ("connect", "dial", "done", "recording", "greeting", "pin?wrong=1"))
)
audio = st.sampled_from(["", "https://x.example/a.mp3?x=1&y=<2>"])
some_audio = st.just("https://x.example/a.mp3?x=1&y=<2>")
reasons = st.sampled_from(Reason)

decisions: st.SearchStrategy[Decision] = st.one_of(
    st.builds(
        Connect,
        to=st.just("+12025550102"),
        caller_id=st.just("+12025550199"),
        ring_timeout=st.integers(5, 600),
        call_time_limit=st.just(CALL_S[0]) | st.integers(*CALL_S),
        record=st.sampled_from([None, "mp3", "wav"]),
        play_to_caller=audio,
        play_to_callee=audio,
        reason=reasons,
    ),
    st.builds(AskPin, prompt_play=some_audio, after_play=audio, wait=st.integers(0, 10), wrong_pins=st.integers(0, 6)),
    st.builds(Announce, play_url=some_audio, reason=reasons),
    st.builds(SayEnded, play_url=audio, answer_url=audio),
    st.just(Busy()),
    st.builds(Refuse, reason=reasons),
)


@given(decisions)
def test_every_decision_is_a_document_the_carrier_takes(decision: Decision) -> None:
    instructions = read_xml(answer_xml(decision, URLS).encode(), "application/xml")

    kinds = [type(each) for each in instructions]
    match decision:
        case Connect(play_to_caller=audio) if audio:
            assert kinds == [xml.Play, xml.Redirect], "nobody is dialled while the caller listens"
            assert instructions[1] == xml.Redirect(Webhook(URLS.connect))
        case Connect():
            dial = instructions[-1]
            assert isinstance(dial, xml.Dial)
            assert (dial.number, dial.caller_id) == ("12025550102", "12025550199")
            assert (dial.ring_seconds, dial.limit_seconds) == (decision.ring_timeout, decision.call_time_limit)
            assert bool(dial.greeting.url) == bool(decision.play_to_callee)
            assert (xml.Record in kinds) == (decision.record is not None)
        case AskPin():
            asked = next(each for each in instructions if isinstance(each, xml.GetDigits))
            assert not asked.logged, "the carrier is not to write the PIN down"
            assert asked.most >= 15
            assert kinds[-1] is xml.Redirect, "no input is a try too"
            waits = [each.seconds for each in instructions if isinstance(each, xml.Wait)]
            assert waits == ([decision.wait] if decision.wait else [])
        case SayEnded(answer_url=answer_url) if answer_url:
            assert kinds == [xml.Redirect]
        case _:
            assert kinds[-1] is xml.Hangup
            assert xml.Dial not in kinds


@given(decisions)
def test_every_attribute_that_we_write_is_known_to_plivos_own_builders(decision: Decision) -> None:
    for element in fromstring(answer_xml(decision, URLS)).iter():
        builder = getattr(plivoxml, f"{element.tag}Element")
        known = {re.sub(r"_(\w)", lambda found: found[1].upper(), name) for name in signature(builder).parameters}
        assert set(element.attrib) <= known


def test_the_greeting_may_be_gone() -> None:
    assert read_greeting(greeting_xml("").encode(), "application/xml") == []
    assert read_greeting(greeting_xml("https://x.example/a.mp3").encode(), "application/xml") == [
        xml.Play("https://x.example/a.mp3")
    ]
    assert read_xml(hangup_xml().encode(), "application/xml") == [xml.Hangup("")]
