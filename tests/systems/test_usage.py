"""Every command that a page lists is run, with each option that the page names, against a running system.

The system here is nearer to production than the one of `test_in_use.py`: it archives into a bucket of an S3 server, and
its worker has a version. So the blocks that need these are run here, too; those that measure, in `test_measures.py`.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from masking.settings import Settings
from masking.storage.database import Database
from masking.storage.ingress_keys import make_ahead
from tests.archives import s3_environment
from tests.docs.blocks import ROOT, Block, blocks, commands, synopses, usages
from tests.processes.running import FIRST, SECOND, Run, environment, until
from tests.systems.operating import MadeRun, Operator, Others, end, make, plus

pytestmark = [pytest.mark.processes, pytest.mark.long, pytest.mark.timeout(300)]

ALL = blocks()
USAGES = usages()
MEASURES = {"docs/costs.md"}
WAIT = {"README.md", "docs/billing.md"}
# Those last that wait for the courier's evening to be at rest.
PAGES = sorted({block.page for block in USAGES} - MEASURES, key=lambda page: (page in WAIT, page))


def block_of(page: str, part: str) -> Block:
    """The block of a page that has this in it."""
    (found,) = (block for block in ALL if block.page == page and part in block.text)
    return found


BUCKET = block_of("docs/audit.md", "s3://evidence")
VERSIONS = block_of("docs/operations.md", "set-current-version")
GRACE = block_of("examples/delivery/README.md", "MASKING_PAIR_GRACE=")
PLIVO = block_of("docs/carriers.md", "MASKING_CARRIER_API_URL=")

EVENINGS = ("+12025550193", "+12025550194", "+12025550195", "+12025550196")
"""Numbers for the courier's evening; the carrier has them, too."""


class _Took(BaseHTTPRequestHandler):
    """A customer's endpoint that takes everything, or nothing."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200 if self.path == "/takes" else 500)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Took)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def bucket(s3_endpoint: str) -> dict[str, str]:
    """What the first line of the page's block sets, and what its bucket needs."""
    setting, *started = shlex.split(commands(BUCKET.text)[0])
    assert started == ["masking", "run"]
    name, _, place = setting.partition("=")
    httpx.put(f"{s3_endpoint}/{place.removeprefix('s3://').partition('/')[0]}").raise_for_status()
    return {name: place, **s3_environment(s3_endpoint)}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, bucket: dict[str, str]) -> Iterator[Run]:
    more = {
        **bucket,
        **dict(each.partition("=")[::2] for each in commands(GRACE.text)[0].split() if "=" in each),
        "MASKING_ARCHIVE_AFTER": "0",
        "MASKING_SIMULATOR_SPEED": "50",
        "MASKING_CALLBACK_GIVE_UP_AFTER": "1",
        "MASKING_RECORDING_WAIT": "2",
        "MASKING_DEPLOYMENT_NAME": "masking",
        "MASKING_BUILD_ID": "docs",
        "MASKING_DEMO_NUMBERS": ",".join((*Settings.model_fields["demo_numbers"].default, *EVENINGS)),
    }
    # The block of the grace begins one with `make run`, too. None of the lines that it tells is broken.
    assert commands(GRACE.text)[0].split()[-2:] == ["make", "run"]
    with MadeRun(environment(tmp_path_factory.mktemp("usage") / "data", COLUMNS="200", **more)) as running:
        yield running


@pytest.fixture
def operator(system: Run, endpoint: str, tmp_path: Path, evening: Others) -> Operator:
    return Operator(system, endpoint, tmp_path, evening)


