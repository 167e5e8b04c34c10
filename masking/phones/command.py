"""`masking phones`: call, watch and steer the phones of a running simulator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, TypeVar

import typer
from pydantic import ValidationError

from masking.carriers.simulator.chaos import ChaosSwitches
from masking.carriers.simulator.client import SimulatorClient
from masking.carriers.simulator.phones import MAGIC, Behaviour, PhoneView
from masking.carriers.simulator.records import CallRecord
from masking.command_line import AsJson, or_exit, screen
from masking.errors import MaskingError
from masking.process import EXIT_CANNOT_START
from masking.settings import load_settings

app = typer.Typer(name="phones", no_args_is_help=True, add_completion=False)

EXIT_NOT_CONNECTED = 1
REFRESH_S = 0.1

Number = Annotated[str, typer.Argument(help="A phone's number, E.164.", metavar="NUMBER")]
OnRing = Literal["answer", "busy", "reject", "ignore", "manual"]

ResultT = TypeVar("ResultT")


@app.command()
def call(
    number: Number,
    to: Annotated[str, typer.Argument(help="The number to call: a session's virtual number.", metavar="TO")],
    presses: Annotated[
        list[str] | None, typer.Option(help="Keys to press when asked, once for each time; may be repeated.")
    ] = None,
    hangs_up_after: Annotated[float | None, typer.Option(help="Hang up after so many seconds of talking.")] = None,
    hidden: Annotated[bool, typer.Option("--hidden", help="Withhold the number.")] = False,
    patience: Annotated[float, typer.Option(help="Give up watching after so many real seconds.", min=1)] = 3600,
    as_json: AsJson = False,
) -> None:
    """Have a phone call a number, and watch both handsets until the call is over.

    Exits with 0 when the two were connected, with 1 when they were not. The callee does what
    its own behaviour says: by default it answers after 2 s. Ctrl-C hangs up.
    """

    async def watch(phones: SimulatorClient) -> CallRecord:
        if presses or hangs_up_after is not None or hidden:
            current = (await phones.phone(number)).behaviour
            changed = {"presses": tuple(presses or current.presses), "hidden": hidden or current.hidden}
            if hangs_up_after is not None:
                changed["hangs_up_after"] = hangs_up_after
            await phones.behave(number, Behaviour.model_validate({**current.model_dump(), **changed}))
        call_uuid = await phones.dial(number, to)
        try:
            async with asyncio.timeout(patience):
                return await _watched(phones, call_uuid, quiet=as_json)
        except TimeoutError:
            raise MaskingError(f"the call was not over within {patience:g} s") from None
        except asyncio.CancelledError:
            await phones.hang_up(number)
            raise

    record = _on_network(watch)
    from masking.phones.handsets import outcome

    typer.echo(record.model_dump_json() if as_json else f"\n{outcome(record)}")
    connected = record.callee is not None and record.callee.connected
    raise typer.Exit(0 if connected else EXIT_NOT_CONNECTED)


@app.command()
def show(number: Number, as_json: AsJson = False) -> None:
    """Show what a person would see on a phone."""
    _show_phone(_on_network(lambda phones: phones.phone(number)), as_json=as_json)


@app.command()
def behave(
    number: Number,
    on_ring: Annotated[OnRing, typer.Option(help="What it does when it rings.")] = "answer",
    answers_after: Annotated[float, typer.Option(help="Seconds of ringing before it does.", min=0)] = 2.0,
    hangs_up_after: Annotated[float | None, typer.Option(help="Seconds of talking.", min=0)] = None,
    hidden: Annotated[bool, typer.Option("--hidden", help="Withhold its number when it calls.")] = False,
    presses: Annotated[list[str] | None, typer.Option(help="Keys when asked; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell a phone what to do by itself from now on."""

    async def tell(phones: SimulatorClient) -> PhoneView:
        behaviour = Behaviour(
            on_ring=on_ring,
            answers_after=answers_after,
            hangs_up_after=hangs_up_after,
            hidden=hidden,
            presses=tuple(presses or ()),
        )
        await phones.behave(number, behaviour)
        return await phones.phone(number)

    _show_phone(_on_network(tell), as_json=as_json)


@app.command()
def answer(number: Number, as_json: AsJson = False) -> None:
    """Pick up a phone that rings."""
    _act(number, lambda phones: phones.answer(number), as_json=as_json)


@app.command()
def hangup(number: Number, as_json: AsJson = False) -> None:
    """End the call that a phone takes part in."""
    _act(number, lambda phones: phones.hang_up(number), as_json=as_json)


@app.command()
def press(
    number: Number, digits: Annotated[str, typer.Argument(help="Keys: 0-9, * and #.")], as_json: AsJson = False
) -> None:
    """Press keys on a phone that takes part in a call."""
    _act(number, lambda phones: phones.press(number, digits), as_json=as_json)


