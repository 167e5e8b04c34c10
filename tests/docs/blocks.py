"""The code blocks of README.md and docs/, and a shell that runs them against one running system."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import typer
from typer.testing import CliRunner

from masking.cli import app

ROOT = Path(__file__).parent.parent.parent
_FENCED = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)

ALONE = ("|", ">", "$(", "&&", "=")
"""What a line with these in it means, bash knows better."""

FRAGMENTS = {"docs/client.md"}
"""Pages whose Python goes into a program of the reader's, so that it is only read."""


class Block(NamedTuple):
    """A fenced block. `note` is what its info string says after the language."""

    page: str
    line: int
    language: str
    note: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def runs(self) -> bool:
        """Whether it is run as it stands there, beside any running system."""
        return self.language in ("sh", "python") and not self.note and self.page not in FRAGMENTS


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "examples").glob("*/README.md"))]


def blocks() -> list[Block]:
    return [block for page in pages() for block in blocks_of(page)]


def usages() -> list[Block]:
    """The blocks that list commands with their options."""
    return [block for block in blocks() if block.note == "usage"]


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in _FENCED.finditer(text):
        language, _, note = found["info"].strip().partition(" ")
        line = text.count("\n", 0, found.start()) + 1
        yield Block(str(page.relative_to(ROOT)), line, language, note.strip(), found["text"])


def commands(text: str) -> list[str]:
    """The commands of a shell block, a line each: those that go on are joined, comments are gone."""
    joined = text.replace("\\\n", " ")
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]


class Shell:
    """Runs what a page shows, one block after the other, as a reader would in one terminal.

    Args:
        environment: its variables; those that a block sets are kept for the next one.
        addresses: what a page shows and what it is in this system.
    """

    def __init__(self, environment: dict[str, str], addresses: dict[str, str], folder: Path) -> None:
        self.environment, self.addresses, self.folder = environment, addresses, folder

    def run(self, block: Block) -> str:
        """Run a block. Returns what it printed; fails with that where a command does."""
        if block.language == "python":
            return self._python(block)
        return "".join(self._command(command) for command in commands(self._here(block.text)))

    def _here(self, text: str) -> str:
        for shown, real in self.addresses.items():
            text = text.replace(shown, real)
        return text

    def _command(self, command: str) -> str:
        words = [] if any(sign in command for sign in ALONE) else shlex.split(command)
        if words and words[0] in ("masking", ".venv/bin/masking"):
            with contextlib.chdir(self.folder):
                words = [self._expanded(word) for word in words[1:]]
                done = CliRunner().invoke(app, words, env=dict(self.environment), prog_name="masking")
            assert done.exit_code == 0, f"{command}\n{done.output}\n{done.exception!r}"
            return done.output
        return self._bash(command)

    def _expanded(self, word: str) -> str:
        return re.sub(r"\$\{?(\w+)\}?", lambda name: self.environment[name[1]], word)

    def _bash(self, command: str) -> str:
        kept = self.folder / "environment"
        script = f"set -euo pipefail; set -a\n{command}\nenv -0 > {shlex.quote(str(kept))}"
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        self.environment = dict(pair.partition("=")[::2] for pair in kept.read_text().split("\0") if pair)
        return done.stdout

    def _python(self, block: Block) -> str:
        """Run Python that may await, with the shell's variables in its environment."""
        code = compile(self._here(block.text), str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        names: dict[str, Any] = {"__name__": "__main__"}
        before = dict(os.environ)
        os.environ.update(self.environment)
        try:
            made = eval(code, names)
            if inspect.iscoroutine(made):
                asyncio.run(made)
        finally:
            os.environ.clear()
            os.environ.update(before)
        return ""


class Synopsis(NamedTuple):
    """A command as a page lists it: its words, and the options that it names."""

    words: tuple[str, ...]
    options: tuple[str, ...]


def synopses(text: str) -> list[Synopsis]:
    """The commands of a `usage` block."""
    found = []
    for command in commands(re.sub(r"\n[ \t]+", " ", text)):
        bare = re.sub(r"[\[\]]", " ", command)
        words: list[str] = []
        if module := re.match(r"python -m ([\w.]+)", bare):
            words, bare = ["python", module[1]], bare[module.end() :]
        for word in bare.split() if not words else ():
            if not re.fullmatch(r"[a-z][a-z.-]*", word):
                break
            words.append(word)
        found.append(Synopsis(tuple(words), tuple(re.findall(r"(?<![\w-])--?[a-z][\w-]*", bare))))
    return found


def options_of(words: tuple[str, ...]) -> set[str] | None:
    """The options of a command of ours; None if there is no such command."""
    command: Any = typer.main.get_command(app)
    for word in words:
        if not hasattr(command, "get_command"):
            break
        command = command.get_command(None, word)
        if command is None:
            return None
    if hasattr(command, "get_command"):
        return None
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
