"""Records golden histories: `python -m tests.histories.record`.

Run it when a new kind of session deserves one, or the rules of sessions have a new revision.
Existing files are never changed: they stand for sessions that are running somewhere with the
code of their day. A file is named after its scene and, from the second on, the revision.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from temporalio.testing import TimeSkipper
from temporalio.worker import Worker

from masking.carriers.missed import Missed
from masking.client import MaskingClient, NumberPoolExhausted, OutcomeUnknown, SessionAlreadyExpired
from masking.contract import QUERY_SNAPSHOT, TASK_QUEUE, UPDATE_RECORD_AGAIN, WORKFLOW_TYPE, session_workflow_id
from masking.domain.events import AnyCarrierEvent, Hangup, RecordingCompleted, Side
from masking.domain.resuming import resumed, start_of_resumed
from masking.domain.session import REVISION, Session
from masking.domain.snapshot import SessionSnapshot
from masking.domain.terms import AtExpiry, Carrier, Change, PinTerms
from masking.lookup import told_at_start
from tests.carriers.plivo.truth import Talk
from tests.domain.conversation import (
    SECOND,
    STRANGER,
    answered_call,
    call,
    declined_call,
    moved_to,
    request,
    unanswered_call,
    unheard_call,
    wrong_pin_of,
)
from tests.histories import KEYRING
from tests.servers import temporal_server
from tests.workflow.at_plivo import AtPlivo
from tests.workflow.conftest import Remembered
from workflows.masking_session import MaskingSession

FOLDER = Path(__file__).parent


class Scene:
    """A session being played for the record."""

    def __init__(self, environment: TimeSkipper, remembered: Remembered, name: str) -> None:
        self.environment, self.remembered = environment, remembered
        self.at_plivo = AtPlivo(remembered)
        self.uuid = str(uuid5(NAMESPACE_URL, name))
        self.sessions = MaskingClient(environment.client)
        self.handle = environment.client.get_workflow_handle(session_workflow_id(self.uuid))
        self.lost = ""

    async def open(
        self,
        *,
        at_expiry: AtExpiry = "finish",
        session_expiry: int = 3600,
        carrier: Carrier = "voice",
        **terms: object,
    ) -> None:
        base = request(session_expiry=session_expiry)
        asked = base.model_copy(
            update={
                "session_uuid": self.uuid,
                "at_expiry": at_expiry,
                "carrier": carrier,
                "terms": base.terms.model_copy(update=terms),
            }
        )
        with self.environment.with_time_skipping_disabled():
            await self.sessions.start(asked)

    async def first_run(self) -> str:
        """The id of the session's first run."""
        described = await self.handle.describe()
        return described.raw_description.workflow_execution_info.first_run_id

    async def resume(self, session: Session) -> None:
        """Have a session whose workflow was lost go on from this state of it."""
        self.lost = await self.first_run()
        started = datetime.now(UTC)
        self.remembered.sessions[self.uuid] = session = resumed(session, started)
        with self.environment.with_time_skipping_disabled():
            await self.environment.client.start_workflow(
                WORKFLOW_TYPE,
                start_of_resumed(session, self.lost),
                id=session_workflow_id(self.uuid),
                task_queue=TASK_QUEUE,
                search_attributes=told_at_start(request(), session.created_at),
            )

    async def hear(self, events: list[AnyCarrierEvent]) -> None:
        now = await self.handle.query(QUERY_SNAPSHOT, result_type=SessionSnapshot)
        for event in moved_to(events, now.created_at):
            await self.handle.signal(event.kind, event)
            await asyncio.sleep(0.02)

    async def wait(self, seconds: int) -> None:
        await self.environment.fast_forward(self.handle, timedelta(seconds=seconds))


async def quiet(scene: Scene) -> None:
    """Nobody calls; the session expires by itself."""
    await scene.open()
    await scene.wait(3700)


async def answered(scene: Scene) -> None:
    """One answered, recorded call; extended once, then expired by request."""
    await scene.open()
    await scene.hear(answered_call(call("golden")))
    await scene.sessions.extend(scene.uuid, 1800)
    await scene.sessions.modify(scene.uuid, Change(record=False))
    await scene.sessions.expire(scene.uuid)


