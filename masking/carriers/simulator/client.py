"""The simulator from Python: for the demo and for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

import httpx
from pydantic import BaseModel

from masking.carriers.simulator.chaos import ChaosSwitches
from masking.carriers.simulator.phones import Behaviour, PhoneView, State
from masking.carriers.simulator.records import CallRecord
from masking.errors import MaskingError
from masking.tls import trusted

POLL_S = 0.05


class BoundNumber(BaseModel):
    """A number in service, and what runs when it is called."""

    number: str
    answer_url: str
    hangup_url: str


class SimulatorError(MaskingError):
    """The simulator refused, or something did not happen in time; the message says what."""


class SimulatorClient:
    """Phones and calls of a running simulator. Numbers are E.164.

    Args:
        base_url: without a slash at the end.
    """

    def __init__(self, base_url: str, *, timeout: float = 5.0) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, timeout=timeout, trust_env=False, verify=trusted())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def behave(self, number: str, behaviour: Behaviour) -> None:
        """Tell a phone what to do by itself from now on."""
        await self._ask("PUT", f"/v1/phones/{number}", behaviour.model_dump(mode="json"))

    async def phone(self, number: str) -> PhoneView:
        """A phone as a person sees it now."""
        return PhoneView.model_validate(await self._ask("GET", f"/v1/phones/{number}"))

    async def dial(self, number: str, to: str) -> str:
        """Have a phone call a number. Returns the call's id."""
        return str((await self._ask("POST", f"/v1/phones/{number}/dial", {"to": to}))["call_uuid"])

    async def answer(self, number: str) -> None:
        """Pick a ringing phone up."""
        await self._ask("POST", f"/v1/phones/{number}/answer")

    async def hang_up(self, number: str) -> None:
        """End the call that a phone takes part in."""
        await self._ask("POST", f"/v1/phones/{number}/hangup")

    async def reject(self, number: str) -> None:
        """Decline what rings."""
        await self._ask("POST", f"/v1/phones/{number}/reject")

    async def press(self, number: str, digits: str) -> None:
        """Press keys on a phone."""
        await self._ask("POST", f"/v1/phones/{number}/press", {"digits": digits})

    async def make_chaos(self, switches: ChaosSwitches) -> None:
        """Switch faults on, or off with the default switches."""
        await self._ask("PUT", "/v1/chaos", switches.model_dump())

    async def calls(self, limit: int = 20) -> list[CallRecord]:
        """The newest calls."""
        found = await self._ask("GET", f"/v1/calls?limit={limit}")
        return [CallRecord.model_validate(each) for each in found["calls"]]

    async def call(self, call_uuid: str) -> CallRecord:
        """A call, with its transcript."""
        return CallRecord.model_validate(await self._ask("GET", f"/v1/calls/{call_uuid}"))

    async def numbers(self) -> list[BoundNumber]:
        """The numbers in service."""
        found = await self._ask("GET", "/v1/numbers")
        return [BoundNumber.model_validate(each) for each in found["numbers"]]

    async def bind(self, number: str, answer_url: str, hangup_url: str) -> None:
        """Let calls to a number run an application."""
        await self._ask("PUT", f"/v1/numbers/{number}", {"answer_url": answer_url, "hangup_url": hangup_url})

    async def wait_for(self, number: str, state: State, *, timeout: float = 10.0) -> PhoneView:
        """Wait until a phone is in a state.

        Raises:
            SimulatorError: it was not within `timeout` real seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                while (view := await self.phone(number)).state != state:  # noqa: ASYNC110 it is across HTTP
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise SimulatorError(f"a phone was not {state} within {timeout:g} s") from None
        return view

    async def call_once(
        self, call_uuid: str, happened: Callable[[CallRecord], bool], what: str, *, timeout: float = 20.0
    ) -> CallRecord:
        """The call, once something has happened to it.

        Args:
            what: the same in words, for the error: "end", "ring at the other party".

        Raises:
            SimulatorError: it did not within `timeout` real seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                while not happened(record := await self.call(call_uuid)):  # noqa: ASYNC110 it is across HTTP
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise SimulatorError(f"the call did not {what} within {timeout:g} s") from None
        return record

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            response = await self._http.request(method, path, json=body)
            answer: dict[str, Any] = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise SimulatorError(
                f"the simulator does not answer ({type(error).__name__}):"
                " start `masking run`, or set MASKING_SIMULATOR_PORT"
            ) from None
        if response.is_error:
            raise SimulatorError(f"the simulator refused: {answer.get('error', response.status_code)}")
        return answer
