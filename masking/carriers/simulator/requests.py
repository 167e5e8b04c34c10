"""Reading requests to the network's HTTP APIs."""

from __future__ import annotations

import json
import re
from typing import Annotated, TypeVar

from aiohttp import web
from pydantic import AfterValidator, BaseModel, StringConstraints, ValidationError

from masking.carriers.callback_configuration import configuration_of
from masking.carriers.simulator.network import Network

NETWORK = web.AppKey("network", Network)

_NUMBER = re.compile(r"\+[0-9]{6,15}")


def _configured(url: str) -> str:
    configuration_of(url)
    return url


WebhookUrl = Annotated[str, StringConstraints(pattern=r"^(https?://\S+)?$"), AfterValidator(_configured)]
"""An address of the application, perhaps with a callback configuration; empty for none."""

BodyT = TypeVar("BodyT", bound=BaseModel)


class Refused(Exception):
    """A request that cannot be carried out: status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


def e164(number: str) -> str:
    """The number, checked. Raises `Refused` 400."""
    if not _NUMBER.fullmatch(number):
        raise Refused(400, "a number must be in E.164: + and 6 to 15 digits")
    return number


async def body_of(request: web.Request, model: type[BodyT]) -> BodyT:
    """The JSON body, checked. Raises `Refused` 400."""
    try:
        return model.model_validate(json.loads(await request.read() or b"{}"))
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        raise Refused(400, f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}") from None
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not valid JSON") from None
