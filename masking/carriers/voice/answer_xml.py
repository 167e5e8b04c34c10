"""A routing decision as Voice XML (plivo-wire.md §7.3)."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, tostring

from masking.carriers import words
from masking.carriers.callback_configuration import ASKED, TOLD
from masking.carriers.protocol import CallUrls
from masking.domain.routing import Announce, AskPin, Busy, Connect, Decision, Refuse, SayEnded
from masking.domain.wire_format import plivo_number

PIN_TIMEOUT_S = 10
LONGEST_PIN = 15
SHORTEST_RECORDING_S = 2
"""Plivo refuses a document with a lower `maxLength` (https://docs.plivo.com/docs/voice/xml/record)."""


def answer_xml(decision: Decision, urls: CallUrls) -> str:
    """What the carrier is to do with the call."""
    response = Element("Response")
    match decision:
        case Connect():
            _connect(response, decision, urls)
        case AskPin():
            _ask_pin(response, decision, urls)
        case Announce():
            SubElement(response, "Play").text = decision.play_url
            SubElement(response, "Hangup")
        case SayEnded():
            _say_ended(response, decision)
        case Busy():
            SubElement(response, "Hangup", reason="busy")
        case Refuse():
            SubElement(response, "Hangup", reason="rejected")
    return _document(response)


def hangup_xml() -> str:
    """End the call."""
    response = Element("Response")
    SubElement(response, "Hangup")
    return _document(response)


def farewell_xml(said: str) -> str:
    """Say something, and end the call."""
    response = Element("Response")
    SubElement(response, "Speak").text = said
    SubElement(response, "Hangup")
    return _document(response)


def greeting_xml(play_url: str) -> str:
    """What the callee hears before it is connected; nothing when there is no audio for it any more."""
    response = Element("Response")
    if play_url:
        SubElement(response, "Play").text = play_url
    return _document(response)


def _connect(response: Element, decision: Connect, urls: CallUrls) -> None:
    if decision.play_to_caller:
        SubElement(response, "Play").text = decision.play_to_caller
        # Nobody rings while the caller listens, and nobody is dialled for one who leaves meanwhile.
        SubElement(response, "Redirect", method="POST").text = urls.connect
        return
    if decision.record is not None:
        SubElement(
            response,
            "Record",
            startOnDialAnswer="true",
            redirect="false",
            fileFormat=decision.record,
            maxLength=str(max(SHORTEST_RECORDING_S, decision.call_time_limit)),
            callbackUrl=f"{urls.recording}{TOLD}",
            callbackMethod="POST",
        )
    greeting = {"confirmSound": urls.greeting} if decision.play_to_callee else {}
    dial = SubElement(
        response,
        "Dial",
        {
            "callerId": plivo_number(decision.caller_id),
            "timeout": str(decision.ring_timeout),
            "timeLimit": str(decision.call_time_limit),
            "action": f"{urls.dial_done}{ASKED}",
            "method": "POST",
            "callbackUrl": f"{urls.dial_event}{TOLD}",
            "callbackMethod": "POST",
            **greeting,
        },
    )
    SubElement(dial, "Number").text = plivo_number(decision.to)


def _ask_pin(response: Element, decision: AskPin, urls: CallUrls) -> None:
    if decision.after_play:
        SubElement(response, "Play").text = decision.after_play
    if decision.wait:
        SubElement(response, "Wait", length=str(decision.wait))
    digits = SubElement(
        response,
        "GetDigits",
        action=f"{urls.pin}{ASKED}",
        method="POST",
        timeout=str(PIN_TIMEOUT_S),
        numDigits=str(LONGEST_PIN),
        finishOnKey="#",
        retries="1",
        redirect="true",
        # The carrier is not to write the PIN down.
        log="false",
    )
    SubElement(digits, "Play").text = decision.prompt_play
    # Reached only when nothing was entered: that is a failed try too.
    SubElement(response, "Redirect", method="POST").text = urls.pin


def _say_ended(response: Element, decision: SayEnded) -> None:
    if decision.answer_url:
        SubElement(response, "Redirect", method="POST").text = decision.answer_url
        return
    if decision.play_url:
        SubElement(response, "Play").text = decision.play_url
    else:
        SubElement(response, "Speak").text = words.SESSION_ENDED
    SubElement(response, "Hangup")


def _document(response: Element) -> str:
    return tostring(response, encoding="unicode", xml_declaration=False)
