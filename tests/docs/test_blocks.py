"""Every code block of README.md, docs/ and the examples' pages is run, or says why it is not.

The first word of a block is its language. `sh usage` lists commands, of which the test looks up every word and option;
`text output` is what the block before it prints, at least; `not run: …` gives one of the reasons below. `run apart: …`
tells what `tests/systems/test_usage.py` runs it with, which also runs the commands of the `usage` blocks;
`tests/systems/test_in_use.py` runs all others.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.docs.blocks import FRAGMENTS, ROOT, Block, blocks, commands, options_of, synopses

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

ALL = blocks()


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


def test_comments_and_continued_lines_are_understood() -> None:
    assert commands("a b \\\n  c  # why\n\n# alone\nd '#1'") == ["a b    c", "d '#1'"]


def test_a_synopsis_is_read_as_people_read_it() -> None:
    text = "masking audit verify FILE [--key KEYFILE] [-o FILE]\nmasking x --dead\npython -m a.b --json\n"
    one, other, last = synopses(text)
    assert one == (("masking", "audit", "verify"), ("--key", "-o"))
    assert other == (("masking", "x"), ("--dead",))
    assert last == (("python", "a.b"), ("--json",))
