"""Every command that a message or a help text of ours names exists, with the options that it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

from masking.cli import app
from tests.docs.blocks import ROOT

SOURCES = sorted([*(ROOT / "masking").rglob("*.py"), ROOT / "worker.py"])
_NAMED = re.compile("`masking ([a-z][^`|]{0,120})`")
_PIECES = re.compile(r'"\s*\n\s*f?"')
"""Where a text goes on in the next line."""


def named() -> Iterator[tuple[str, list[str]]]:
    for path in SOURCES:
        for found in _NAMED.finditer(_PIECES.sub("", path.read_text()).replace("\n", " ")):
            yield f"{path.relative_to(ROOT)}: {found[0]}", found[1].split()


def wrong(words: list[str]) -> str:
    """What of it there is not; empty where it is right."""
    command: Any = typer.main.get_command(app)
    for place, word in enumerate(words):
        if not hasattr(command, "get_command"):
            options = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
            return " ".join(each for each in words[place:] if each.startswith("--") and each not in options)
        command = command.get_command(typer.Context(command), word)
        if command is None:
            return word
    return ""


def test_what_a_message_says_to_type_can_be_typed() -> None:
    found = list(named())
    assert len(found) > 30
    assert {where: fault for where, words in found if (fault := wrong(words))} == {}
    assert (wrong(["inbox", "list", "--unreadable"]), wrong(["inbox", "lists"])) == ("--unreadable", "lists")
