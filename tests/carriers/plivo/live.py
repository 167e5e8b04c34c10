"""The stub of Plivo in its own time: calls last, sessions end, and what happens is told as it happens, as Plivo tells.

Nothing is made up about its faults: a callback that is not taken is sent once more or lost (plivo-wire.md §5.11).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import httpx
from aiohttp import web

from masking.carriers.signature import signed_headers
from masking.ports import serving
from tests.carriers.plivo.stub import Made, PlivoStub
from tests.carriers.plivo.truth import RECORDED_AFTER, Talk

Fate = Literal["taken", "unknown", "lost"]

WEBHOOK_TIMEOUT = httpx.Timeout(40, connect=2)
TRIES, AGAIN_AFTER_S = 2, (0.0, 2.0)
"""Tried once more where nobody could be reached, or did not answer in time."""

LONGEST_ANSWER_S = 1.0
"""It takes up to so long to answer what it has done already."""

UNTIL_HUNG_UP = 3600
LOOK_EVERY_S = 0.1
CLOCKS_APART_S = 0.01


@dataclass
class LivePlivo(PlivoStub):
    """Plivo.

    Attributes:
        told: its callbacks, each with what became of it.
        unheard: the requests that it carried out and whose asker was gone before the answer, by what they were.
        holds: set while it has not answered yet what it has carried out.
        carries: set while it carries a call.
    """

    faulty: float = 0.0
    refusing: float = 0.0
    told: list[tuple[Made, dict[str, str], Fate]] = field(default_factory=list)
    unheard: Counter[str] = field(default_factory=Counter)
    holds: asyncio.Event = field(default_factory=asyncio.Event)
    carries: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._http = httpx.AsyncClient(
            timeout=WEBHOOK_TIMEOUT, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
        )
        self._ending: set[asyncio.Task[None]] = set()
        self._telling: set[asyncio.Task[None]] = set()
        self._sequence: Counter[str] = Counter()
        self._held = self._carried = 0

    @asynccontextmanager
    async def serving(self, port: int) -> AsyncIterator[None]:
        """Serve its API; whatever it is about to do ends with the context."""
        async with serving(web.AppRunner(self.app(), access_log=None, shutdown_timeout=0.1), port), self._http:
            try:
                yield
            finally:
                tasks = self._ending | self._telling
                for task in tasks:
                    task.cancel()
                failed = await asyncio.gather(*tasks, return_exceptions=True)
        for error in failed:
            if isinstance(error, Exception):
                raise error

    def app(self) -> web.Application:
        app = super().app()
        app.middlewares.append(self._answer_late)
        return app

    def now(self) -> datetime:
        return datetime.now(UTC).replace(microsecond=0)

    def age(self, made: Made) -> float:
        """Seconds since it was made."""
        return (datetime.now(UTC) - made.truth.start).total_seconds()

    def told_until(self, made: Made) -> float:
        return self.age(made)

    def end(self, made: Made) -> None:
        if not made.ended:
            made.ended = made.truth.expired = True
            made.truth.lives = min(made.truth.lives, int(self.age(made)))
            self._tell(made, made.truth.timeout())

    async def call(self, made: Made, talk: Talk, hung_up: asyncio.Event | None = None) -> int:
        """Carry a call as soon as one may begin, until its end was told. Its number, counted from 1.

        Args:
            talk: when it begins is not looked at.
            hung_up: ends it; None where it lasts as long as it says.
        """
        last = made.truth.talks[-1].ends if made.truth.talks else 0
        talk.begins = max(int(self.age(made)), last) + 1
        if hung_up is not None:
            talk.talks = UNTIL_HUNG_UP
        made.truth.talks.append(talk)
        number = len(made.truth.talks)
        self._carried += 1
        self.carries.set()
        telling = list[asyncio.Task[None]]()
        while self.age(made) < talk.ends:
            telling += self._tell_new(made, number, len(telling))
            await asyncio.sleep(LOOK_EVERY_S)
            if hung_up is not None and hung_up.is_set() and talk.talks == UNTIL_HUNG_UP:
                talk.talks = max(1, int(self.age(made)) + 1 - talk.begins - talk.rings)
        self._carried -= 1
        if not self._carried:
            self.carries.clear()
        telling += self._tell_new(made, number, len(telling))
        if talk.recorded and talk.talks:
            self._begin(self._tell_of_recording(made, number, len(telling)), self._telling)
        await asyncio.gather(*telling)
        return number

    async def finished(self) -> None:
        """Wait until all that it has to tell was told, or given up."""
        while self._telling:
            await asyncio.wait(self._telling)

    async def _create(self, request: web.Request) -> tuple[int, dict[str, Any]]:
        status, answer = await super()._create(request)
        self._begin(self._end_in_time(self.sessions[answer["session_uuid"]]), self._ending)
        return status, answer

    async def _end_in_time(self, made: Made) -> None:
        while not made.ended:
            if self.age(made) >= made.truth.lives:
                self.end(made)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _tell_of_recording(self, made: Made, number: int, known: int) -> None:
        is_there = made.truth.talks[number - 1].ends + RECORDED_AFTER
        await asyncio.sleep(is_there + CLOCKS_APART_S - self.age(made))
        await asyncio.gather(*self._tell_new(made, number, known))

    def _tell_new(self, made: Made, number: int, known: int) -> list[asyncio.Task[None]]:
        """Tell of a call what has happened by now; the first `known` facts were told."""
        now = made.truth.at(int(self.age(made)))
        facts = sorted(made.truth.told_of(number), key=lambda each: each["EventTimestamp"])
        return [self._tell(made, each) for each in facts[known:] if each["EventTimestamp"] <= now]

    def _tell(self, made: Made, fields: dict[str, str]) -> asyncio.Task[None]:
        self._sequence[made.uuid] += 1
        about = {"SessionUUID": made.uuid, "VirtualNumber": made.number}
        sent = fields | about | {"SequenceNumber": str(self._sequence[made.uuid])}
        return self._begin(self._post(made, sent), self._telling)

    async def _post(self, made: Made, fields: dict[str, str]) -> None:
        url = str(made.arguments["callback_url"])
        fate: Fate = "lost"
        for tried in range(1, TRIES + 1):
            try:
                headers = signed_headers("POST", url, fields, [self.token])
                answer = await self._http.post(url, data=fields, headers=headers)
                fate = "taken" if answer.status_code == 200 else fate
                break
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadTimeout) as error:
                fate = "unknown" if isinstance(error, httpx.ReadTimeout) else fate
                await asyncio.sleep(self.random.uniform(*AGAIN_AFTER_S) if tried < TRIES else 0)
            except httpx.TransportError:
                fate = "unknown"
                break
        self.told.append((made, fields, fate))

    def _begin(self, doing: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]) -> asyncio.Task[None]:
        task = asyncio.create_task(doing)
        among.add(task)
        task.add_done_callback(among.discard)
        return task

    @web.middleware
    async def _answer_late(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """What is done is answered after a while, in which whoever asked may die."""
        answer: web.StreamResponse = await handler(request)
        if request.method != "GET":
            self._held += 1
            self.holds.set()
            await asyncio.sleep(self.random.uniform(0.1, LONGEST_ANSWER_S))
            self._held -= 1
            if not self._held:
                self.holds.clear()
            if request.transport is None or request.transport.is_closing():
                self.unheard[_what(request)] += 1
        return answer


def _what(request: web.Request) -> str:
    if request.method == "DELETE":
        return "expires"
    return "updates" if "uuid" in request.match_info else "creates"
