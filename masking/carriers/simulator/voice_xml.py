"""Reads Voice XML as strictly as the real carrier (plivo-wire.md §7.3).

The elements that masking needs; any other, an unknown attribute, a wrong nesting or a
value out of its range refuses the whole document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError, fromstring

from masking.carriers.simulator.application import Webhook

MAX_BYTES = 100 * 1024
METHODS = ("POST", "GET")


class RefusedXml(Exception):
    """The carrier would not take this document; the message says why."""


class Play(NamedTuple):
    """Play the audio at a URL."""

    url: str


class Speak(NamedTuple):
    """Say words."""

    text: str


class Wait(NamedTuple):
    """Say nothing for some seconds."""

    seconds: int


class Redirect(NamedTuple):
    """Go on with the document at a URL instead of this one."""

    webhook: Webhook


class Hangup(NamedTuple):
    """End the call; with a reason (`rejected`, `busy`) before it is answered."""

    reason: str


class Record(NamedTuple):
    """Record the conversation that a following Dial makes, from its answer."""

    callback: Webhook
    file_format: str
    max_seconds: int


class Dial(NamedTuple):
    """Call a number (digits) and bridge.

    Attributes:
        caller_id: digits; empty to show the caller's own.
        greeting: asked for what the callee hears before it is connected; empty for nothing.
        follows_action: whether the action's answer is the document to go on with.
    """

    number: str
    caller_id: str
    ring_seconds: int
    limit_seconds: int
    action: Webhook
    follows_action: bool
    callback: Webhook
    greeting: Webhook


class GetDigits(NamedTuple):
    """Have the caller press keys.

    Attributes:
        prompts: what it hears meanwhile, `Play` and `Speak`.
        seconds, between_seconds: until the first key, and from one to the next.
        times: how often the prompts are played while nothing is pressed.
        logged: whether the carrier may write the digits down.
    """

    prompts: tuple[Play | Speak, ...]
    action: Webhook
    follows_action: bool
    seconds: int
    between_seconds: int
    most: int
    finish_on: str
    times: int
    valid: str
    logged: bool


Instruction = Play | Speak | Wait | Redirect | Hangup | Record | Dial | GetDigits


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
    return [_instruction(element) for element in root]


def read_greeting(document: bytes, content_type: str) -> list[Play | Speak | Wait]:
    """What a callee hears before it is connected: nothing but sound may stand there.

    Raises:
        RefusedXml: the real carrier would not take it.
    """
    sounds: list[Play | Speak | Wait] = []
    for instruction in read_xml(document, content_type):
        if not isinstance(instruction, Play | Speak | Wait):
            raise RefusedXml(f"{type(instruction).__name__} may not stand in what confirmSound leads to")
        sounds.append(instruction)
    return sounds


def _instruction(element: Element) -> Instruction:
    reader = _READERS.get(element.tag)
    if reader is None:
        raise RefusedXml(f"{element.tag} is no element that may stand here")
    if element.tag not in ("Dial", "GetDigits") and len(element):
        raise RefusedXml(f"{element.tag} may not hold other elements")
    return reader(element)


def _attributes(element: Element, **allowed: str) -> Mapping[str, str]:
    """The attributes with their defaults; refuses those that the element does not have."""
    for name in element.attrib:
        if name not in allowed:
            raise RefusedXml(f"{element.tag} has no attribute {name}")
    return {**allowed, **element.attrib}


def _text(element: Element) -> str:
    text = (element.text or "").strip()
    if not text:
        raise RefusedXml(f"{element.tag} is empty")
    return text


def _url(element: Element, url: str, *, required: bool = False) -> str:
    if (required or url) and not url.startswith(("http://", "https://")):
        raise RefusedXml(f"{element.tag} needs a URL that begins with http:// or https://")
    return url


def _whole(element: Element, name: str, value: str, lowest: int) -> int:
    if not (value.isascii() and value.isdecimal() and int(value) >= lowest):
        raise RefusedXml(f"{element.tag}: {name} must be a whole number, {lowest} or more")
    return int(value)


def _one_of(element: Element, name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise RefusedXml(f"{element.tag}: {name} must be {' or '.join(allowed)}")
    return value


def _truth(element: Element, name: str, value: str) -> bool:
    return _one_of(element, name, value, ("true", "false")) == "true"


def _webhook(element: Element, url: str, method: str, *, required: bool = False) -> Webhook:
    return Webhook(
        _url(element, url, required=required), "GET" if _one_of(element, "method", method, METHODS) == "GET" else "POST"
    )


def _play(element: Element) -> Play:
    _attributes(element, loop="1")
    return Play(_url(element, _text(element), required=True))


def _speak(element: Element) -> Speak:
    _attributes(element, voice="WOMAN", language="en-US", loop="1")
    return Speak(_text(element))


def _wait(element: Element) -> Wait:
    given = _attributes(element, length="1", silence="false")
    return Wait(_whole(element, "length", given["length"], 1))


def _redirect(element: Element) -> Redirect:
    given = _attributes(element, method="POST")
    return Redirect(_webhook(element, _text(element), given["method"], required=True))


def _hangup(element: Element) -> Hangup:
    given = _attributes(element, reason="", schedule="0")
    return Hangup(_one_of(element, "reason", given["reason"], ("", "rejected", "busy")))


def _record(element: Element) -> Record:
    given = _attributes(
        element,
        startOnDialAnswer="false",
        redirect="true",
        fileFormat="mp3",
        maxLength="60",
        callbackUrl="",
        callbackMethod="POST",
    )
    if given["startOnDialAnswer"] != "true" or given["redirect"] != "false":
        raise RefusedXml('Record: this network records conversations only: startOnDialAnswer="true" redirect="false"')
    return Record(
        _webhook(element, given["callbackUrl"], given["callbackMethod"]),
        _one_of(element, "fileFormat", given["fileFormat"], ("mp3", "wav")),
        _whole(element, "maxLength", given["maxLength"], 1),
    )


def _dial(element: Element) -> Dial:
    given = _attributes(
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
    if [child.tag for child in element] != ["Number"]:
        raise RefusedXml("Dial: this network dials exactly one Number")
    number = _text(element[0]).removeprefix("+")
    caller_id = given["callerId"].removeprefix("+")
    for name, digits in (("Number", number), ("callerId", caller_id or "0")):
        if not (digits.isascii() and digits.isdecimal()):
            raise RefusedXml(f"Dial: {name} must be a number in E.164")
    return Dial(
        number=number,
        caller_id=caller_id,
        ring_seconds=_whole(element, "timeout", given["timeout"], 1),
        limit_seconds=_whole(element, "timeLimit", given["timeLimit"], 1),
        action=_webhook(element, given["action"], given["method"]),
        follows_action=_truth(element, "redirect", given["redirect"]),
        callback=_webhook(element, given["callbackUrl"], given["callbackMethod"]),
        greeting=_webhook(element, given["confirmSound"], "POST"),
    )


def _get_digits(element: Element) -> GetDigits:
    given = _attributes(
        element,
        action="",
        method="POST",
        timeout="5",
        digitTimeout="2",
        numDigits="99",
        finishOnKey="#",
        retries="1",
        validDigits="1234567890*#",
        playBeep="false",
        redirect="true",
        invalidDigitsSound="",
        log="true",
    )
    prompts = tuple(_prompt(child) for child in element)
    if given["finishOnKey"] not in {*"0123456789*#", "none", ""}:
        raise RefusedXml("GetDigits: finishOnKey must be one key, or none")
    _truth(element, "playBeep", given["playBeep"])
    _url(element, given["invalidDigitsSound"])
    return GetDigits(
        prompts=prompts,
        action=_webhook(element, given["action"], given["method"]),
        follows_action=_truth(element, "redirect", given["redirect"]),
        seconds=_whole(element, "timeout", given["timeout"], 1),
        between_seconds=_whole(element, "digitTimeout", given["digitTimeout"], 1),
        most=_whole(element, "numDigits", given["numDigits"], 1),
        finish_on=given["finishOnKey"].replace("none", ""),
        times=_whole(element, "retries", given["retries"], 1),
        valid=given["validDigits"],
        logged=_truth(element, "log", given["log"]),
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
