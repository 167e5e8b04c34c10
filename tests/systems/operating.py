"""Who runs the commands that pages list, beside a running system."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import sys
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, NamedTuple

import psycopg
from typer.testing import CliRunner, Result

from masking.cli import app
from masking.embedded.postgres import running_database_url
from masking.privacy.key_files import load_keyring
from masking.privacy.keyring import Keyring
from masking.settings import Settings
from tests.docs.blocks import ROOT, Synopsis, synopses
from tests.processes.running import FIRST, Run, logging_of_its_own, until


def make(target: str) -> tuple[str, ...]:
    """The command for a target of the Makefile, without making the environment anew."""
    return ("make", "-C", str(ROOT), "-o", ".venv/.ready", f"BIN={Path(sys.executable).parent}", target)


class MadeRun(Run):
    """A running `make run`, which tells people what there is, and ends by Ctrl-C."""

    command = make("run")

    def _told(self) -> dict[str, Any] | None:
        said = self.said()
        if "Ctrl-C stops everything" not in said:
            return None
        facts = dict(re.findall(r"│ (API|auth id|token|Temporal UI|codec|phones) +(\S+)", said))
        return {
            "api_url": facts["API"].partition("/v1/")[0],
            "auth_id": facts["auth id"],
            "auth_token": facts["token"],
            "simulator_url": facts["phones"],
            "temporal_ui_url": facts["Temporal UI"],
            "codec_url": facts["codec"],
        }

    def interrupt(self) -> None:
        """Ctrl-C, as a terminal tells it: all processes of the group."""
        os.killpg(self.process.pid, signal.SIGINT)


class Others(NamedTuple):
    """What goes on in an account of its own, whose sessions and numbers nobody else touches."""

    begun: Popen[str]
    account: str


class Operator:
    """Runs commands beside the system, and keeps what was run.

    Args:
        endpoint: a customer's, for callbacks.
        others: what goes on meanwhile, on an account of its own.
    """

    def __init__(self, system: Run, endpoint: str, folder: Path, others: Others | None = None) -> None:
        self.system, self.endpoint, self.folder, self.others = system, endpoint, folder, others
        self.account = str(system.ready["auth_id"])
        self.environment = {**system.env, "MASKING_OPERATOR": "docs", "COLUMNS": "200"}
        self.run: list[Synopsis] = []

    def __call__(self, command: str, code: int | None = 0, say: str | None = None) -> str:
        """What a command of ours prints, once it has ended with this code; with any, if that is None."""
        self.run += synopses(command)
        words = shlex.split(command)[1:]
        with contextlib.chdir(self.folder), logging_of_its_own():
            done: Result = CliRunner().invoke(app, words, env=self.environment, input=say, prog_name="masking")
        assert code in (None, done.exit_code), f"{command}\n{done.output}\n{done.exception!r}"
        return done.stdout

    def told(self, command: str, code: int = 0) -> Any:
        """The same as an object."""
        return json.loads(self(f"{command} --json", code))

    def bash(self, command: str, within: float = 60) -> str:
        """What any command prints, once it has succeeded. Its words are kept as those of a page are read."""
        return self.ended(self.begin(command), within)

    def begin(self, command: str) -> Popen[str]:
        """Any command, which goes on beside others."""
        self.run += synopses(command)
        env = {**self.environment, "PATH": f"{Path(sys.executable).parent}:{self.environment['PATH']}"}
        return Popen(
            ["bash", "-euo", "pipefail", "-c", command], cwd=self.folder, env={**env, "PYTHONPATH": str(ROOT)},
            stdout=PIPE, stderr=PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def ended(self, begun: Popen[str], within: float) -> str:
        """What a command that was begun prints, once it has succeeded."""
        try:
            out, err = begun.communicate(timeout=within)
        finally:
            end(begun)
        assert begun.returncode == 0, f"{begun.args!r}\n{out}\n{err}"
        return out

    def make(self, target: str) -> str:
        """What a target of the Makefile prints, once it has succeeded."""
        self.run += synopses(f"make {target}")
        return self.bash(shlex.join(make(target)))

    @property
    def database_url(self) -> str:
        return running_database_url(Path(self.system.env["MASKING_DATA"]) / "postgres") or ""

    def file(self, name: str, content: str) -> Path:
        path = self.folder / name
        path.write_text(content)
        return path

    def forget_calls(self) -> None:
        """Leave its account as if nobody had called anybody yet."""
        of_account = "SELECT session_uuid FROM sessions WHERE account_id = %s"
        with psycopg.connect(self.database_url) as connection:
            connection.execute(f"DELETE FROM routes WHERE session_uuid IN ({of_account})", (self.account,))

    def wait_for_others(self) -> None:
        """Return when nothing goes on any more with the others, nor any session of theirs."""
        others = self.others
        assert others is not None
        until(lambda: others.begun.poll() is not None, within=180)
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            settled = "SELECT bool_and(settled_at IS NOT NULL) FROM sessions WHERE account_id = %s"
            until(lambda: connection.execute(settled, (others.account,)).fetchone() == (True,))

    def keyring(self) -> Keyring:
        return load_keyring(Settings(keys_file=Path(self.system.env["MASKING_DATA"]) / "keys.json"))

    def session(self, to: str = "takes") -> dict[str, Any]:
        """A session whose callbacks go to a customer's endpoint."""
        self.forget_calls()
        return self.system.create(callback_url=f"{self.endpoint}/{to}")

    def settled(self, to: str = "takes") -> str:
        """The id of a session with a call, whose bill is closed."""
        session = self.session(to)
        self(f"masking phones call {FIRST} {plus(session)} --hangs-up-after 30")
        uuid: str = session["session_uuid"]
        self.system.expire(uuid)
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            closed = "SELECT FROM sessions WHERE session_uuid = %s AND settled_at IS NOT NULL"
            until(lambda: connection.execute(closed, (uuid,)).fetchone() is not None)
        return uuid


def end(begun: Popen[str]) -> None:
    """Leave nothing of a command that was begun."""
    if begun.poll() is None:
        os.killpg(begun.pid, signal.SIGKILL)
        begun.communicate(timeout=10)


def plus(session: dict[str, Any]) -> str:
    return f"+{str(session['virtual_number']).removeprefix('+')}"
