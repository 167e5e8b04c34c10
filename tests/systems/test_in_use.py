"""A system in use: pages' blocks are run beside it, as they stand there, and operators' commands. Nothing of it is
readable on its disk then."""

from __future__ import annotations

import base64
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from masking.embedded.postgres import running_database_url
from masking.settings import Settings
from tests.docs.blocks import ROOT, Shell, blocks
from tests.processes.disk_search import dump, readable
from tests.processes.running import SECOND, Run, environment
from tests.systems.commands import PEOPLE, SCENES

pytestmark = [pytest.mark.processes, pytest.mark.timeout(150)]

ALL = blocks()
RUN = list(dict.fromkeys(block.page for block in ALL if block.runs))
TOKEN, CARRIERS_TOKEN = "a-token-that-is-readable-nowhere-0123456", "a-carriers-token-readable-nowhere-987654"
CODEC_TOKEN = "a-token-to-read-payloads-with-0123456789"
POOL = Settings.model_fields["demo_numbers"].default


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the system has its data, and its temporary files."""
    folder = tmp_path_factory.mktemp("in_use")
    (folder / "temporary").mkdir()
    return folder


@pytest.fixture(scope="module")
def system(folder: Path) -> Iterator[Run]:
    """One running system for everything here."""
    more = {
        "TMPDIR": str(folder / "temporary"),
        "MASKING_DEMO_AUTH_TOKEN": TOKEN,
        "MASKING_CARRIER_AUTH_TOKEN": CARRIERS_TOKEN,
        "MASKING_CODEC_TOKENS": f"docs:{CODEC_TOKEN}",
        "MASKING_SIMULATOR_SPEED": "20",
    }
    with Run(environment(folder / "data", **more)) as running:
        yield running


@pytest.fixture
def unused(system: Run) -> Run:
    """The system as if nobody had called anybody yet."""
    with psycopg.connect(running_database_url(Path(system.env["MASKING_DATA"]) / "postgres") or "") as connection:
        connection.execute("DELETE FROM routes")
    return system


@pytest.fixture
def shell(unused: Run, tmp_path: Path) -> Shell:
    """A terminal beside the system."""
    ready, env = unused.ready, unused.env
    temporal = f"127.0.0.1:{env['MASKING_TEMPORAL_PORT']}"
    of_this_page = {
        "AUTH_ID": str(ready["auth_id"]),
        "AUTH_TOKEN": str(ready["auth_token"]),
        "CODEC_TOKEN": CODEC_TOKEN,
        "TEMPORAL_ADDRESS": temporal,
        "MASKING_KEYS_FILE": f"{env['MASKING_DATA']}/keys.json",
        "PATH": f"{Path(sys.executable).parent}:{env['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    addresses = {
        "http://127.0.0.1:8080": str(ready["api_url"]),
        "http://127.0.0.1:8081": str(ready["simulator_url"]),
        "http://127.0.0.1:8082": f"http://127.0.0.1:{env['MASKING_METRICS_PORT']}",
        "http://127.0.0.1:8083": f"http://127.0.0.1:{env['MASKING_CODEC_PORT']}",
        "localhost:7233": temporal,
        ".masking/keys.json": of_this_page["MASKING_KEYS_FILE"],
        "source .venv/bin/activate": f"source {activate_script()}",
        "AUTH_ID=MA… AUTH_TOKEN=…": f"AUTH_ID={of_this_page['AUTH_ID']} AUTH_TOKEN={of_this_page['AUTH_TOKEN']}",
    }
    return Shell({**env, **of_this_page}, addresses, tmp_path)


def activate_script() -> Path:
    """What enters the environment of this Python; where it is none that has one, something that changes nothing."""
    script = Path(sys.executable).parent / "activate"
    return script if script.exists() else Path(os.devnull)


@pytest.mark.parametrize("page", RUN)
def test_a_page_does_what_it_shows(page: str, shell: Shell, system: Run) -> None:
    of_page = [block for block in ALL if block.page == page]
    for block in of_page:
        if block.language == "toml":
            (shell.folder / "card.toml").write_text(block.text)
    if any("$SESSION" in block.text for block in of_page) and not any("SESSION=" in block.text for block in of_page):
        session = system.create(first_party="+12025550101", second_party="+12025550102")
        shell.environment["SESSION"] = session["session_uuid"]
    printed = ""
    for block in of_page:
        if block.runs:
            printed = shell.run(block)
        elif block.note == "output":
            for line in block.text.splitlines():
                for part in line.split("…"):
                    assert loosely(part) in loosely(printed), f"{block}: not printed: {part}\n{printed}"


def loosely(text: str) -> str:
    """A text without what differs from run to run: numbers, ids, times, and how it is spaced and boxed."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "#", text)
    return " ".join(re.sub(r"[│╭╮╰╯─]|\d+([.:,]\d+)*", "#", text).replace("#", " ").split())


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_operators_do_what_they_came_for(scene: Callable[[Run, Path], None], unused: Run, tmp_path: Path) -> None:
    scene(unused, tmp_path)


