"""Who runs the commands that pages list, beside a running system."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
from typer.testing import CliRunner, Result

from masking.cli import app
from masking.embedded.postgres import running_database_url
from masking.privacy.key_files import load_keyring
from masking.privacy.keyring import Keyring
from masking.settings import Settings
from tests.docs.blocks import ROOT, Synopsis, synopses
from tests.processes.test_run import FIRST, Run, logging_of_its_own, until


class Operator:
    """Runs commands beside the system, and keeps what was run."""

    def __init__(self, system: Run, endpoint: str, folder: Path) -> None:
        self.system, self.endpoint, self.folder = system, endpoint, folder
        self.account = str(system.ready["auth_id"])
        self.environment = {**system.env, "MASKING_OPERATOR": "docs", "COLUMNS": "200"}
        self.run: list[Synopsis] = []

    def __call__(self, command: str, code: int = 0, say: str | None = None) -> str:
        """What a command of ours prints, once it has ended with this code."""
        self.run += synopses(command)
        words = shlex.split(command)[1:]
        with contextlib.chdir(self.folder), logging_of_its_own():
            done: Result = CliRunner().invoke(app, words, env=self.environment, input=say, prog_name="masking")
        assert done.exit_code == code, f"{command}\n{done.output}\n{done.exception!r}"
        return done.stdout

    def told(self, command: str, code: int = 0) -> Any:
        """The same as an object."""
        return json.loads(self(f"{command} --json", code))

    def bash(self, command: str, within: float = 60) -> str:
        """What any command prints, once it has succeeded. Its words are kept as those of a page are read."""
        self.run += synopses(command)
        env = {**self.environment, "PATH": f"{Path(sys.executable).parent}:{self.environment['PATH']}"}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command], cwd=self.folder, env={**env, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, timeout=within, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @property
    def database_url(self) -> str:
        return running_database_url(Path(self.system.env["MASKING_DATA"]) / "postgres") or ""

    def file(self, name: str, content: str) -> Path:
        path = self.folder / name
        path.write_text(content)
        return path

    def sql(self, statement: str) -> None:
        with psycopg.connect(self.database_url) as connection:
            connection.execute(statement)

    def keyring(self) -> Keyring:
        return load_keyring(Settings(keys_file=Path(self.system.env["MASKING_DATA"]) / "keys.json"))

    def session(self, to: str = "takes") -> dict[str, Any]:
        """A session whose callbacks go to a customer's endpoint."""
        self.sql("DELETE FROM routes")
        return self.system.create(callback_url=f"{self.endpoint}/{to}")

    def settled(self, to: str = "takes") -> str:
        """The id of a session with a call, whose bill is closed."""
        session = self.session(to)
        self(f"masking phones call {FIRST} {plus(session)} --hangs-up-after 30")
        uuid: str = session["session_uuid"]
        self.system.http.delete(f"{self.system.api}/{uuid}/").raise_for_status()
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            closed = "SELECT FROM sessions WHERE session_uuid = %s AND settled_at IS NOT NULL"
            until(lambda: connection.execute(closed, (uuid,)).fetchone() is not None)
        return uuid


def plus(session: dict[str, Any]) -> str:
    return f"+{str(session['virtual_number']).removeprefix('+')}"
