"""The customer's account, its numbers and its applications as Plivo's REST API has them.

Shapes as its SDKs' tests show them. Nothing is rented or returned here, and nothing of an account is changed.
"""

from __future__ import annotations

import re
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from masking.carriers.simulator.application import VoiceApplication, Webhook
from masking.carriers.simulator.applications import Rented, StoredApplication
from masking.carriers.simulator.call_resources import PAGING, Resource
from masking.carriers.simulator.requests import NETWORK, Refused, WebhookUrl, body_of, e164
from masking.carriers.simulator.rest_answers import authenticate, check_query, listed, told

_ACCOUNT = "/v1/Account/{auth_id}/"
_APPLICATIONS, _NUMBERS = f"{_ACCOUNT}Application/", f"{_ACCOUNT}Number/"
_NAME = r"^[A-Za-z0-9_-]{1,60}$"


class _Asked(BaseModel):
    """The arguments that create and update have in common; those that are left out stay as they are."""

    model_config = ConfigDict(extra="forbid")

    answer_url: WebhookUrl | None = None
    answer_method: Literal["POST", "GET"] = "POST"
    hangup_url: WebhookUrl | None = None
    hangup_method: Literal["POST", "GET"] = "POST"
    fallback_answer_url: WebhookUrl | None = None
    fallback_method: Literal["POST", "GET"] = "POST"
    default_number_app: Literal[False] = False
    default_endpoint_app: Literal[False] = False
    log_incoming_messages: bool = True

    def over(self, before: VoiceApplication | None) -> VoiceApplication:
        """What runs afterwards. Without a hangup URL, the answer URL is told of hangups too."""
        answer = self._chosen(self.answer_url, self.answer_method, before and before.answer)
        hangup = self._chosen(self.hangup_url, self.hangup_method, before and before.hangup)
        fallback = self._chosen(self.fallback_answer_url, self.fallback_method, before and before.fallback)
        return VoiceApplication(answer, hangup if hangup.url else answer, fallback)

    @staticmethod
    def _chosen(url: str | None, method: Literal["POST", "GET"], before: Webhook | None) -> Webhook:
        return Webhook(url, method) if url is not None else before or Webhook("")


class CreateApplication(_Asked):
    """A new application."""

    app_name: str = Field(pattern=_NAME)


class UpdateNumber(BaseModel):
    """What is to run on a number; an empty id for nothing."""

    model_config = ConfigDict(extra="forbid")

    app_id: str | None = None
    alias: str | None = None


def routes() -> list[web.RouteDef]:
    """The API's routes."""
    return [
        web.get(_ACCOUNT, _account),
        web.get(_NUMBERS, _numbers),
        web.get(_NUMBERS + "{number}/", _number),
        web.post(_NUMBERS + "{number}/", _update_number),
        web.get(_APPLICATIONS, _applications),
        web.post(_APPLICATIONS, _create),
        web.get(_APPLICATIONS + "{app_id}/", _application),
        web.post(_APPLICATIONS + "{app_id}/", _update),
    ]


async def _account(request: web.Request) -> web.Response:
    auth_id = authenticate(request)
    check_query(request)
    return told(
        200,
        account_type="standard",
        address="",
        auth_id=auth_id,
        auto_recharge=False,
        billing_mode="prepaid",
        cash_credits=request.app[NETWORK].credit,
        city="",
        name="Simulated",
        resource_uri=f"/v1/Account/{auth_id}/",
        state="",
        timezone="UTC",
    )


async def _numbers(request: web.Request) -> web.Response:
    auth_id = authenticate(request)
    check_query(request, "number_startswith", *PAGING)
    start = request.query.get("number_startswith", "")
    found = request.app[NETWORK].inventory.all_rented()
    return listed(request, [_shown_number(each, auth_id) for each in found if each.number[1:].startswith(start)])


async def _number(request: web.Request) -> web.Response:
    auth_id = authenticate(request)
    return told(200, **_shown_number(_rented(request), auth_id))


async def _update_number(request: web.Request) -> web.Response:
    authenticate(request)
    asked, rented, inventory = await body_of(request, UpdateNumber), _rented(request), request.app[NETWORK].inventory
    if asked.app_id is None and asked.alias is None:
        raise Refused(400, "one of app_id and alias is required")
    if asked.app_id is not None:
        if asked.app_id and asked.app_id not in inventory.applications:
            raise Refused(400, "app_id is no application of this account")
        inventory.attach(rented.number, asked.app_id or None)
    return told(202, message="changed")


async def _applications(request: web.Request) -> web.Response:
    auth_id = authenticate(request)
    check_query(request, "app_name", *PAGING)
    start = request.query.get("app_name", "")
    found = reversed(request.app[NETWORK].inventory.applications.values())
    return listed(request, [_shown(each, auth_id) for each in found if each.name.startswith(start)])


async def _create(request: web.Request) -> web.Response:
    authenticate(request)
    asked, inventory = await body_of(request, CreateApplication), request.app[NETWORK].inventory
    if inventory.named(asked.app_name) is not None:
        raise Refused(400, "an application with this app_name exists")
    return told(201, message="created", app_id=inventory.create(asked.app_name, asked.over(None)).app_id)


async def _application(request: web.Request) -> web.Response:
    auth_id = authenticate(request)
    return told(200, **_shown(_stored(request), auth_id))


async def _update(request: web.Request) -> web.Response:
    authenticate(request)
    asked, stored = await body_of(request, _Asked), _stored(request)
    stored.runs = asked.over(stored.runs)
    return told(202, message="changed")


def _rented(request: web.Request) -> Rented:
    found = request.app[NETWORK].inventory.rented(e164(f"+{request.match_info['number'].removeprefix('+')}"))
    if found is None:
        raise Refused(404, "not found")
    return found


def _stored(request: web.Request) -> StoredApplication:
    found = request.app[NETWORK].inventory.applications.get(request.match_info["app_id"])
    if found is None:
        raise Refused(404, "not found")
    return found


def _shown(stored: StoredApplication, auth_id: str) -> Resource:
    runs = stored.runs
    return {
        "answer_method": runs.answer.method,
        "answer_url": runs.answer.url,
        "app_id": stored.app_id,
        "app_name": stored.name,
        "default_app": False,
        "default_endpoint_app": False,
        "enabled": True,
        "fallback_answer_url": runs.fallback.url or None,
        "fallback_method": runs.fallback.method,
        "hangup_method": runs.hangup.method,
        "hangup_url": runs.hangup.url,
        "message_method": "POST",
        "message_url": None,
        "public_uri": False,
        "resource_uri": f"/v1/Account/{auth_id}/Application/{stored.app_id}/",
        "sip_uri": f"sip:{stored.app_id}@app.simulated.example",
        "sub_account": None,
    }


def _shown_number(rented: Rented, auth_id: str) -> Resource:
    application = f"/v1/Account/{auth_id}/Application/{rented.app_id}/" if rented.app_id else None
    digits = re.sub(r"\D", "", rented.number)
    return {
        "active": True,
        "alias": None,
        "application": application,
        "carrier": "Plivo",
        "number": digits,
        "number_type": "local",
        "resource_uri": f"/v1/Account/{auth_id}/Number/{digits}/",
        "sms_enabled": False,
        "sub_account": None,
        "voice_enabled": True,
    }
