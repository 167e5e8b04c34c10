"""Reads Voice XML as strictly as the real carrier (plivo-wire.md §7.3).

The elements that masking needs; any other, an unknown attribute, a wrong nesting, stray text
or a value out of its range refuses the whole document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import urldefrag
from xml.etree.ElementTree import Element, ParseError, fromstring

from masking.carriers.simulator.elements import (
    LONGEST_CALL_S,
    Dial,
    GetDigits,
    Hangup,
    Instruction,
    Play,
    Record,
    Redirect,
    Speak,
    Wait,
)
from masking.carriers.simulator.xml_checks import (
    ACTION,
    REDIRECT,
    RefusedXml,
    attributes,
    elements,
    nothing_in,
    one_of,
    text,
    truth,
    url_of,
    webhook,
    whole,
)

MAX_BYTES = 100 * 1024
KEYS = "1234567890*#"
LONGEST_NAME = 50
VOICES = ("WOMAN", "MAN")


def read_xml(document: bytes, content_type: str) -> list[Instruction]:
    """The instructions of a document, in order.

    Raises:
        RefusedXml: the real carrier would end the call over it.
    """
    if content_type not in ("application/xml", "text/xml"):
        raise RefusedXml(f"the content type is {content_type}, not application/xml or text/xml")
    if len(document) > MAX_BYTES:
        raise RefusedXml("the document is larger than 100 KB")
    try:
        root = fromstring(document)  # noqa: S314 at most 100 KB, and expat bounds what entities may grow to
    except ParseError as error:
        raise RefusedXml(f"it is not well-formed: {error.msg}") from None
    if root.tag != "Response" or root.attrib:
        raise RefusedXml("the outermost element must be a bare Response")
    return [_instruction(element) for element in elements(root)]


def read_greeting(document: bytes, content_type: str, *, ends: bool = False) -> list[Play | Speak | Wait]:
    """What a callee hears before it is connected: nothing but sound may stand there.

    Args:
        ends: whether it is what a callee hears last instead: then a Hangup may stand there too.

    Raises:
        RefusedXml: the real carrier would not take it.
    """
    sounds: list[Play | Speak | Wait] = []
    for instruction in read_xml(document, content_type):
        if ends and isinstance(instruction, Hangup):
            break
        if not isinstance(instruction, Play | Speak | Wait):
            raise RefusedXml(f"{type(instruction).__name__} may not stand in what confirmSound leads to")
        sounds.append(instruction)
    return sounds


def _instruction(element: Element) -> Instruction:
    reader = _READERS.get(element.tag)
    if reader is None:
        raise RefusedXml(f"{element.tag} is no element that may stand here")
    return reader(element)


def _play(element: Element) -> Play:
    given = attributes(element, loop="1")
    return Play(url_of(element, text(element), required=True), whole(element, "loop", given["loop"], 0))


def _speak(element: Element) -> Speak:
    given = attributes(element, voice="WOMAN", language="en-US", loop="1")
    if not given["voice"].startswith("Polly."):
        one_of(element, "voice", given["voice"], VOICES)
    return Speak(text(element), whole(element, "loop", given["loop"], 0))


def _wait(element: Element) -> Wait:
    given = attributes(element, length="1", silence="false")
    nothing_in(element)
    truth(element, "silence", given["silence"])
    return Wait(whole(element, "length", given["length"], 1))


def _redirect(element: Element) -> Redirect:
    given = attributes(element, method="POST")
    # Plivo does not name its URL among those that a callback configuration is for.
    url = urldefrag(text(element)).url
    return Redirect(webhook(element, url, given["method"], required=True, faults=REDIRECT))


def _hangup(element: Element) -> Hangup:
    given = attributes(element, reason="", schedule="")
    nothing_in(element)
    reason = one_of(element, "reason", given["reason"], ("", "rejected", "busy"))
    scheduled = given["schedule"]
    return Hangup(reason, whole(element, "schedule", scheduled, 1) if scheduled else 0)


def _record(element: Element) -> Record:
    given = attributes(
        element,
        startOnDialAnswer="false",
        redirect="true",
        fileFormat="mp3",
        maxLength="60",
        callbackUrl="",
        callbackMethod="POST",
    )
    nothing_in(element)
    if given["startOnDialAnswer"] != "true" or given["redirect"] != "false":
        raise RefusedXml('Record: this network records conversations only: startOnDialAnswer="true" redirect="false"')
    return Record(
        webhook(element, given["callbackUrl"], given["callbackMethod"]),
        one_of(element, "fileFormat", given["fileFormat"], ("mp3", "wav")),
        # More than 1: https://docs.plivo.com/docs/voice/xml/record
        whole(element, "maxLength", given["maxLength"], 2),
    )


def _dial(element: Element) -> Dial:
    given = attributes(
        element,
        callerId="",
        callerName="",
        timeout="120",
        timeLimit="14400",
        action="",
        method="POST",
        redirect="true",
        callbackUrl="",
        callbackMethod="POST",
        confirmSound="",
    )
    numbers = elements(element)
    if [child.tag for child in numbers] != ["Number"]:
        raise RefusedXml("Dial: this network dials exactly one Number")
    attributes(numbers[0])
    number = text(numbers[0]).removeprefix("+")
    caller_id = given["callerId"].removeprefix("+")
    if len(given["callerName"]) > LONGEST_NAME:
        raise RefusedXml(f"Dial: callerName may have {LONGEST_NAME} characters")
    for name, digits in (("Number", number), ("callerId", caller_id or "0")):
        if not (digits.isascii() and digits.isdecimal()):
            raise RefusedXml(f"Dial: {name} must be a number in E.164")
    return Dial(
        number=number,
        caller_id=caller_id,
        ring_seconds=whole(element, "timeout", given["timeout"], 1),
        limit_seconds=min(whole(element, "timeLimit", given["timeLimit"], 1), LONGEST_CALL_S),
        action=webhook(element, given["action"], given["method"], faults=ACTION),
        follows_action=truth(element, "redirect", given["redirect"]),
        callback=webhook(element, given["callbackUrl"], given["callbackMethod"]),
        greeting=webhook(element, given["confirmSound"], "POST"),
    )


def _get_digits(element: Element) -> GetDigits:
    given = attributes(
        element,
        action="",
        method="POST",
        timeout="5",
        digitTimeout="2",
        numDigits="99",
        finishOnKey="#",
        retries="1",
        validDigits=KEYS,
        playBeep="false",
        redirect="true",
        invalidDigitsSound="",
        log="true",
    )
    prompts = tuple(_prompt(child) for child in elements(element))
    if given["finishOnKey"] not in {*KEYS, "none", ""}:
        raise RefusedXml("GetDigits: finishOnKey must be one key, or none")
    if not set(given["validDigits"]) <= set(KEYS):
        raise RefusedXml("GetDigits: validDigits must be keys")
    truth(element, "playBeep", given["playBeep"])
    url_of(element, given["invalidDigitsSound"])
    return GetDigits(
        prompts=prompts,
        action=webhook(element, given["action"], given["method"], faults=ACTION),
        follows_action=truth(element, "redirect", given["redirect"]),
        seconds=whole(element, "timeout", given["timeout"], 1),
        between_seconds=whole(element, "digitTimeout", given["digitTimeout"], 1),
        most=whole(element, "numDigits", given["numDigits"], 1),
        finish_on=given["finishOnKey"].replace("none", ""),
        times=whole(element, "retries", given["retries"], 1),
        valid=given["validDigits"],
        logged=truth(element, "log", given["log"]),
    )


def _prompt(element: Element) -> Play | Speak:
    if element.tag == "Play":
        return _play(element)
    if element.tag == "Speak":
        return _speak(element)
    raise RefusedXml(f"GetDigits may not hold {element.tag}")


_READERS: Mapping[str, Callable[[Element], Instruction]] = {
    "Play": _play,
    "Speak": _speak,
    "Wait": _wait,
    "Redirect": _redirect,
    "Hangup": _hangup,
    "Record": _record,
    "Dial": _dial,
    "GetDigits": _get_digits,
}