@app.command()
def calls(limit: Annotated[int, typer.Option(help="How many.", min=1, max=100)] = 20, as_json: AsJson = False) -> None:
    """List the newest calls."""
    found = _on_network(lambda phones: phones.calls(limit))
    if as_json:
        typer.echo(json.dumps({"calls": [record.model_dump(mode="json") for record in found]}))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("began", "caller", "callee", "screen of the callee", "talked", "ended with", "call")
    for record in found:
        callee = record.callee
        cause = f"{record.caller.cause.code} {record.caller.cause.name}" if record.ended else "goes on"
        shown = (callee.number, callee.screen or "no number", f"{callee.duration} s") if callee else ("", "", "")
        began = f"{record.caller.began_at:%H:%M:%S}"
        table.add_row(began, record.caller.number, *shown, cause, Text(record.call_uuid, no_wrap=True))
    screen().print(table)


@app.command()
def transcript(
    call_uuid: Annotated[str, typer.Argument(help="The call's id, as `calls` lists it.", metavar="CALL")],
    as_json: AsJson = False,
) -> None:
    """Tell one call from its beginning: what each leg saw, heard and pressed."""
    record = _on_network(lambda phones: phones.call(call_uuid))
    if as_json:
        typer.echo(record.model_dump_json())
        return
    from masking.phones.handsets import outcome, told

    screen().print(told(record))
    typer.echo(f"\n{outcome(record)}")


@app.command()
def numbers(as_json: AsJson = False) -> None:
    """List the numbers in service, and where each asks what to do with a call."""
    found = _on_network(lambda phones: phones.numbers())
    if as_json:
        typer.echo(json.dumps({"numbers": [each.model_dump() for each in found]}))
        return
    for each in found:
        typer.echo(f"{each.number}  {each.answer_url}")
    if not found:
        typer.echo("No number is in service.")


@app.command()
def chaos(
    drop: Annotated[float, typer.Option(help="Share of tries that are lost, 0 to 0.9.", min=0, max=0.9)] = 0,
    duplicate: Annotated[float, typer.Option(help="Share of reports sent twice.", min=0, max=1)] = 0,
    delay: Annotated[float, typer.Option(help="Share of reports that come late.", min=0, max=1)] = 0,
    reorder: Annotated[float, typer.Option(help="Share of reports that are overtaken.", min=0, max=1)] = 0,
    late_by: Annotated[float, typer.Option(help="How late at most, seconds.", min=0, max=3600)] = 5.0,
    seed: Annotated[int, typer.Option(help="The same seed makes the same choices.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Switch faults on; without options, switch them off."""
    switches = ChaosSwitches(drop=drop, duplicate=duplicate, delay=delay, reorder=reorder, late_by=late_by, seed=seed)
    _on_network(lambda phones: phones.make_chaos(switches))
    if as_json:
        typer.echo(switches.model_dump_json())
    else:
        faults = ", ".join(f"{name} {value:g}" for name, value in switches if name not in ("late_by", "seed") and value)
        typer.echo(f"Faults: {faults or 'none'}.")


@app.command()
def magic(as_json: AsJson = False) -> None:
    """List the numbers whose phones provoke an outcome by themselves."""
    numbers = {f"+120255501{ending}": behaviour for ending, behaviour in MAGIC.items()}
    if as_json:
        typer.echo(json.dumps({number: each.model_dump(mode="json") for number, each in numbers.items()}))
        return
    for number, behaviour in numbers.items():
        told = behaviour.model_dump(exclude_defaults=True)
        typer.echo(f"{number}  " + ", ".join(f"{name} {value}" for name, value in told.items()))


async def _watched(phones: SimulatorClient, call_uuid: str, *, quiet: bool) -> CallRecord:
    from rich.console import Console
    from rich.live import Live

    from masking.phones.handsets import drawn

    with Live(console=Console(quiet=quiet), auto_refresh=False) as live:
        while True:
            record = await phones.call(call_uuid)
            caller = await phones.phone(record.caller.number)
            callee = await phones.phone(record.callee.number) if record.callee else None
            live.update(drawn(record, caller, callee), refresh=True)
            if record.reported:
                return record
            await asyncio.sleep(REFRESH_S)


def _act(number: str, action: Callable[[SimulatorClient], Awaitable[None]], *, as_json: bool) -> None:
    async def act(phones: SimulatorClient) -> PhoneView:
        await action(phones)
        return await phones.phone(number)

    _show_phone(_on_network(act), as_json=as_json)


def _show_phone(view: PhoneView, *, as_json: bool) -> None:
    if as_json:
        typer.echo(view.model_dump_json())
        return
    does: dict[str, Any] = view.behaviour.model_dump(exclude_defaults=True)
    typer.echo(f"{view.number} is {view.state}" + (f"; its screen shows {view.screen}" if view.screen else ""))
    if does:
        typer.echo("by itself: " + ", ".join(f"{name} {value}" for name, value in does.items()))


def _on_network(action: Callable[[SimulatorClient], Awaitable[ResultT]]) -> ResultT:
    """Run one action, and exit with 2 and a line that says what to do when it cannot be done."""

    async def act() -> ResultT:
        async with SimulatorClient(load_settings().simulator_url) as phones:
            return await action(phones)

    try:
        return or_exit(lambda: asyncio.run(act()))
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        typer.echo(f"masking: {fault['loc'][0]}: {fault['msg']}", err=True)
        raise typer.Exit(EXIT_CANNOT_START) from None
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_NOT_CONNECTED) from None
