"""Kills parts of a whole system while sessions run, and compares with the same plan undisturbed.

`python -m tests.processes.killed --sessions 200 --kills 40`; with `--carrier plivo` for sessions that Plivo masks;
`make chaos`. The seed decides what the customers and the phones do and what is killed when; the same seed does it
again.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
from aiohttp import web

from masking.carriers.simulator.client import SimulatorClient
from masking.ports import serving
from masking.privacy.key_files import load_keyring
from masking.process import end
from masking.settings import Settings
from tests.integration.conftest import free_port
from tests.processes.disk_search import dump, readable
from tests.processes.killed_plan import Carrier, Kill, Plan, plan
from tests.processes.killed_plivo import masking_plivo
from tests.processes.killed_system import Parts, counts, sessions_of, system
from tests.processes.killed_telephones import Telephones
from tests.processes.killed_truth import Ran, differences, faults
from tests.processes.killed_world import Lived, World

SETTLED_WITHIN_S = 600.0
"""A dead sender's claim ends after 90 s; a call of which nothing was told is given up after its longest duration."""

GAP_S = 8.0
"""Between kills: the supervisor gives up on what dies 5 times within a minute."""

TELL_EVERY_S = 15.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Report:
    """What came of it: what was done, what was found."""

    seed: int
    sessions: int
    kills: int
    calls: int
    calls_made_again: int
    calls_made_again_undisturbed: int
    callbacks: int
    callbacks_repeated: int
    seconds: float
    differences: list[str]
    at_plivo: dict[str, int]


async def compared(wanted: Plan, data: Path, say: Say) -> Report:
    """Run a plan undisturbed and with its kills, at the same time and each on a system of its own, and compare.

    Args:
        data: the folder of both systems' data and logs.
        say: told of each step.
    """
    began = time.monotonic()
    calm, killed = await asyncio.gather(
        run(wanted, data / "undisturbed", lambda words: say(f"undisturbed: {words}"), kills=()),
        run(wanted, data / "killed", lambda words: say(f"killed: {words}"), kills=wanted.kills),
    )
    found = [f"undisturbed: {fault}" for fault in faults(calm)]
    found += [f"killed: {fault}" for fault in faults(killed)]
    found += [f"compared: {difference}" for difference in differences(calm, killed)]
    told = [each for of_session in killed.told.values() for each in of_session.values()]
    return Report(
        seed=wanted.seed,
        sessions=len(killed.sessions),
        kills=len(wanted.kills),
        calls=sum(len(lived.made) for lived in killed.sessions),
        calls_made_again=sum(len(lived.disturbed) for lived in killed.sessions),
        calls_made_again_undisturbed=sum(len(lived.disturbed) for lived in calm.sessions),
        callbacks=len(told),
        callbacks_repeated=sum(each.times - 1 for each in told),
        seconds=round(time.monotonic() - began, 1),
        differences=found,
        at_plivo=killed.at_plivo,
    )


async def run(wanted: Plan, data: Path, say: Say, kills: tuple[Kill, ...]) -> Ran:
    """Run a plan on a system of its own, and search its files while it runs and after its end."""
    say("starts")
    async with (
        masking_plivo(wanted) as (plivo, settings),
        system(data, settings, crashes=bool(kills), hurried=wanted.short) as ready,
        SimulatorClient(ready["simulator_url"], timeout=30) as phones,
        httpx.AsyncClient(auth=(ready["auth_id"], ready["auth_token"]), timeout=10, trust_env=False) as http,
    ):
        network = plivo or Telephones(phones)
        world, sessions = World(ready, network, http), [Lived(ride) for ride in wanted.rides]
        async with _endpoint(world):
            telling = asyncio.create_task(_tell(sessions, say))
            try:
                async with asyncio.TaskGroup() as group:
                    for lived in sessions:
                        group.create_task(world.live(lived))
                    group.create_task(_kill(world, kills, say))
            finally:
                telling.cancel()
            say("all calls are over")
            async with asyncio.timeout(SETTLED_WITHIN_S):
                held = await _settled(world, sessions, data, say)
            listed = (await world.ask("GET", f"{world.api}/?limit=1", 200)).json()
            secrets = _secrets(world, wanted, data) | {each for name, each in settings.items() if "TOKEN" in name}
            secrets |= {pin for lived in sessions for pin in lived.pins}
            await asyncio.to_thread(dump, data)
            on_disk = await asyncio.to_thread(readable, data, secrets)
    on_disk += await asyncio.to_thread(readable, data, secrets)
    say("its files were searched")
    listed_count = listed["response"]["meta"]["total_count"]
    ran = Ran(sessions, dict(world.told), held, listed_count, list(network.faults(sessions)), on_disk)
    if plivo is not None:
        # What a callback tells too late, the record has told before.
        del held["events that came too late"]
        ran.at_plivo = plivo.summary
    return ran


