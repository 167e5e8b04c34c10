"""The simulator's process and its HTTP API, described in docs/simulator.md. Loopback only."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from masking.carriers.callback_configuration import ASKED, TOLD
from masking.carriers.simulator import account_api, rest_api
from masking.carriers.simulator.application import ApplicationClient, VoiceApplication
from masking.carriers.simulator.applications import voice_application
from masking.carriers.simulator.chaos import ChaosSwitches
from masking.carriers.simulator.clock import SimulatedClock
from masking.carriers.simulator.network import Network
from masking.carriers.simulator.phones import Behaviour, Digits, WrongState
from masking.carriers.simulator.requests import NETWORK, Refused, WebhookUrl, body_of, e164
from masking.carriers.simulator.rest_answers import told
from masking.errors import StartupError
from masking.lifeline import until_stopped
from masking.ports import Place, listening
from masking.settings import Settings

HOST = "127.0.0.1"

_AUDIO = {"mp3": "audio/mpeg", "wav": "audio/wav"}
_HOOKS = "/carrier/voice"
_NAME = "masking"


class NumberBinding(BaseModel):
    """What runs when a number is called."""

    model_config = ConfigDict(extra="forbid")

    answer_url: WebhookUrl = Field(min_length=1)
    hangup_url: WebhookUrl = ""


class DialOrder(BaseModel):
    """Whom to call, E.164."""

    model_config = ConfigDict(extra="forbid")

    to: str


class Keys(BaseModel):
    """Keys to press."""

    model_config = ConfigDict(extra="forbid")

    digits: Digits


def build_app(network: Network) -> web.Application:
    """The simulator's application."""
    app = web.Application(middlewares=[_errors_as_json], client_max_size=64 * 1024)
    app[NETWORK] = network
    app.add_routes(account_api.routes())
    app.add_routes(rest_api.routes())
    app.add_routes(
        [
            web.get("/healthz", _healthz),
            web.get("/v1/numbers", _numbers),
            web.put("/v1/numbers/{number}", _bind),
            web.get("/v1/phones/{number}", _phone),
            web.put("/v1/phones/{number}", _behave),
            web.post("/v1/phones/{number}/dial", _dial),
            web.post("/v1/phones/{number}/press", _press),
            web.post("/v1/phones/{number}/{action:answer|reject|hangup}", _act),
            web.get("/v1/chaos", _chaos),
            web.put("/v1/chaos", _make_chaos),
            web.get("/v1/calls", _calls),
            web.get("/v1/calls/{call_uuid}", _call),
            web.get("/media/{file}", _media),
        ]
    )
    return app


async def serve(settings: Settings) -> None:
    """Run the network until told to stop.

    Raises:
        StartupError: there is a real carrier, there is no token to sign with, or the port is taken.
    """
    if settings.has_real_carrier:
        raise StartupError(
            "MASKING_CARRIER_API_URL names a carrier that is not on this machine: the simulator does not run beside one"
        )
    if settings.carrier_auth_token is None:
        raise StartupError("MASKING_CARRIER_AUTH_TOKEN is not set: it is what the simulator signs its webhooks with")
    clock = SimulatedClock(settings.simulator_speed)
    async with ApplicationClient(settings.carrier_auth_token.get_secret_value()) as client:
        recordings = settings.data.absolute() / "recordings"
        network = Network(client, clock, recordings, f"{settings.simulator_url}/media")
        await asyncio.to_thread(network.recordings.seal_plain)
        hooks = f"{settings.base_url}{_HOOKS}"
        urls = f"{hooks}/answer{ASKED}", f"{hooks}/hangup{TOLD}", f"{hooks}/fallback{ASKED}"
        application = network.inventory.create(_NAME, voice_application(*urls))
        for number in settings.demo_numbers:
            network.inventory.attach(number, application.app_id)
        runner = web.AppRunner(build_app(network), access_log=None)
        async with listening(runner, Place(HOST, settings.simulator_port, "MASKING_SIMULATOR_PORT")):
            try:
                await until_stopped()
            finally:
                await network.close()


async def _healthz(request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def _numbers(request: web.Request) -> web.Response:
    bound = request.app[NETWORK].inventory.bound()
    return web.json_response({"numbers": [_shown_binding(number, runs) for number, runs in bound]})


async def _bind(request: web.Request) -> web.Response:
    binding = await body_of(request, NumberBinding)
    runs = voice_application(binding.answer_url, binding.hangup_url)
    request.app[NETWORK].inventory.bind(_number(request), runs)
    return web.json_response(_shown_binding(_number(request), runs))


def _shown_binding(number: str, runs: VoiceApplication) -> dict[str, str]:
    return {"number": number, "answer_url": runs.answer.url, "hangup_url": runs.hangup.url}


async def _phone(request: web.Request) -> web.Response:
    return _shown(request.app[NETWORK].phone(_number(request)).view())


async def _behave(request: web.Request) -> web.Response:
    phone = request.app[NETWORK].phone(_number(request))
    phone.behaviour = await body_of(request, Behaviour)
    return _shown(phone.view())


async def _dial(request: web.Request) -> web.Response:
    order = await body_of(request, DialOrder)
    record = request.app[NETWORK].dial(_number(request), e164(order.to))
    return web.json_response({"call_uuid": record.call_uuid}, status=202)


async def _act(request: web.Request) -> web.Response:
    phone = request.app[NETWORK].phone(_number(request))
    {"answer": phone.answer, "reject": phone.reject, "hangup": phone.hang_up}[request.match_info["action"]]()
    return _shown(phone.view())


async def _press(request: web.Request) -> web.Response:
    phone = request.app[NETWORK].phone(_number(request))
    phone.press((await body_of(request, Keys)).digits)
    return _shown(phone.view())


async def _chaos(request: web.Request) -> web.Response:
    return _shown(request.app[NETWORK].chaos)


async def _make_chaos(request: web.Request) -> web.Response:
    request.app[NETWORK].chaos = await body_of(request, ChaosSwitches)
    return _shown(request.app[NETWORK].chaos)


async def _calls(request: web.Request) -> web.Response:
    limit = request.query.get("limit", "20")
    if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit) <= 100):
        raise Refused(400, "limit must be a whole number from 1 to 100")
    newest = itertools.islice(request.app[NETWORK].calls(), int(limit))
    return web.json_response({"calls": [record.model_dump(mode="json") for record in newest]})


async def _call(request: web.Request) -> web.Response:
    record = request.app[NETWORK].call(request.match_info["call_uuid"])
    if record is None:
        raise Refused(404, "there is no such call")
    return _shown(record)


async def _media(request: web.Request) -> web.StreamResponse:
    file = request.match_info["file"]
    audio = await asyncio.to_thread(request.app[NETWORK].recordings.read, file)
    if audio is None:
        raise Refused(404, "there is no such recording")
    return web.Response(body=audio, content_type=_AUDIO[file.rpartition(".")[2]])


def _shown(model: BaseModel) -> web.Response:
    return web.json_response(model.model_dump(mode="json"))


def _number(request: web.Request) -> str:
    return e164(request.match_info["number"])


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as refusal:
        status, sentence = refusal.status, refusal.sentence
    except WrongState as wrong:
        status, sentence = 409, str(wrong)
    except web.HTTPException as error:
        status, sentence = error.status, error.reason
    # Every answer of Plivo's API has an id (https://plivo.com/docs/voice/api/response).
    if request.path.startswith("/v1/Account/"):
        return told(status, error=sentence)
    return web.json_response({"error": sentence}, status=status)
