"""A session's story on the screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from masking.command_line import printable, screen
from masking.domain.timeline import Entry, Happened, Timeline
from masking.shortened import shortened

_STYLES = {
    Happened.DECLINED: "yellow",
    Happened.PIN: "yellow",
    Happened.REFUSED: "red",
    Happened.RESUMED: "yellow",
    Happened.ERASED: "red",
    Happened.CALLBACK: "dim",
    Happened.SETTLED: "bold",
}


def show_by(in_full: bool) -> Callable[[str], str]:
    """How numbers are shown: shortened unless asked for in full."""
    return (lambda number: number) if in_full else shortened


def print_timeline(told: Timeline, console: Console | None = None) -> None:
    """The story for a person: a heading, a table, the money."""
    console = console or screen()
    console.print(_plain(f"Session {told.session_uuid} of {told.account_id}", style="bold"), soft_wrap=True)
    parties = [f"first party {told.first_party or 'nobody'}", f"second party {told.second_party or 'nobody'}"]
    if told.virtual_number:
        console.print(_plain(f"{told.phase}; {', '.join(parties)}, through {told.virtual_number}"), soft_wrap=True)
    else:
        console.print(_plain(told.phase), soft_wrap=True)
    table = Table("UTC", "who", "what", "", "amount", box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for column in (*table.columns[:3], table.columns[4]):
        column.no_wrap = True
    table.columns[3].overflow = "fold"
    table.columns[4].justify = "right"
    day: date | None = None
    for entry in told.entries:
        if entry.at.date() != day:
            day = entry.at.date()
            table.add_row("", "", Text(f"{day:%Y-%m-%d}", style="dim"))
        table.add_row(*map(_plain, _cells(entry)), style=_STYLES.get(entry.what, ""))
    console.print(table)
    for remark in told.remarks:
        console.print(_plain(f"Remark: {remark}"), soft_wrap=True)
    for line in _money(told):
        console.print(_plain(line), soft_wrap=True)


def _plain(line: str, style: str = "") -> Text:
    """Carriers, other services and makers of packs have a say in it: it is no markup, and steers no terminal."""
    return Text(printable(line), style=style)


def _cells(entry: Entry) -> tuple[str, ...]:
    who = " ".join(each for each in (str(entry.party or ""), entry.number) if each)
    saw = _SAW.get(entry.what, "")
    told = "; ".join(each for each in (f"{saw} {entry.saw}" if saw and entry.saw else "", entry.told) if each)
    amount = "" if entry.amount is None else f"{entry.amount:f}"
    return f"{entry.at:%H:%M:%S}", who, str(entry.what), told, amount


_SAW = {
    Happened.CALLED: "dialled",
    Happened.DECLINED: "dialled",
    Happened.PLACED: "saw",
    Happened.RANG: "saw",
}


def _money(told: Timeline) -> Iterator[str]:
    totals = told.totals
    state = "closed" if totals.closed_at else "so far"
    yield (f"Bill, {state}: {totals.legs} legs, {totals.billed_duration} s billed, {totals.amount:f} {totals.currency}")
    if totals.corrected:
        yield f"Late events: {totals.corrected:+f} {totals.currency}"
