"""The command line: `masking --help`."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Coroutine
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, NoReturn

import typer
from typer.core import TyperGroup

from masking.command_line import AsJson
from masking.errors import StartupError
from masking.loading import loading
from masking.process import EXIT_CANNOT_START, configure_logging, end_with, run_process

if TYPE_CHECKING:
    from masking.settings import Settings


class Group(NamedTuple):
    """A group of commands: what it is about, the module whose `app` it is, and those that add to it."""

    help: str
    modules: tuple[str, ...]


GROUPS = {
    "accounts": Group("Accounts and subaccounts, and their tokens.", ("masking.operate.accounts",)),
    "numbers": Group(
        "Virtual numbers: which there are, and what may be done with them.",
        ("masking.operate.numbers", "masking.operate.number_questions", "masking.operate.plan"),
    ),
    "sessions": Group(
        "Sessions: which there are, what happened in one, ending many, those that do not end, and having lost ones"
        " go on.",
        (
            "masking.operate.sessions",
            "masking.operate.session_list",
            "masking.operate.expire",
            "masking.operate.overdue",
            "masking.operate.resume",
            "masking.operate.restore",
        ),
    ),
    "inbox": Group("Carriers' events: those that wait, and those that came too late.", ("masking.operate.inbox",)),
    "callbacks": Group(
        "Callbacks to customers: those that were not taken, and sending again.", ("masking.operate.callbacks",)
    ),
    "keys": Group("The master keys: their use, and changing them.", ("masking.operate.keys",)),
    "audit": Group(
        "Evidence packs: writing, verifying and reading them. See docs/audit.md.",
        ("masking.operate.audit", "masking.operate.verify_packs"),
    ),
    "privacy": Group("Erasing sessions for good, legal holds, and who looked at what.", ("masking.operate.privacy",)),
    "rates": Group("Rate cards: what calls cost, and why (docs/billing.md).", ("masking.operate.rates",)),
    "ledger": Group("What sessions owe and cost, entry by entry (docs/billing.md).", ("masking.operate.ledger",)),
    "carriers": Group(
        "Carriers: whether they work, and setting them up.", ("masking.operate.carriers", "masking.operate.plivo_setup")
    ),
    "phones": Group(
        "Simulated phones: call, press keys, watch both handsets. Needs a running simulator (`masking run`).",
        ("masking.phones.command",),
    ),
}
"""Loaded when one is asked for: most load a database, and some a Temporal client."""


class _Groups(TyperGroup):
    _only_lists = False

    def format_help(self, ctx: Any, formatter: Any) -> None:
        # It asks for each command to show the first line of its help.
        self._only_lists = True
        super().format_help(ctx, formatter)
        self._only_lists = False

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *GROUPS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in GROUPS:
            return super().get_command(ctx, cmd_name)
        group = GROUPS[cmd_name]
        if self._only_lists:
            return TyperGroup(name=cmd_name, help=group.help)
        with loading():
            first, *_ = [import_module(name) for name in group.modules]
        command = typer.main.get_command(first.app)
        command.help = group.help
        return command


EXIT_INTERRUPTED = 130
CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}

app = typer.Typer(
    name="masking",
    cls=_Groups,
    help="Number masking: Plivo's Masking Session API over Temporal workflows. Settings: docs/settings.md.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(version("masking"))
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""


# Each command imports what it needs: `masking --help` need not load a web server or a Temporal client.


@app.command()
def run(as_json: AsJson = False) -> None:
    """Run the whole system on this machine until Ctrl-C."""
    from masking.run.command import run as run_system

    run_process(lambda settings: run_system(settings, as_json=as_json), "run")


@app.command()
def demo(
    as_json: AsJson = False,
    svg: Annotated[Path | None, typer.Option(help="Draw the story there, as the README shows it.")] = None,
) -> None:
    """Show a masked call from create to the final bill; starts the system if it does not run."""
    from masking.demo.command import demo as play

    _exit_with(lambda settings: play(settings, as_json=as_json, picture=svg))


@app.command()
def gateway() -> None:
    """Run the gateway alone: the sessions API and carrier webhooks."""
    from masking.gateway.server import serve

    run_process(serve, "gateway")


@app.command()
def worker() -> None:
    """Run a Temporal worker alone."""
    from worker import serve

    run_process(serve, "worker")


@app.command()
def simulator() -> None:
    """Run the telephone simulator alone. Not for production."""
    from masking.carriers.simulator.server import serve

    run_process(serve, "simulator")


@app.command()
def migrate() -> None:
    """Bring the tables of DATABASE_URL to this version."""
    import asyncio

    from masking.storage.database import database_url
    from masking.storage.migrate import migrate as bring_up_to_date

    async def bring(settings: Settings) -> int:
        await asyncio.to_thread(bring_up_to_date, database_url(settings))
        typer.echo("The tables are up to date.")
        return 0

    _exit_with(bring)


@app.command()
def contract(as_json: AsJson = False) -> None:
    """Print the names and payloads that callers by Temporal and Nexus may rely on, in any language."""
    import json

    from masking.contract_document import contract_document, contract_lines

    typer.echo(json.dumps(contract_document(), indent=2) if as_json else "\n".join(contract_lines()))


@app.command()
def health(process: Annotated[Literal["gateway", "worker"], typer.Argument(help="Which one.")]) -> None:
    """Ask the gateway or a worker of this machine whether it works; exits with 1 if not."""
    from masking.health import does_its_work

    async def ask(settings: Settings) -> int:
        works = await does_its_work(process, settings)
        typer.echo("ok" if works else f"The {process} does not do its work.")
        return 0 if works else 1

    _exit_with(ask)


def _exit_with(main: Callable[[Settings], Coroutine[Any, Any, int]]) -> NoReturn:
    """Run a command that ends by itself, and exit with what it returns."""
    import asyncio

    from masking.settings import load_settings

    try:
        settings = load_settings()
        configure_logging(settings, "masking")
        sys.exit(asyncio.run(main(settings)))
    except StartupError as error:
        typer.echo(f"masking: {error}", err=True)
        sys.exit(EXIT_CANNOT_START)


def main() -> None:
    """The entry point of the command `masking`."""
    end_with(_written_or_told)


def _written_or_told() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A screen that has no • shows something else in its place, and the rest.
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except KeyboardInterrupt:
        # Before a command has begun; then Typer does so.
        sys.exit(EXIT_INTERRUPTED)
    except OSError as error:
        if error.errno not in CANNOT_WRITE:
            raise
        typer.echo(f"masking: the output is not whole: {error.strerror}", err=True)
        # What is left of it must not fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_CANNOT_START)
