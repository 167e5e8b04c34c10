"""What a session costs Temporal: `python -m benchmarks.cost`.

On a real Temporal server with a database file and a real PostgreSQL of its own, with our worker as a process.

First one session with one answered, recorded call and its callbacks, told webhook by webhook, which expires by its
timer: the events of its history, its bytes, and its Actions on Temporal Cloud (`benchmarks/price.py` has the rules).
Its times are short ones in the order of those in life: the recording comes before it is given up, and the wait for
it would end before the session does.

Then whole lifecycles per second, many at once: opened by update-with-start, told of the same call in the same way,
expired by an update, settled, every callback delivered. In turns with a bare workflow on the same server that is
started the same way, gets the very same signals, keeps a timer, answers the same update and completes. Prints both,
their ratio, and what the processes computed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from temporalio.client import Client, WithStartWorkflowOperation, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy

from benchmarks.bare import TASK_QUEUE, BareSession, Heard
from benchmarks.price import LIMIT_ACTIONS, LIMIT_EVENTS, Price, price
from benchmarks.processor_time import processor_seconds
from benchmarks.real_system import Endpoint, RealSystem, bare_worker, our_worker, real_system
from benchmarks.system import KEYRING
from benchmarks.told_call import CALLBACKS, request, webhooks
from masking.client import MaskingClient
from masking.contract import UPDATE_EXPIRE, UPDATE_OPENED, session_workflow_id, signal_of
from masking.domain.terms import Expire, SessionRequest
from masking.privacy.party_hash import party_hash
from masking.process import end

LIMIT_RATIO = 0.6
NUMBERS = [(f"+120255502{n:02}", "US") for n in range(50)]
APART_S = 0.15
ROUNDS = 4
AT_ONCE = 32
SETTLE_WITHIN_S = 120.0
PATIENCE = timedelta(seconds=60)


class OneSession(NamedTuple):
    """What one session left behind: its history's price, and its size in bytes as the server counts."""

    price: Price
    size: int


class Rate(NamedTuple):
    """Whole lifecycles, the seconds they took, and the processor's seconds by process."""

    lifecycles: int
    seconds: float
    computed: dict[str, float]

    @property
    def per_second(self) -> float:
        """How many in a second."""
        return self.lifecycles / self.seconds

    @property
    def computed_ms(self) -> dict[str, float]:
        """Milliseconds of processor time for one, by process and in all."""
        each = {name: 1000 * seconds / self.lifecycles for name, seconds in self.computed.items()}
        return {**each, "all": sum(each.values())}

    @classmethod
    def of(cls, rounds: Sequence[Rate]) -> Rate:
        """Of several rounds together."""
        computed = {name: sum(each.computed[name] for each in rounds) for name in rounds[0].computed}
        return cls(sum(each.lifecycles for each in rounds), sum(each.seconds for each in rounds), computed)


async def one_session(client: Client, sessions: MaskingClient, asked: SessionRequest) -> OneSession:
    """Play a session to its end by its own timer."""
    handle = client.get_workflow_handle(session_workflow_id(asked.session_uuid))
    await sessions.start(asked)
    await tell_of_a_call(handle, asked)
    await asyncio.wait_for(sessions.final_bill(asked.session_uuid), SETTLE_WITHIN_S)
    described = await handle.describe()
    size = described.raw_description.workflow_execution_info.history_size_bytes
    return OneSession(price(await handle.fetch_history()), size)


async def tell_of_a_call(handle: WorkflowHandle[Any, Any], asked: SessionRequest) -> None:
    """Signal what the webhooks of a call tell, one webhook some time after the other."""
    for webhook in webhooks(asked):
        await asyncio.sleep(APART_S)
        await handle.signal(*signal_of(webhook))


async def our_lifecycle(client: Client, sessions: MaskingClient, asked: SessionRequest) -> None:
    """A session from its creation to its bill."""
    await sessions.start(asked)
    handle = client.get_workflow_handle(session_workflow_id(asked.session_uuid))
    await tell_of_a_call(handle, asked)
    await sessions.expire(asked.session_uuid)
    await sessions.final_bill(asked.session_uuid)


async def bare_lifecycle(client: Client, asked: SessionRequest) -> None:
    """The same requests to a bare workflow."""
    handle = client.get_workflow_handle(f"bare-{asked.session_uuid}", result_type=Heard)
    start: WithStartWorkflowOperation[BareSession, Heard] = WithStartWorkflowOperation(
        BareSession.run,
        asked,
        id=handle.id,
        task_queue=TASK_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )
    await client.execute_update_with_start_workflow(
        UPDATE_OPENED, start_workflow_operation=start, id=f"{UPDATE_OPENED}-{asked.session_uuid}", result_type=Heard
    )
    await tell_of_a_call(handle, asked)
    await handle.execute_update(UPDATE_EXPIRE, Expire(), result_type=Heard)
    await handle.result()


