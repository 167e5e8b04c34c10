"""A routing decision as Voice XML (plivo-wire.md §7.3)."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

from masking.domain.routing import Busy, Connect, Decision, Refuse, SayEnded
from masking.domain.wire_format import plivo_number

SESSION_ENDED_WORDS = "This number is no longer connected to your call partner. Goodbye."


@dataclass(frozen=True)
class CallUrls:
    """Where the carrier reports on a call it was told to connect."""

    dial_event: str
    dial_done: str
    recording: str


def answer_xml(decision: Decision, urls: CallUrls) -> str:
    """What the carrier is to do with the call."""
    response = Element("Response")
    match decision:
        case Connect():
            _connect(response, decision, urls)
        case SayEnded():
            SubElement(response, "Speak").text = SESSION_ENDED_WORDS
            SubElement(response, "Hangup")
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


def _connect(response: Element, decision: Connect, urls: CallUrls) -> None:
    if decision.record is not None:
        SubElement(
            response,
            "Record",
            startOnDialAnswer="true",
            redirect="false",
            fileFormat=decision.record,
            maxLength=str(decision.call_time_limit),
            callbackUrl=urls.recording,
            callbackMethod="POST",
        )
    dial = SubElement(
        response,
        "Dial",
        callerId=plivo_number(decision.caller_id),
        timeout=str(decision.ring_timeout),
        timeLimit=str(decision.call_time_limit),
        action=urls.dial_done,
        method="POST",
        callbackUrl=urls.dial_event,
        callbackMethod="POST",
    )
    SubElement(dial, "Number").text = plivo_number(decision.to)


def _document(response: Element) -> str:
    return tostring(response, encoding="unicode", xml_declaration=False)