def test_what_all_that_leaves_on_disk_holds_no_number_no_pin_and_no_token(unused: Run, folder: Path) -> None:
    run, pins = unused, {"first_party_pin": "8401937265", "second_party_pin": "7203948156"}
    session = run.create(
        is_pin_authentication_required=True, pin_prompt_play="https://x.example/p.mp3", record=True, **pins
    )
    run.phone("PUT", SECOND, {"hangs_up_after": 3})
    number, pin = f"+{session['virtual_number']}", pins["first_party_pin"]
    called = run.told("phones", "call", "+12025550150", number, "--presses", "7700880099#", "--presses", f"{pin}#")
    assert [leg["number"] for leg in called["callees"]] == [SECOND]
    shown = run.told("demo")["session"]
    assert SECOND in story_in_the_ui(run, session["session_uuid"])
    (look, *_) = run.told("privacy", "looks", "--session", session["session_uuid"])["looks"]
    assert (look["who"], look["what"], look["why"]) == ("temporal-ui", "decoded payloads", "namespace default")
    basic = base64.b64encode(f"{run.ready['auth_id']}:{TOKEN}".encode()).decode()
    codec = run.ready["codec_url"].rpartition("/")[2]
    parties = {shown["first_party"], shown["second_party"], *(number[1:] for number in (*PEOPLE, *people_of_pages()))}
    secrets = (*parties, *pins.values(), "7700880099", TOKEN, CARRIERS_TOKEN, CODEC_TOKEN, basic, codec)
    # As a crash at this moment would leave it, and as a stop does.
    dump(folder / "data")
    assert session["session_uuid"] in (folder / "data" / "dump.sql").read_text()
    assert readable(folder, secrets) == []
    assert run.stop()[0] == 0
    assert readable(folder, secrets) == []


def people_of_pages() -> set[str]:
    """Whose phones the blocks that are run use."""
    numbers = {number for block in ALL if block.runs for number in re.findall(r"\+\d{11,12}\b", block.text)}
    return numbers - {*POOL}


def story_in_the_ui(run: Run, session_uuid: str) -> str:
    """What the Temporal UI would show of a session's history: it asks where its settings say, as a page of its own."""
    ui = run.ready["temporal_ui_url"]
    with httpx.Client(timeout=10, trust_env=False) as browser:
        codec = browser.get(f"{ui}/api/v1/settings").json()["Codec"]["Endpoint"]
        history = browser.get(f"{ui}/api/v1/namespaces/default/workflows/session-{session_uuid}/history").text
        assert SECOND not in history
        payloads = re.findall(r'\{\s*"metadata": \{[^}]*\},\s*"data": "[^"]*"\s*\}', history)
        headers = {"Origin": ui, "X-Namespace": "default", "Content-Type": "application/json"}
        body = f'{{"payloads": [{",".join(payloads)}]}}'
        decoded = browser.post(f"{codec}/decode", content=body, headers=headers).json()["payloads"]
    assert len(decoded) == len(payloads) > 3
    return "".join(base64.b64decode(each["data"]).decode() for each in decoded)
