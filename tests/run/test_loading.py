"""Ctrl-C while a command is still being loaded: it ends, and says nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from masking import cli
from masking.loading import loading
from tests.docs.blocks import ROOT

HELD = """
import sys, time

class Held:
    def find_spec(self, name, *_):
        if name == {module!r}:
            print("loading", flush=True)
            time.sleep(60)

sys.meta_path.insert(0, Held())
"""
"""What Python runs first: it comes no further than to the import of one module."""


@pytest.mark.parametrize(
    ("words", "module"),
    [
        (["--help"], "masking.cli"),
        (["--help"], "typer"),
        (["numbers", "list"], "masking.operate.number_questions"),
        (["run"], "masking.run.command"),
        (["worker"], "temporalio"),
    ],
)
def test_a_command_that_is_stopped_while_it_is_loaded_says_nothing(
    tmp_path: Path, words: list[str], module: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(HELD.format(module=module))
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    command = [sys.executable, "-m", "masking", *words]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as begun:
        assert begun.stdout is not None
        assert begun.stdout.readline() == b"loading\n"
        begun.send_signal(signal.SIGINT)
        _, said = begun.communicate(timeout=30)
    assert said == b""
    # A shell reports both as 130.
    assert begun.returncode in (-signal.SIGINT, 130)


def test_ctrl_c_is_heard_as_before_once_it_is_loaded() -> None:
    before = signal.getsignal(signal.SIGINT)
    with loading():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is before is signal.default_int_handler


def test_who_ignores_ctrl_c_goes_on_doing_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with loading():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_loads_as_ever() -> None:
    def handler() -> object:
        with loading():
            return signal.getsignal(signal.SIGINT)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(handler).result() is signal.default_int_handler


def test_a_command_that_is_stopped_before_it_begins_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", stopped)
    with pytest.raises(SystemExit) as leaving:
        cli._written_or_told()
    assert (leaving.value.code, *capsys.readouterr()) == (130, "", "")