async def timed(
    requests: Iterable[SessionRequest],
    live: Callable[[SessionRequest], Awaitable[None]],
    done: Callable[[], None],
    processes: Mapping[str, int],
    endpoint: Endpoint | None = None,
) -> Rate:
    """Play lifecycles, some at once; where they have an endpoint, until it has every callback."""
    waiting, before = iter(requests), processor_seconds(processes)
    lifecycles, began = 0, time.monotonic()
    taken = endpoint.taken if endpoint is not None else 0

    async def play_some() -> None:
        nonlocal lifecycles
        for asked in waiting:
            await live(asked)
            lifecycles += 1
            done()

    await asyncio.gather(*(play_some() for _ in range(AT_ONCE)))
    if endpoint is not None:
        await asyncio.wait_for(endpoint.has_taken(taken + lifecycles * CALLBACKS), SETTLE_WITHIN_S)
    seconds, after = time.monotonic() - began, processor_seconds(processes)
    return Rate(lifecycles, seconds, {name: after[name] - before[name] for name in after})


class Rates(NamedTuple):
    """Ours and the bare workflow's, round by round."""

    ours: list[Rate]
    bare: list[Rate]

    @property
    def ratio(self) -> float:
        """Ours to the bare one, over all rounds."""
        return Rate.of(self.ours).per_second / Rate.of(self.bare).per_second


async def lifecycles(system: RealSystem, ours: int, bare: int, count: int, console: Console) -> Rates:
    """So many of ours and as many bare ones, in turns, with these processes as workers."""
    sessions = MaskingClient(system.client, timeout=PATIENCE, party_hash=party_hash(KEYRING))
    numbered = itertools.count(1)

    def some(how_many: int) -> list[SessionRequest]:
        return [request(next(numbered), system.endpoint.url) for _ in range(how_many)]

    rates = Rates([], [])
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Whole lifecycles", total=2 * count)
        for round_ in range(-1, ROUNDS):
            # The first round only warms up.
            each = AT_ONCE if round_ < 0 else max(count // ROUNDS, 1)
            done = (lambda: None) if round_ < 0 else (lambda: progress.advance(task))
            rate = await timed(
                some(each),
                lambda asked: our_lifecycle(system.client, sessions, asked),
                done,
                {**system.servers, "worker": ours},
                system.endpoint,
            )
            bare_rate = await timed(
                some(each),
                lambda asked: bare_lifecycle(system.client, asked),
                done,
                {**system.servers, "worker": bare},
            )
            if round_ >= 0:
                rates.ours.append(rate)
                rates.bare.append(bare_rate)
    return rates


def show(one: OneSession, rates: Rates, console: Console) -> None:
    """For people."""
    for title, counted, limit in (
        ("history events", one.price.events, LIMIT_EVENTS),
        ("Actions", one.price.actions, LIMIT_ACTIONS),
    ):
        table = Table(title, "count", title=f"one session, one recorded call, {CALLBACKS} callbacks")
        for name, count in counted.items():
            table.add_row(name.lower().replace("_", " "), str(count))
        table.add_section()
        table.add_row(f"all, at most {limit}", str(sum(counted.values())))
        console.print(table)
    console.print(f"{one.size} bytes of history")
    table = Table("whole lifecycles", "per second", "rounds", title=f"{AT_ONCE} at once")
    for name, rounds in (("MaskingSession", rates.ours), ("bare workflow", rates.bare)):
        told = ", ".join(f"{each.per_second:.1f}" for each in rounds)
        table.add_row(name, f"{Rate.of(rounds).per_second:.1f}", told)
    console.print(table)
    for name, rounds in (("MaskingSession", rates.ours), ("bare workflow", rates.bare)):
        told = ", ".join(f"{process} {ms:.0f}" for process, ms in Rate.of(rounds).computed_ms.items())
        console.print(f"processor ms each, {name}: {told}")
    console.print(f"ratio {rates.ratio:.2f}, at least {LIMIT_RATIO}")


async def main(count: int, *, as_json: bool) -> int:
    """Run all of it. 0 when the limits hold, else 1."""
    console = Console(stderr=as_json)
    with tempfile.TemporaryDirectory() as folder:
        async with (
            real_system(Path(folder), NUMBERS) as system,
            our_worker(system) as ours,
            bare_worker(system) as bare,
        ):
            asked = request(0, system.endpoint.url, session_expiry=8, recording_wait=3)
            one = await one_session(
                system.client, MaskingClient(system.client, timeout=PATIENCE, party_hash=party_hash(KEYRING)), asked
            )
            await asyncio.wait_for(system.endpoint.has_taken(CALLBACKS), SETTLE_WITHIN_S)
            rates = await lifecycles(system, ours, bare, count, console)
    ok = one.price.ok and rates.ratio >= LIMIT_RATIO
    if as_json:
        told = {name: [each.per_second for each in rounds] for name, rounds in rates._asdict().items()}
        per_second = {f"{name}_per_second": Rate.of(rounds).per_second for name, rounds in rates._asdict().items()}
        print(
            json.dumps(
                {
                    "ok": ok,
                    "events": one.price.events,
                    "actions": one.price.actions,
                    "history_bytes": one.size,
                    "callbacks": CALLBACKS,
                    "at_once": AT_ONCE,
                    **per_second,
                    **{f"{name}_processor_ms": Rate.of(rounds).computed_ms for name, rounds in rates._asdict().items()},
                    "rounds": told,
                    "ratio": rates.ratio,
                }
            )
        )
    else:
        show(one, rates, console)
        console.print(f"within the limits: {'yes' if ok else 'NO'}")
    return 0 if ok else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lifecycles", type=int, default=400, help="whole lifecycles of each kind (default 400)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    end(asyncio.run(main(given.lifecycles, as_json=given.json)))