async def disturbed(scene: Scene) -> None:
    """A call nobody picks up, events backwards and twice, a recording that never comes, a dead endpoint."""
    scene.remembered.endpoint_down = True
    await scene.open()
    events = [e for e in answered_call(call("golden")) if "completed" not in e.event_id]
    await scene.hear([*reversed(events), *events])
    await scene.hear(unanswered_call(call("silver", recorded=False)))
    await scene.wait(9000)


async def unheard(scene: Scene) -> None:
    """A caller leaves while it hears its audio, before anybody is dialled; twice, of which one half is never told."""
    await scene.open()
    await scene.hear(unheard_call(call("golden", recorded=False)))
    answer, _, left = unheard_call(call("silver", recorded=False), begins=30)
    await scene.hear([answer, left])
    await scene.wait(200)
    await scene.sessions.expire(scene.uuid)


async def draining(scene: Scene) -> None:
    """Expires in the middle of a call; events are on their way when it wants to settle."""
    scene.remembered.unreported = [2, 1]
    await scene.open()
    events = answered_call(call("golden"))
    await scene.hear(events[:3])
    await scene.sessions.expire(scene.uuid)
    await scene.hear(events[3:])
    await scene.wait(600)


async def warned(scene: Scene) -> None:
    """The first party is called at once; the conversation is warned and ended when the session expires."""
    await scene.open(at_expiry="warn", initiate_call_to_first_party=True)
    events = answered_call(call("placed", Side.FIRST))
    await scene.hear(events[:3])
    await scene.sessions.expire(scene.uuid)
    await scene.wait(60)
    await scene.hear(events[3:])
    await scene.wait(600)


async def joined(scene: Scene) -> None:
    """A single party: a wrong PIN, a caller refused, the other party named later, a call."""
    pin = PinTerms(second_party="4711", prompt_play="https://customer.example/pin.mp3")
    await scene.open(second_party="", single_party=True, pin=pin)
    await scene.hear([wrong_pin_of("guess"), declined_call("late")])
    await scene.sessions.modify(scene.uuid, Change(second_party=SECOND))
    await scene.hear(answered_call(call("golden", Side.FIRST)))
    await scene.sessions.expire(scene.uuid)


async def silent(scene: Scene) -> None:
    """The carrier does not tell how a call ended, and is asked for it."""
    events = answered_call(call("golden"))
    ends = tuple(event for event in events if isinstance(event, Hangup))
    recordings = tuple(event for event in events if isinstance(event, RecordingCompleted))
    scene.remembered.missed = Missed(hangups=ends, recordings=recordings)
    await scene.open(session_expiry=86_400)
    await scene.hear([event for event in events if event not in (*ends, *recordings)])
    await scene.wait(7200)
    await scene.sessions.expire(scene.uuid)


async def belied(scene: Scene) -> None:
    """A leg is taken to have ended, and then its end is told after all."""
    await scene.open()
    events = answered_call(call("golden", recorded=False))
    await scene.hear([event for event in events if event.event_id != "golden:callee:hangup"])
    await scene.wait(200)
    await scene.hear(events)
    await scene.sessions.expire(scene.uuid)


async def early(scene: Scene) -> None:
    """Its parties have called before it is known to be open."""
    scene.remembered.opening = asyncio.Event()
    opening = asyncio.create_task(scene.open())
    await scene.remembered.opening.wait()
    for event in moved_to(answered_call(call("golden")), datetime.now(UTC)):
        await scene.handle.signal(event.kind, event)
    try:
        await opening
    except OutcomeUnknown:
        # It takes longer than anybody waits.
        await asyncio.sleep(8)
    await scene.sessions.expire(scene.uuid)


async def extended(scene: Scene) -> None:
    """Goes on by itself while a call does, and ends with it."""
    await scene.open(at_expiry="extend", session_expiry=60)
    events = answered_call(call("golden", recorded=False), talks=400)
    await scene.hear(events[:3])
    await scene.wait(400)
    await scene.hear(events[3:])


