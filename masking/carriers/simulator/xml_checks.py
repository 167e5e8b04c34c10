"""What any element of a Voice XML document may and may not hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from xml.etree.ElementTree import Element

from masking.carriers import hangup_causes as causes
from masking.carriers.callback_configuration import configuration_of
from masking.carriers.hangup_causes import HangupCause
from masking.carriers.simulator.application import Webhook


class RefusedXml(Exception):
    """The carrier would not take this document; the message says why.

    Attributes:
        cause: what the call ends with; None for that of an invalid document.
    """

    def __init__(self, message: str, cause: HangupCause | None = None) -> None:
        super().__init__(message)
        self.cause = cause


class Faults(NamedTuple):
    """What a call ends with over a webhook's URL or method; None for that of an invalid document."""

    url: HangupCause | None = None
    method: HangupCause | None = None


NO_OWN = Faults()
ACTION = Faults(causes.INVALID_ACTION_URL, causes.INVALID_ACTION_METHOD)
REDIRECT = Faults(causes.INVALID_REDIRECT_URL, causes.INVALID_REDIRECT_METHOD)


def attributes(element: Element, **allowed: str) -> Mapping[str, str]:
    """The attributes with their defaults; refuses those that the element does not have."""
    for name in element.attrib:
        if name not in allowed:
            raise RefusedXml(f"{element.tag} has no attribute {name}")
    return {**allowed, **element.attrib}


def text(element: Element) -> str:
    """What the element says: words, without other elements."""
    if len(element):
        raise RefusedXml(f"{element.tag} may not hold other elements")
    words = (element.text or "").strip()
    if not words:
        raise RefusedXml(f"{element.tag} is empty")
    return words


def elements(element: Element) -> list[Element]:
    """What the element holds: other elements, without words between them."""
    if any((words or "").strip() for words in (element.text, *(child.tail for child in element))):
        raise RefusedXml(f"{element.tag} holds text that belongs to no element")
    return list(element)


def nothing_in(element: Element) -> None:
    """Refuse an element that is not empty."""
    if elements(element):
        raise RefusedXml(f"{element.tag} may not hold other elements")


def url_of(element: Element, url: str, *, required: bool = False, cause: HangupCause | None = None) -> str:
    """A URL; may be empty unless required."""
    if (required or url) and not url.startswith(("http://", "https://")):
        raise RefusedXml(f"{element.tag} needs a URL that begins with http:// or https://", cause)
    return url


def whole(element: Element, name: str, value: str, lowest: int) -> int:
    """A whole number, `lowest` or more."""
    if not (value.isascii() and value.isdecimal() and int(value) >= lowest):
        raise RefusedXml(f"{element.tag}: {name} must be a whole number, {lowest} or more")
    return int(value)


def one_of(
    element: Element, name: str, value: str, allowed: tuple[str, ...], *, cause: HangupCause | None = None
) -> str:
    """One of a few words."""
    if value not in allowed:
        raise RefusedXml(f"{element.tag}: {name} must be {' or '.join(allowed)}", cause)
    return value


def truth(element: Element, name: str, value: str) -> bool:
    """`true` or `false`."""
    return one_of(element, name, value, ("true", "false")) == "true"


def webhook(element: Element, url: str, method: str, *, required: bool = False, faults: Faults = NO_OWN) -> Webhook:
    """An address of the application, and how to ask there."""
    checked = url_of(element, url, required=required, cause=faults.url)
    try:
        configuration_of(url)
    except ValueError as error:
        raise RefusedXml(f"{element.tag}: {error}", faults.url) from None
    get = one_of(element, "method", method, ("POST", "GET"), cause=faults.method) == "GET"
    return Webhook(checked, "GET" if get else "POST")