def _secrets(world: World, wanted: Plan, data: Path) -> set[str]:
    """Every number of a person, PIN, token and address that was used."""
    keyring = load_keyring(Settings(keys_file=data / "keys.json"))
    user, token = world.ready["auth_id"], world.ready["auth_token"]
    basic = base64.b64encode(f"{user}:{token}".encode()).decode()
    found = {token, basic, keyring.derived_token("carrier"), world.ready["codec_url"].rpartition("/")[2]}
    for ride in wanted.rides:
        found |= {number.removeprefix("+") for number in (ride.first, ride.second, ride.guest)}
    return found | {world.callback_url}


@asynccontextmanager
async def _endpoint(world: World) -> AsyncIterator[None]:
    """Serve the customers' endpoint."""
    app = web.Application()
    app.router.add_post("/events", world.take)
    async with serving(app, free_port()) as url:
        world.callback_url = f"{url}/events"
        yield


async def _kill(world: World, kills: tuple[Kill, ...], say: Say) -> None:
    parts = Parts(world.ready["supervisor"])
    for n, kill in enumerate(kills, 1):
        await world.until(kill.at)
        await world.network.before_kill(kill.part)
        await parts.kill(kill.part)
        say(f"kill {n} of {len(kills)}: {kill.part}, after {kill.at:.1f} s")


async def _tell(sessions: list[Lived], say: Say) -> None:
    while True:
        await asyncio.sleep(TELL_EVERY_S)
        made, planned = sum(len(each.made) for each in sessions), sum(len(each.ride.calls) for each in sessions)
        say(f"{sum(bool(each.uuid) for each in sessions)} sessions, {made} of {planned} calls")


async def _settled(world: World, sessions: list[Lived], data: Path, say: Say) -> dict[str, int]:
    """Wait until every bill is closed and every callback was sent. What the tables hold then."""
    clients = await sessions_of(world.ready, data)
    for lived in sessions:
        lived.bill = await clients.final_bill(lived.uuid)
    say("all sessions are settled")
    await world.network.finished()
    while True:
        held = await counts(data)
        if not held["callbacks that wait"] and not held["events that wait"]:
            break
        await asyncio.sleep(0.5)
    say("all callbacks are sent")
    for lived in sessions:
        lived.final = (await world.ask("GET", f"{world.api}/{lived.uuid}/", 200)).json()["response"]
        lived.lost = world.network.lost(lived)
    return held


def report_of(
    seed: int, sessions: int, kills: int, gap: float, say: Say, *, short: bool, carrier: Carrier = "voice"
) -> Report:
    """Plan, run and compare; the logs are kept where something differs."""
    folder = Path(tempfile.mkdtemp(prefix="masking-killed-"))
    # PostgreSQL's own user must get through.
    folder.chmod(0o711)
    for run_of in ("undisturbed", "killed"):
        (folder / run_of).mkdir()
    wanted = plan(seed, sessions, kills, gap, short=short, carrier=carrier)
    keep = True
    try:
        report = asyncio.run(compared(wanted, folder, say))
        keep = bool(report.differences)
        return report
    finally:
        if keep:
            say(f"seed {seed}; the logs are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """The command line. 0 without differences, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.processes.killed", description=__doc__)
    parser.add_argument("--sessions", type=int, default=200, help="how many (%(default)s)")
    parser.add_argument("--kills", type=int, default=40, help="of worker, gateway, Temporal, PostgreSQL (%(default)s)")
    parser.add_argument("--gap", type=float, default=GAP_S, help="seconds between kills, on average (%(default)s)")
    parser.add_argument("--carrier", choices=("voice", "plivo"), default="voice", help="who masks (%(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="of an earlier run, to do it again")
    parser.add_argument("--short", action="store_true", help="no session ends by its time, and workers hurry")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args()
    seed = random.randrange(2**32) if given.seed is None else given.seed
    sys.stderr.write(f"seed {seed}\n")
    began = time.monotonic()

    def say(words: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:6.1f} s  {words}\n")

    report = report_of(seed, given.sessions, given.kills, given.gap, say, short=given.short, carrier=given.carrier)
    sys.stdout.write(f"{json.dumps(asdict(report)) if given.json else in_words(report)}\n")
    return 1 if report.differences else 0


def in_words(report: Report) -> str:
    """The report for a person."""
    lines = [
        f"seed {report.seed}: {report.sessions} sessions, {report.calls} calls, {report.callbacks} callbacks,"
        f" {report.kills} kills, {len(report.differences)} differences, {report.seconds:g} s",
        f"calls that failed at the carrier and were made again: {report.calls_made_again}"
        f" (undisturbed {report.calls_made_again_undisturbed}); callbacks sent more than once:"
        f" {report.callbacks_repeated}",
        *([", ".join(f"{what}: {count}" for what, count in report.at_plivo.items())] if report.at_plivo else []),
        *report.differences,
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    end(main())