async def long(scene: Scene) -> None:
    """So many calls that the session goes on in a new run of its workflow."""
    await scene.open(session_expiry=86_400)
    for n in range(25):
        await scene.hear(answered_call(call(f"golden-{n}", recorded=False)))
    await scene.sessions.expire(scene.uuid)


async def plivo(scene: Scene) -> None:
    """Plivo masks: two calls, of which the callbacks tell a part; changed, expired, put right by its record."""
    await scene.open(carrier="plivo")
    told = scene.at_plivo.events(Talk(10, recorded=True), Talk(300, talks=30))
    for event in [each for each in told if each.kind not in ("ring", "recording_completed")][:-1]:
        await scene.handle.signal(event.kind, event)
        await asyncio.sleep(0.02)
    await scene.sessions.extend(scene.uuid, 1800)
    await scene.sessions.modify(scene.uuid, Change(record=False))
    await scene.sessions.expire(scene.uuid)
    await scene.wait(7200)


async def plivo_quiet(scene: Scene) -> None:
    """Plivo masks: nobody calls, and the session expires by itself, later than it was to: it was extended there."""
    await scene.open(carrier="plivo")
    scene.at_plivo.truth.lives = 5000
    await scene.wait(7200)


async def plivo_unanswered(scene: Scene) -> None:
    """Plivo calls the first party, which does not take it; then somebody calls with a PIN."""
    pin = PinTerms(first_party="1234", second_party="4711", prompt_play="https://customer.example/pin.mp3")
    await scene.open(carrier="plivo", initiate_call_to_first_party=True, pin=pin)
    for talk in (
        Talk(5, rings=30, talks=0, caller=Side.FIRST, dialled=False),
        Talk(60, talks=30, number=STRANGER, pins=("failed", "success")),
    ):
        for event in scene.at_plivo.events(talk):
            await scene.handle.signal(event.kind, event)
            await asyncio.sleep(0.02)
    await scene.sessions.expire(scene.uuid)
    await scene.wait(7200)


async def plivo_unheard(scene: Scene) -> None:
    """Plivo masks: the session ends while a call goes on of which nothing was told, and is asked to end once more."""
    await scene.open(carrier="plivo")
    scene.at_plivo.truth.talks = [Talk(10, talks=3000)]
    scene.at_plivo.until = 60
    with scene.environment.with_time_skipping_disabled():
        await scene.sessions.expire(scene.uuid)
        async with asyncio.timeout(60):
            while "SessionFirstPartyAnswer" not in scene.remembered.names:  # noqa: ASYNC110 the names are a plain list
                await asyncio.sleep(0.05)
        with suppress(SessionAlreadyExpired):
            await scene.sessions.expire(scene.uuid)
    scene.at_plivo.until = math.inf
    await scene.wait(7200)


async def held_up(scene: Scene) -> None:
    """So long that it would go on in a new run, which a carrier that does not answer holds up."""
    scene.remembered.thinks = asyncio.Event()
    await scene.open(session_expiry=86_400)
    await scene.hear([event for event in unheard_call(call("silent", recorded=False)) if event.kind != "hangup"])
    (left,) = (event for event in unheard_call(call("silent", recorded=False))[2:])
    await scene.hear([left])
    await scene.wait(120)
    async with asyncio.timeout(60):
        while not scene.remembered.orders:  # noqa: ASYNC110 the orders are a plain list
            await asyncio.sleep(0.05)
    for n in range(12):
        await scene.hear(answered_call(call(f"golden-{n}", recorded=False)))
    await asyncio.sleep(0.5)
    scene.remembered.thinks.set()
    for n in range(12, 15):
        await scene.hear(answered_call(call(f"golden-{n}", recorded=False)))
    await scene.sessions.expire(scene.uuid)


async def refused(scene: Scene) -> None:
    """No number is free."""
    scene.remembered.number = None
    try:
        await scene.open()
    except NumberPoolExhausted:
        return


async def looked_up(scene: Scene) -> None:
    """Whoever started it could not hash its parties: they are told to lists once it is open."""
    scene.remembered.parties = ("hash-of-the-first", "hash-of-the-second")
    await scene.open()
    await scene.hear(answered_call(call("golden")))
    await scene.wait(3700)


