"""An account at Plivo: what is in it, its numbers and its applications, and pages of them (plivo-wire.md §7.1)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import TypeVar

from masking.carriers.call_details import Details, Id, Page
from masking.carriers.errors import CarrierUnavailable
from masking.carriers.rest import RestApi, read

PAGE = 20
"""As many as Plivo lists at once."""
MOST_PAGES = 2000

DetailsT = TypeVar("DetailsT", bound=Details)

_APPLICATION = re.compile(r"/Application/([A-Za-z0-9-]{1,64})/?$", re.ASCII)


class AccountDetails(Details):
    """An account. `cash_credits` is what is left in it, as Plivo writes it."""

    auth_id: Id
    name: str = ""
    cash_credits: str = ""
    auto_recharge: bool = False
    billing_mode: str = ""


class NumberDetails(Details):
    """A rented number: digits. `application` is where what runs on it is found."""

    number: Id
    application: str = ""


class ApplicationDetails(Details):
    """What runs on numbers."""

    app_id: Id
    app_name: str = ""
    answer_url: str = ""
    answer_method: str = ""
    fallback_answer_url: str = ""
    fallback_method: str = ""
    hangup_url: str = ""
    hangup_method: str = ""


def application_id(uri: str) -> str | None:
    """The id of the application that a resource's URI is of; None for none."""
    found = _APPLICATION.search(uri)
    return found[1] if found is not None else None


async def pages(rest: RestApi, resource: str, model: type[DetailsT]) -> AsyncIterator[DetailsT]:
    """All that the account has of something, page by page.

    Args:
        resource: as its path ends, with a slash at the end.

    Raises:
        CarrierRefused, CarrierUnavailable: see there.
    """
    for page in range(MOST_PAGES):
        query = {"limit": str(PAGE), "offset": str(page * PAGE)}
        objects = read(await rest.look(f"{rest.account_url}{resource}", query), Page[model]).objects  # type: ignore[valid-type]
        for each in objects:
            yield each
        if len(objects) < PAGE:
            return
    raise CarrierUnavailable("the carrier's list does not end")