@pytest.fixture(scope="module")
def versioned(system: Run, endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing runs on a version until the page's command made it the current one."""
    operator = Operator(system, endpoint, tmp_path_factory.mktemp("versions"))
    operator.environment["TEMPORAL_ADDRESS"] = f"127.0.0.1:{system.env['MASKING_TEMPORAL_PORT']}"
    (command,) = commands(VERSIONS.text)
    command = command.replace("BUILD_ID", system.env["MASKING_BUILD_ID"])
    described = "temporal worker deployment describe --name masking -o json"
    until(lambda: '"BuildID": "docs"' in operator.bash(f"{described} || true"))
    # It asks whether it is meant.
    operator.bash(f"echo y | {command}")
    assert json.loads(operator.bash(described))["routingConfig"]["currentVersionBuildID"] == "docs"


@pytest.fixture(scope="module")
def evening(system: Run, endpoint: str, versioned: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Others]:
    """The courier's evening of the page. It goes on for more than a minute, beside everything else."""
    del versioned
    operator = Operator(system, endpoint, tmp_path_factory.mktemp("evening"))
    account = operator.told("masking accounts create")["auth_id"]
    for number in EVENINGS:
        operator(f"masking numbers remove {number}")
        operator(f"masking numbers add {number} --account {account}")
    operator.environment["MASKING_DEMO_AUTH_ID"] = account
    _, command = commands(GRACE.text)
    begun = operator.begin(f"{command} --json")
    yield Others(begun, account)
    end(begun)


# One for each page with a usage block. Each asserts a little of what comes of it: that commands do what they say, their
# own tests hold them to.


def readme(operator: Operator) -> None:
    quickstart(operator)
    # It picks its phones at random, as others do.
    operator.wait_for_others()
    said = operator.make("demo")
    assert "Using the system that runs" in said
    assert "Stopped." not in said


def quickstart(operator: Operator) -> None:
    # The system here was started by it.
    assert operator.system.command == make("run")
    operator.run += synopses("make run")


def security(operator: Operator) -> None:
    uuid, other = operator.settled(), operator.settled()
    operator.forget_calls()
    operator(f"masking privacy hold {uuid} --reason 'case 12'")
    assert uuid in operator("masking privacy holds")
    assert "case 12" in json.dumps(operator.told(f"masking privacy erase {uuid} --yes", code=1)["left"])
    operator(f"masking privacy release {uuid}")
    assert operator.told("masking privacy erase --older-than 90d --dry-run")
    assert operator.told("masking privacy erase --unfinished --dry-run")
    assert uuid in operator(f"masking privacy erase --party {FIRST} --dry-run", None)
    (certificate,) = operator.told(f"masking privacy erase {uuid} --yes")["erased"]
    operator.file("certificate.json", json.dumps(certificate))
    operator("masking privacy verify certificate.json")
    operator(f"masking sessions show {other} --numbers")
    since = (datetime.now(UTC) - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    looks = operator.told(f"masking privacy looks --session {other} --since {since} --limit 5")
    assert "docs" in json.dumps(looks)


def production(operator: Operator) -> None:
    assert "k1" in operator("masking keys list")
    operator.environment["MASKING_KEYS_FILE"] = f"{operator.system.env['MASKING_DATA']}/keys.json"
    operator("masking keys rotate")
    operator("masking keys rewrap")
    assert "k2" in operator("masking keys list")
    long_ago = datetime.now(UTC).date() - timedelta(days=9)
    asyncio.run(_an_old_day(operator, long_ago))
    operator("masking keys ingress export service.json --days 7 --back 10")
    keys = json.loads((operator.folder / "service.json").read_text())["ingress"]
    assert len(keys) == 8
    assert (operator.folder / "service.json").stat().st_mode & 0o077 == 0
    assert str(long_ago) in operator("masking keys ingress list")
    operator(f"masking keys ingress destroy {long_ago} --yes")


async def _an_old_day(operator: Operator, day: Any) -> None:
    async with Database(operator.database_url) as database, database.transaction() as connection:
        await make_ahead(connection, operator.keyring(), 1, day)


def callbacks(operator: Operator) -> None:
    uuid = operator.settled(to="takes-not")
    until(lambda: len(_callbacks(operator, f"list --state dead --session {uuid}")) >= 3)
    dead = _callbacks(operator, f"list --state dead --session {uuid} --kind session")
    one = dead[0]["callback_id"]
    operator(f"masking callbacks show {one} --answers")
    operator("masking callbacks endpoints")
    operator(f"masking callbacks replay {one}")
    operator(f"masking callbacks replay --session {uuid} --from 1 --kind session --dead")
    operator("masking callbacks replay --dead")


def _callbacks(operator: Operator, command: str) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = operator.told(f"masking callbacks {command}")["callbacks"]
    return told


def audit(operator: Operator) -> None:
    uuid = operator.settled()
    # Temporal's lists, by which it finds the session's runs, lag behind.
    until(lambda: operator(f"masking audit export {uuid} -o first.jsonl --json", None))
    key = operator.told(f"masking audit export {uuid} -o pack.jsonl")["header"]["public_key"]
    operator(f"masking audit export {uuid} -o open.jsonl --open")
    operator.file("key.json", operator(f"masking audit key {uuid}"))
    for more in ("", "--key key.json --offline --numbers", f"--signer {key}"):
        assert operator.told(f"masking audit verify pack.jsonl {more}")["outcome"] == "proven"
    operator("masking audit show pack.jsonl --key key.json --numbers")
    assert operator.told("masking audit show pack.jsonl")
    assert operator.told(f"masking sessions show {uuid}")
    operator(f"masking sessions show {uuid} --numbers")
    # The archive, in the bucket of the page's block.
    temporal = f"temporal --address 127.0.0.1:{operator.system.env['MASKING_TEMPORAL_PORT']}"
    operator.bash(f"{temporal} schedule trigger --schedule-id archive-sessions")
    _, verify = commands(BUCKET.text)
    until(lambda: json.loads(operator(f"{verify} --json", None))["packs"], within=60)
    operator(verify)
    assert operator.told(f"masking audit verify --all {shlex.split(verify)[-1]} --signer {key} --offline", code=3)


def numbers(operator: Operator) -> None:
    operator.file("numbers.csv", "number\n+12025550160\n+12025550161\n")
    operator(f"masking numbers import numbers.csv --account {operator.account}")
    operator(f"masking numbers add +12025550162 --account {operator.account}")
    session = operator.session()
    operator("masking numbers drain +12025550160")
    found = operator(f"masking numbers list --account {operator.account} --country US --state draining --limit 5")
    assert "+12025550160" in found or "no number" in found.lower()
    operator("masking numbers block +12025550161 --drain")
    operator("masking numbers reopen +12025550161")
    operator("masking numbers remove +12025550162 --drain")
    operator(f"masking numbers explain {FIRST} {SECOND} --account {operator.account}")
    # A moment in whole seconds is before a session of that second.
    time.sleep(1)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert session["session_uuid"] in operator(f"masking numbers who {plus(session)} {FIRST}")
    operator(f"masking numbers who {plus(session)} {FIRST} --at {now}")
    operator(f"masking numbers plan --history {ROOT}/examples/demand/ride-hailing-day.csv")


def carriers(operator: Operator) -> None:
    made = operator.told("masking accounts create")
    operator(f"masking accounts carrier {made['auth_id']} plivo")
    assert "plivo" in operator("masking accounts list")
    operator(f"masking accounts carrier {made['auth_id']} default")
    # Plivo's part is played by the simulator, which has its REST API: the page's lines set its account instead.
    env = operator.system.env
    lines = PLIVO.text.replace("https://api.plivo.com", str(operator.system.ready["simulator_url"]))
    lines = lines.replace("AUTH_ID=MA…", "AUTH_ID=MASIMULATEDCARRIER00")
    lines = lines.replace("AUTH_TOKEN=…", f"AUTH_TOKEN={operator.keyring().derived_token('carrier')}")
    lines = lines.replace("https://masking.example.com", f"http://127.0.0.1:{env['MASKING_PORT']}")
    told = operator.bash(f"{lines}\nenv -0").split("\0")
    operator.environment |= dict(pair.partition("=")[::2] for pair in told if "MASKING_" in pair)
    operator("masking carriers plivo setup", say="n\n", code=3)
    operator("masking carriers plivo setup --dry-run")
    assert operator.told("masking carriers plivo setup --yes")["missing"] == []
    assert operator.told("masking carriers check")["works"]


def client(operator: Operator) -> None:
    one, two = operator.session(), operator.session()
    ended = operator.told(f"masking sessions expire {one['session_uuid']} --reason 'end of day' --yes")
    assert ended["expired"] == [one["session_uuid"]]
    until(lambda: two["session_uuid"] in operator(f"masking sessions expire --party {SECOND} --dry-run"))
    assert two["session_uuid"] in operator("masking sessions expire --query \"MaskingCarrier = 'voice'\" --dry-run")
    operator(f"masking sessions expire --account {operator.account} --yes --at-once 20")


def billing(operator: Operator) -> None:
    uuid = operator.settled()
    month = datetime.now(UTC).strftime("%Y-%m")
    assert "receivable:MA" in operator(f"masking ledger show {uuid}")
    assert uuid in operator(f"masking ledger export --month {month} --account {operator.account} --format csv")
    # The carrier's bill is for all accounts.
    operator.wait_for_others()
    posted = operator(f"masking ledger export --month {month} --format json")
    legs = [json.loads(line) for line in posted.splitlines()]
    costs = {leg["leg_uuid"]: leg["amount"] for leg in legs if leg["kind"] == "cost"}
    operator.file("records.csv", "call_uuid,amount\n" + "".join(f"{call},{amount}\n" for call, amount in costs.items()))
    operator("masking ledger reconcile records.csv")
    operator(f"masking ledger reconcile records.csv --month {month}", code=0)


def operations(operator: Operator) -> None:
    uuid = operator.settled()
    assert operator.told(f"masking inbox list --state late --session {uuid}")
    operator("masking inbox list")
    operator("masking inbox retry")
    operator(f"masking inbox corrections {uuid}")
    mine = f"masking sessions list --account {operator.account} --party {FIRST} --carrier voice"
    when = "--created-after 2026-01-01 --created-before 2999-01-01"
    listed = operator.told(f"{mine} {when} --status expired --limit 50")["sessions"]
    (number,) = (each["virtual_number"] for each in listed if each["session_uuid"] == uuid)
    assert uuid not in operator(f"masking sessions list --number {number} --after {uuid}")
    assert operator.told(f"masking sessions overdue --account {operator.account} --limit 5")["sessions"] == []
    lost = [operator.session()["session_uuid"] for _ in range(2)]
    temporal = f"127.0.0.1:{operator.system.env['MASKING_TEMPORAL_PORT']}"
    for each in lost:
        operator.bash(f"temporal workflow terminate --workflow-id session-{each} --address {temporal}")
    would = operator(f"masking sessions resume --account {operator.account} --dry-run")
    assert all(f"{each} would be resumed: its workflow was terminated" in would for each in lost)
    done = operator.told(f"masking sessions resume {lost[0]} --yes --at-once 5")
    assert list(done["resumed"]) == lost[:1]
    assert lost[1] in operator(f"masking sessions resume --account {operator.account} --temporal-lost --yes")
    assert "2 agree" in operator(f"masking sessions restore {' '.join(lost)} --dry-run")
    restored = operator.told(f"masking sessions restore {' '.join(lost)} --yes --at-once 5")
    assert restored == {"restored": {}, "ended": {}, "agree": 2, "failed": {}}


def simulator(operator: Operator) -> None:
    number = plus(operator.session())
    operator(f"masking phones call {FIRST} {number} --hangs-up-after 10")
    operator(f"masking phones call +12025550150 {number} --presses 0000# --presses 1234#", code=1)
    operator(f"masking phones behave {SECOND} --on-ring manual")
    # Else it hangs up as it did before, within a moment of this fast clock.
    operator(f"masking phones behave {FIRST} --hangs-up-after 3000")
    operator.system.phone("POST", f"{FIRST}/dial", {"to": number})
    until(lambda: operator.told(f"masking phones show {SECOND}")["state"] == "ringing")
    operator(f"masking phones answer {SECOND}")
    until(lambda: operator.told(f"masking phones show {SECOND}")["state"] == "talking")
    operator(f"masking phones press {SECOND} 1")
    operator(f"masking phones hangup {SECOND}")
    operator(f"masking phones behave {SECOND} --on-ring answer")
    calls = operator.told("masking phones calls")["calls"]
    operator(f"masking phones transcript {calls[0]['call_uuid']}")
    assert number in operator("masking phones numbers")
    operator("masking phones chaos --drop 0.2 --duplicate 0.2 --reorder 0.3 --seed 7")
    operator("masking phones chaos")
    operator("masking phones magic")


SCENES: dict[str, Callable[[Operator], None]] = {
    "README.md": readme,
    "docs/quickstart.md": quickstart,
    "docs/security.md": security,
    "docs/production.md": production,
    "docs/callbacks.md": callbacks,
    "docs/audit.md": audit,
    "docs/numbers.md": numbers,
    "docs/carriers.md": carriers,
    "docs/client.md": client,
    "docs/billing.md": billing,
    "docs/operations.md": operations,
    "docs/simulator.md": simulator,
}


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_lists_is_run(page: str, operator: Operator) -> None:
    SCENES[page](operator)
    for block in USAGES:
        for listed in synopses(block.text) if block.page == page else ():
            if listed.words[0] == "python":
                continue
            run = [each for each in operator.run if each.words[: len(listed.words)] == listed.words]
            assert run, f"{block}: `{' '.join(listed.words)}` was not run"
            missing = set(listed.options) - {option for each in run for option in each.options}
            assert not missing, f"{block}: `{' '.join(listed.words)}` was not run with {missing}"


def test_two_who_meet_again_once_their_number_rests_no_more_get_it_again(operator: Operator, evening: Others) -> None:
    told = json.loads(operator.ended(evening.begun, within=180))
    assert told["ok"], told["failure"]
    (missed,) = [each["what"] for each in told["timeline"] if "misses an umbrella" in each["what"]]
    assert missed.endswith("the same as before")


def test_ctrl_c_stops_what_make_began(system: Run) -> None:
    # Make itself ends by what it was interrupted with.
    code, said = system.stop()
    assert (code, "Stopped." in said) == (-signal.SIGINT, True), said


def test_every_page_that_lists_commands_has_its_scene() -> None:
    assert {block.page for block in USAGES} == {*SCENES, *MEASURES}