async def cancelled(scene: Scene) -> None:
    """An operator cancels the workflow in the middle of a call, which goes on."""
    await scene.open()
    events = answered_call(call("golden"))
    await scene.hear(events[:3])
    await scene.handle.cancel(reason="by the button")
    await scene.hear(events[3:])
    await scene.wait(600)


async def resumed_(scene: Scene) -> None:
    """Terminated in the middle of a call, before all that it heard was written down; and resumed."""
    await scene.open()
    events = moved_to(answered_call(call("golden")), scene.remembered.sessions[scene.uuid].created_at)
    for event in events[:3]:
        await scene.handle.signal(event.kind, event)
    async with asyncio.timeout(10):
        while scene.remembered.sessions[scene.uuid].version < 4:  # noqa: ASYNC110 the worker writes it
            await asyncio.sleep(0.02)
    written = scene.remembered.sessions[scene.uuid]
    await scene.handle.signal(events[3].kind, events[3])
    await asyncio.sleep(0.2)
    await scene.handle.terminate("by the button")
    await scene.resume(written)
    for event in events[3:]:
        await scene.handle.signal(event.kind, event)
    await scene.sessions.expire(scene.uuid)


async def restored(scene: Scene) -> None:
    """Asked to write itself down again, in the middle of a call and while it waits for the end of that call."""
    await scene.open()
    events = answered_call(call("golden"))
    await scene.hear(events[:3])
    await scene.handle.execute_update(UPDATE_RECORD_AGAIN, result_type=SessionSnapshot)
    await scene.sessions.expire(scene.uuid)
    await scene.handle.execute_update(UPDATE_RECORD_AGAIN, result_type=SessionSnapshot)
    await scene.hear(events[3:])


SCENES: tuple[Callable[[Scene], Awaitable[None]], ...] = (
    quiet,
    answered,
    looked_up,
    disturbed,
    unheard,
    draining,
    warned,
    joined,
    silent,
    belied,
    early,
    extended,
    long,
    plivo,
    plivo_quiet,
    plivo_unanswered,
    plivo_unheard,
    held_up,
    refused,
    cancelled,
    resumed_,
    restored,
)


CONTINUES_AFTER = 250
"""Events of history after which the server that records suggests to continue as new."""


def name_of(scene: Callable[[Scene], Awaitable[None]]) -> str:
    """The name of a scene's recording by today's rules, without its ending."""
    return f"{scene.__name__.rstrip('_')}-r{REVISION}"


def missing() -> list[Callable[[Scene], Awaitable[None]]]:
    """The scenes that have no recording by today's rules yet."""
    return [scene for scene in SCENES if not (FOLDER / f"{name_of(scene)}.json").exists()]


async def write(name: str, scene: Scene) -> None:
    """Keep a recording: each run of the workflow in a file of its own."""
    client, workflow_id = scene.environment.client, session_workflow_id(scene.uuid)
    run_id, number = scene.lost or await scene.first_run(), 1
    while run_id:
        history = await client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()
        (FOLDER / f"{name}{f'-run{number}' if number > 1 else ''}.json").write_text(history.to_json())
        continued = history.events[-1].workflow_execution_continued_as_new_event_attributes
        following = await scene.first_run() if run_id == scene.lost else continued.new_execution_run_id
        run_id, number = following, number + 1


async def main() -> None:
    """Play every scene that has no recording yet."""
    async with temporal_server(KEYRING, continue_after=CONTINUES_AFTER) as client:
        environment = TimeSkipper(client)
        for play in missing():
            remembered = Remembered()
            scene = Scene(environment, remembered, play.__name__)
            async with Worker(
                environment.client,
                task_queue=TASK_QUEUE,
                workflows=[MaskingSession],
                activities=[*remembered.activities(), *scene.at_plivo.activities()],
            ):
                await play(scene)
                await scene.handle.result()
                await write(name_of(play), scene)
    # Temporal's core may abort an interpreter that ends at once (sdk-python #300).
    await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main())
