"""Every code block of README.md, docs/ and the examples' pages is run, or says why it is not.

The first word of a block is its language. `sh usage` lists commands, of which the test looks up every word and option;
`text output` is what the block before it prints, at least; `not run: …` gives one of the reasons below. `run apart: …`
tells what `test_usage.py` runs it with, which also runs the commands of the `usage` blocks.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from masking.embedded.postgres import running_database_url
from tests.docs.blocks import ROOT, Block, Shell, blocks, commands, options_of, pages, synopses
from tests.processes.test_run import FIRST, SECOND, Run, environment

pytestmark = [pytest.mark.processes, pytest.mark.timeout(150)]

NOT_RUN = {
    "needs Docker": "no engine is there where this is developed; tests/deployment checks the file",
}
"""Why a block is run nowhere, and what stands for it."""

APART = ("with a bucket", "with versions of workers", "with an account at Plivo", "with a short grace")
"""What `test_usage.py` runs a block with."""

ELSEWHERE = {
    "docs/client.md": ("bash", "tests/integration/test_command_line_client.py"),
    "docs/numbers.md": ("console", "tests/operate/test_plan.py"),
}
"""Pages whose blocks of a language another test runs."""

FRAGMENTS = {"docs/client.md"}
"""Pages whose Python goes into a program of the reader's, so that it is only read here."""

PICTURES = ("diagram", "output", "usage")
CODEC_TOKEN = "a-token-to-read-payloads-with-0123456789"

ALL = blocks()


def runs(block: Block) -> bool:
    return block.language in ("sh", "python") and not block.note and block.page not in FRAGMENTS


RUN = sorted({block.page for block in ALL if runs(block)}, key=[str(p.relative_to(ROOT)) for p in pages()].index)


@pytest.mark.parametrize("block", ALL, ids=str)
def test_every_block_is_run_or_says_why_not(block: Block) -> None:
    reason, apart = block.note.partition("not run: ")[2], block.note.partition("run apart: ")[2]
    if reason:
        assert reason in NOT_RUN, f"{block}: give one of the reasons that this test lists"
    elif apart:
        assert apart in APART, f"{block}: say what it is run with"
    elif block.language == "text":
        assert block.note in ("diagram", "output"), f"{block}: say what it is"
    elif block.language in ("bash", "console"):
        language, elsewhere = ELSEWHERE[block.page]
        assert language == block.language
        assert Path(block.page).name in (ROOT / elsewhere).read_text()
    elif block.page in FRAGMENTS and block.language == "python":
        compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    elif block.language == "json":
        json.loads(block.text)
    elif block.language == "toml":
        tomllib.loads(block.text)
    elif block.language != "mermaid":
        assert block.language in ("sh", "python"), f"{block}: name its language"
        assert block.note in ("", "usage")


def test_each_reason_is_needed() -> None:
    given = {block.note.partition("not run: ")[2] for block in ALL}
    assert given - {""} == set(NOT_RUN)
    assert {block.note.partition("run apart: ")[2] for block in ALL} - {""} == set(APART)


@pytest.mark.parametrize("block", [block for block in ALL if block.note == "usage"], ids=str)
def test_what_is_listed_is_there(block: Block) -> None:
    for synopsis in synopses(block.text):
        first, *words = synopsis.words
        if first == "masking":
            known = options_of(tuple(words))
            assert known is not None, f"{block}: there is no `{' '.join(synopsis.words)}`"
            assert set(synopsis.options) <= known, f"{block}: `{' '.join(synopsis.words)}`"
        elif first == "make":
            targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert words[0] in targets, f"{block}: there is no `make {words[0]}`"
        else:
            assert first == "python", block
            assert importlib.util.find_spec(words[0]) is not None, f"{block}: there is no {words[0]}"
            source = inspect.getsource(importlib.import_module(words[0]))
            assert all(option in source for option in synopsis.options), f"{block}: {words[0]}"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """One running system for every page."""
    data = tmp_path_factory.mktemp("docs") / "data"
    more = {"MASKING_SIMULATOR_SPEED": "20", "MASKING_CODEC_TOKENS": f"docs:{CODEC_TOKEN}"}
    with Run(environment(data, **more)) as running:
        yield running


@pytest.fixture
def shell(system: Run, tmp_path: Path) -> Shell:
    """A terminal beside a system in which nobody has called anybody yet."""
    with psycopg.connect(running_database_url(Path(system.env["MASKING_DATA"]) / "postgres") or "") as connection:
        connection.execute("DELETE FROM routes")
    ready, env = system.ready, system.env
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
        shell.environment["SESSION"] = a_session(system)
    printed = ""
    for block in of_page:
        if runs(block):
            printed = shell.run(block)
        elif block.note == "output":
            for line in block.text.splitlines():
                for part in line.split("…"):
                    assert loosely(part) in loosely(printed), f"{block}: not printed: {part}\n{printed}"


def a_session(system: Run) -> str:
    with httpx.Client(auth=(system.ready["auth_id"], system.ready["auth_token"]), timeout=10, trust_env=False) as http:
        created = http.post(f"{system.api}/", json={"first_party": FIRST, "second_party": SECOND})
    return str(created.json()["session_uuid"])


def loosely(text: str) -> str:
    """A text without what differs from run to run: numbers, ids, times, and how it is spaced and boxed."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "#", text)
    return " ".join(re.sub(r"[│╭╮╰╯─]|\d+([.:,]\d+)*", "#", text).replace("#", " ").split())


def test_comments_and_continued_lines_are_understood() -> None:
    assert commands("a b \\\n  c  # why\n\n# alone\nd '#1'") == ["a b    c", "d '#1'"]


def test_a_synopsis_is_read_as_people_read_it() -> None:
    text = "masking audit verify FILE [--key KEYFILE] [-o FILE]\nmasking x --dead\npython -m a.b --json\n"
    one, other, last = synopses(text)
    assert one == (("masking", "audit", "verify"), ("--key", "-o"))
    assert other == (("masking", "x"), ("--dead",))
    assert last == (("python", "a.b"), ("--json",))
