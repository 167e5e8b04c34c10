"""Our application at Plivo and the numbers on which it runs: what is to change, and changing it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Literal, NamedTuple
from urllib.parse import quote, urlsplit

from masking.carriers.callback_configuration import ASKED, TOLD
from masking.carriers.errors import CarrierUnavailable
from masking.carriers.protocol import PATH
from masking.carriers.rest import RestApi
from masking.carriers.voice.account import ApplicationDetails, NumberDetails, application_id, pages
from masking.domain.wire_format import plivo_number

LONGEST_NAME = 60


class Wanted(NamedTuple):
    """Our application as it should be. It is known by its name; everything is asked by POST."""

    name: str
    answer_url: str
    hangup_url: str
    fallback_answer_url: str


class Change(NamedTuple):
    """Something to change.

    Attributes:
        kind: what to do.
        what: of which thing: a setting of the application, or a number (E.164).
        before, after: from what to what; empty for nothing.
    """

    kind: Literal["create", "update", "attach"]
    what: str
    before: str
    after: str


class Plan(NamedTuple):
    """What is to change, so that the application is as it should be and runs on our numbers.

    Attributes:
        app_id: of the application that is there already.
        missing: our numbers that Plivo's account does not have.
    """

    wanted: Wanted
    app_id: str | None
    changes: tuple[Change, ...]
    missing: tuple[str, ...]


def wanted_for(base_url: str, name: str | None = None) -> Wanted:
    """The application of a deployment's gateway.

    Args:
        base_url: where carriers reach the gateway, without a slash at the end.
        name: one that follows from the gateway's host when None, so that two deployments do not take turns.
    """
    host = re.sub(r"[^A-Za-z0-9]+", "-", urlsplit(base_url).netloc).strip("-")
    hooks = f"{base_url}{PATH}"
    urls = f"{hooks}/answer{ASKED}", f"{hooks}/hangup{TOLD}", f"{hooks}/fallback{ASKED}"
    return Wanted(name or f"masking-{host}"[:LONGEST_NAME], *urls)


def planned(
    wanted: Wanted,
    applications: Collection[ApplicationDetails],
    numbers: Collection[NumberDetails],
    pool: Sequence[str],
) -> Plan:
    """What has to change, from what there is.

    Args:
        pool: our numbers, E.164.
    """
    ours = next((each for each in applications if each.app_name == wanted.name), None)
    names = {each.app_id: each.app_name for each in applications}
    changes = []
    for field in ("answer_url", "hangup_url", "fallback_answer_url"):
        before, after = str(getattr(ours, field, "")), getattr(wanted, field)
        method = str(getattr(ours, field.replace("_answer_url", "_method").replace("_url", "_method"), "POST"))
        if ours is None or (before, method) != (after, "POST"):
            told = before if method == "POST" else f"{method} {before}"
            changes.append(Change("create" if ours is None else "update", field, told, after))
    rented = {f"+{plivo_number(each.number)}": application_id(each.application) for each in numbers}
    for number in pool:
        runs = rented.get(number)
        if number in rented and (ours is None or runs != ours.app_id):
            changes.append(Change("attach", number, names.get(runs or "", runs or ""), wanted.name))
    missing = tuple(number for number in pool if number not in rented)
    return Plan(wanted, ours.app_id if ours is not None else None, tuple(changes), missing)


async def plan(rest: RestApi, wanted: Wanted, pool: Sequence[str]) -> Plan:
    """Look at what there is, and say what has to change.

    Raises:
        CarrierRefused, CarrierUnavailable: see there.
    """
    applications = [each async for each in pages(rest, "Application/", ApplicationDetails)]
    numbers = [each async for each in pages(rest, "Number/", NumberDetails)]
    return planned(wanted, applications, numbers, pool)


async def carry_out(rest: RestApi, plan: Plan) -> AsyncIterator[Change]:
    """Change it, and tell each change once it is done. What is left half done, another plan finishes.

    Raises:
        CarrierRefused, CarrierUnavailable, OutcomeUnknown: see there.
    """
    app_id = plan.app_id
    of_application = [change for change in plan.changes if change.kind != "attach"]
    if of_application:
        name, *urls = plan.wanted
        body: dict[str, object] = dict(zip(plan.wanted._fields[1:], urls, strict=True))
        body |= {"answer_method": "POST", "hangup_method": "POST", "fallback_method": "POST"}
        if app_id is None:
            answer = await rest.ask("POST", f"{rest.account_url}Application/", {"app_name": name, **body})
            app_id = _app_id(answer.json())
        else:
            await rest.ask("POST", f"{rest.account_url}Application/{quote(app_id, safe='')}/", body)
        for change in of_application:
            yield change
    for change in plan.changes:
        if change.kind == "attach":
            await rest.ask("POST", f"{rest.account_url}Number/{plivo_number(change.what)}/", {"app_id": app_id})
            yield change


def _app_id(answer: object) -> str:
    app_id = answer.get("app_id") if isinstance(answer, dict) else None
    if not isinstance(app_id, str) or not app_id:
        raise CarrierUnavailable("the carrier made the application without naming it: run this again")
    return app_id
