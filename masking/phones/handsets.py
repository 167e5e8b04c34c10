"""Two handsets and the line between them, drawn for a terminal."""

from __future__ import annotations

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from masking.carriers.simulator.phones import PhoneView
from masking.carriers.simulator.records import CallRecord, Leg, TranscriptLine

_COLOURS = {"idle": "dim", "dialling": "yellow", "ringing": "magenta", "talking": "green"}
SHOWN = 16


def drawn(record: CallRecord, caller: PhoneView, callee: PhoneView | None) -> RenderableType:
    """Both handsets as they are now, and what has happened on the line."""
    handsets = [_handset("caller", record.caller, caller, record)]
    if record.callee is not None and callee is not None:
        handsets.append(_handset("callee", record.callee, callee, record))
    return Group(Columns(handsets, equal=True), told(record, SHOWN))


def told(record: CallRecord, newest: int | None = None) -> Table:
    """What happened on the line, a row each; all of it, or the newest rows."""
    table = Table.grid(padding=(0, 2))
    began = record.caller.began_at
    for line in record.transcript[-newest:] if newest else record.transcript:
        seconds = (line.at - began).total_seconds()
        table.add_row(Text(f"{seconds:7.1f} s", style="dim"), line.leg, Text(line.what, style="bold"), line.detail)
    return table


def outcome(record: CallRecord) -> str:
    """How the call went, in a line."""
    cause = record.caller.cause
    callee = record.callee
    if callee is not None and callee.connected:
        return f"They talked for {callee.duration} s. It ended with {cause.code} {cause.name}."
    if callee is not None:
        return f"The callee did not answer: {callee.cause.code} {callee.cause.name}."
    return f"Nobody was called: {cause.code} {cause.name}."


def _handset(name: str, leg: Leg, phone: PhoneView, record: CallRecord) -> Panel:
    state = phone.state if phone.call_uuid == record.call_uuid else "idle"
    heard = [line for line in record.transcript if line.leg == name and line.what in ("heard", "pressed")]
    rows = Table.grid(padding=(0, 1))
    rows.add_row("state", Text(state, style=_COLOURS[state]))
    rows.add_row("screen", Text(leg.screen or "no number", style="bold"))
    rows.add_row("hears", _last(heard, "heard"))
    rows.add_row("presses", _last(heard, "pressed"))
    return Panel(rows, title=f"{name} {leg.number}", border_style=_COLOURS[state], width=44)


def _last(lines: list[TranscriptLine], what: str) -> str:
    return next((line.detail for line in reversed(lines) if line.what == what), "")
