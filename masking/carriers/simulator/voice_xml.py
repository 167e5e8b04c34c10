"""Reads Voice XML as strictly as the real carrier (plivo-wire.md §7.3).

The elements that masking needs; any other, an unknown attribute, a wrong nesting or a
value out of its range refuses the whole document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError, fromstring

MAX_BYTES = 100 * 1024


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
    """Go on with the document at a URL."""

    url: str


class Hangup(NamedTuple):
    """End the call; with a reason (`rejected`, `busy`) before it is answered."""

    reason: str


class Record(NamedTuple):
    """Record the conversation that a following Dial makes, from its answer."""

    callback_url: str
    file_format: str
    max_seconds: int


class Dial(NamedTuple):
    """Call a number (digits) and bridge."""

    number: str
    caller_id: str
    ring_seconds: int
    limit_seconds: int
    action: str
    callback_url: str


Instruction = Play | Speak | Wait | Redirect | Hangup | Record | Dial


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


def _instruction(element: Element) -> Instruction:
    reader = _READERS.get(element.tag)
    if reader is None:
        raise RefusedXml(f"{element.tag} is no element that may stand here")
    if element.tag != "Dial" and len(element):
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
    _one_of(element, "method", given["method"], ("POST", "GET"))
    return Redirect(_url(element, _text(element), required=True))


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
        _url(element, given["callbackUrl"]),
        _one_of(element, "fileFormat", given["fileFormat"], ("mp3", "wav")),
        _whole(element, "maxLength", given["maxLength"], 1),
    )


def _dial(element: Element) -> Dial:
    given = _attributes(
        element,
        callerId="",
        timeout="120",
        timeLimit="14400",
        action="",
        method="POST",
        redirect="true",
        callbackUrl="",
        callbackMethod="POST",
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
        action=_url(element, given["action"]),
        callback_url=_url(element, given["callbackUrl"]),
    )


_READERS: Mapping[str, Callable[[Element], Instruction]] = {
    "Play": _play,
    "Speak": _speak,
    "Wait": _wait,
    "Redirect": _redirect,
    "Hangup": _hangup,
    "Record": _record,
    "Dial": _dial,
}
