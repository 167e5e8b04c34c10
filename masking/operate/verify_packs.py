"""`masking audit verify`: one pack, or all of an archive."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from masking.command_line import AsJson, or_exit, printable
from masking.errors import MaskingError, StartupError
from masking.operate.audit import KeyOption, Offline, Signer, app, keys_for, own_signer
from masking.operate.progress import progress
from masking.operate.sessions import Numbers
from masking.operate.system import operated_system
from masking.settings import load_settings
from masking.shortened import with_shortened_numbers

if TYPE_CHECKING:
    from masking.audit.archive import Archive
    from masking.audit.keys import Keys
    from masking.audit.many import Task
    from masking.audit.verification import Report

HEADERS_AT_ONCE = 16
"""Of packs in object storage, each a request of its own."""

PROVEN, DIFFERS, NOT_DONE = "proven", "differs", "not done"
EXIT_CODES = {PROVEN: 0, DIFFERS: 1, NOT_DONE: 3}

MEANING = {
    "bytes": "every byte is as it was written",
    "signature": "the signature is of these bytes",
    "signer": "who was to sign did",
    "history": "the history is whole",
    "replay": "today's workflow code does what the history says",
    "bill": "the recorded bill follows from the events",
    "state": "the stored session follows from the events",
    "callbacks": "the stored callbacks follow from the events",
    "decisions": "the connected calls are those that were decided",
    "ledger": "the stored money follows from the events",
}
"""What a check proves, for people."""


@app.command()
def verify(
    place: Annotated[
        str | None,
        typer.Argument(
            help="An evidence pack; with --all, an archive: a folder, or s3://BUCKET/PREFIX, gs://…, az://….",
            metavar="FILE|FOLDER|URL",
            show_default=False,
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All packs of an archive, this system's unless one is named.")
    ] = False,
    key: KeyOption = None,
    offline: Offline = False,
    signer: Signer = None,
    numbers: Numbers = False,
    as_json: AsJson = False,
) -> None:
    """Check an evidence pack: its bytes, its signature, and that its history gives what is stored.

    Exits with 0 when all of it is proven, with 1 when something was altered or differs, and with 3 when nothing
    differs but not everything could be proven, for want of the session's key for instance.
    """
    if every:
        outcome = or_exit(lambda: _verify_all(place, key, offline, signer, as_json=as_json))
    else:
        outcome = or_exit(lambda: _verify_one(place, key, offline, signer, numbers, as_json=as_json))
    # Temporal's core may abort an interpreter that ends at once (sdk-python #300).
    asyncio.run(asyncio.sleep(0.05))
    if code := EXIT_CODES[outcome]:
        raise typer.Exit(code)


def _verify_one(
    place: str | None, key: Path | None, offline: bool, signer: str | None, numbers: bool, *, as_json: bool
) -> str:
    # They load Temporal's client, and the workflows.
    from masking.audit.keys import Keys
    from masking.audit.packs import read_file
    from masking.audit.verification import verify as verified

    if place is None or "://" in place or Path(place).is_dir():
        raise MaskingError("say which: the file of an evidence pack, or --all for every pack of an archive")
    path = Path(place)
    pack = read_file(path)

    async def check() -> Report:
        keys = Keys(signer=signer or own_signer())
        if pack.header is not None:
            keys = await keys_for(pack.header, key, offline, signer, looks=numbers)
        return await verified(pack, keys)

    report = _shown(asyncio.run(check()), numbers)
    if as_json:
        typer.echo(json.dumps(_plain(str(path), report)))
        return str(report.outcome)
    if report.code is not None:
        code = f"{report.code.version} {report.code.commit}".strip()
        told = f"Session {report.session_uuid}, exported by masking {code}, signed by {report.public_key}"
        typer.echo(printable(told))
    for line in _lines(report):
        typer.echo(printable(line))
    typer.echo(_CONCLUSIONS[report.outcome])
    return str(report.outcome)


def _lines(report: Report) -> Iterator[str]:
    """A line for each check, and what was found; checks that were not done for one reason stand together."""
    for (state, findings), alike in groupby(report.checks, key=lambda check: (str(check.state), check.findings)):
        names = [check.name for check in alike]
        if state == PROVEN:
            yield from (f"{state:>9}  {name}: {MEANING[name]}" for name in names)
        else:
            yield f"{state:>9}  {', '.join(names)}"
        yield from (f"           - {finding}" for finding in findings)


_CONCLUSIONS = {
    PROVEN: "All of it is proven.",
    DIFFERS: "Something was altered, or is not what the events give.",
    NOT_DONE: "Nothing differs, but not everything could be proven.",
}


def _verify_all(place: str | None, key: Path | None, offline: bool, signer: str | None, *, as_json: bool) -> str:
    from masking.audit.chosen_archive import open_archive
    from masking.audit.many import verify_many

    if key is not None:
        raise MaskingError("--key is of one session; the keys of an archive come from this system")
    place = place or load_settings().archive_place
    archive = open_archive(place)
    counts: Counter[str] = Counter({PROVEN: 0, DIFFERS: 0, NOT_DONE: 0})
    altered, reasons = [], Counter[str]()
    names = list[str]()
    with progress("Listing packs", quiet=as_json) as done:
        for name in archive.names():
            names.append(name)
            done(1)
    names.sort()
    with progress("Verifying packs", len(names), quiet=as_json) as done:
        for task, full in verify_many(_tasks(archive, place, names, offline, signer)):
            report = _shown(full, numbers=False)
            counts[report.outcome] += 1
            if report.outcome == DIFFERS:
                altered.append((archive.where(task.name), report))
            elif report.outcome == NOT_DONE:
                reasons[next(each.findings[0] for each in report.checks if each.state == NOT_DONE)] += 1
            done(1)
    if as_json:
        told = {"packs": len(names), **counts, "differ": [_plain(where, report) for where, report in altered]}
        typer.echo(json.dumps(told))
    else:
        for where, report in altered:
            for each in report.checks:
                for finding in each.findings if each.state == DIFFERS else ():
                    typer.echo(printable(f"{where}: {each.name}: {finding}"))
        for reason, count in reasons.most_common(10):
            typer.echo(printable(f"{count} not proven: {reason}"))
        typer.echo(f"{len(names)} packs: {counts[PROVEN]} proven, {counts[DIFFERS]} altered or different,"
                   f" {counts[NOT_DONE]} not proven in all")  # fmt: skip
    return next((each for each in (DIFFERS, NOT_DONE) if counts[each]), PROVEN)


def _tasks(archive: Archive, place: str, names: list[str], offline: bool, signer: str | None) -> Iterator[list[Task]]:
    """What is to be verified, in batches, each with its key."""
    from masking.audit.keys import Keys
    from masking.audit.many import IN_HAND, Task

    named = signer or own_signer()
    with ThreadPoolExecutor(HEADERS_AT_ONCE) as pool:
        for begin in range(0, len(names), IN_HAND):
            batch = names[begin : begin + IN_HAND]
            uuids = [None] * len(batch) if offline else list(pool.map(archive.session_of, batch))
            keys = asyncio.run(_keys([uuid for uuid in uuids if uuid], named)) if any(uuids) else {}
            yield [
                Task(place, name, keys.get(uuid or "", Keys(signer=named)))
                for name, uuid in zip(batch, uuids, strict=True)
            ]


async def _keys(session_uuids: list[str], signer: str | None) -> dict[str, Keys]:
    from masking.audit.keys import Keys
    from masking.operate.session_keys import keys_of

    try:
        async with operated_system(load_settings()) as system:
            return await keys_of(system, session_uuids, signer)
    except StartupError as error:
        return {uuid: Keys(None, f"the keys are not at hand ({error})", signer) for uuid in session_uuids}


def _shown(report: Report, numbers: bool) -> Report:
    """The report as it may be shown: numbers are shortened unless asked for."""
    if numbers:
        return report
    checks = [
        check.model_copy(update={"findings": tuple(map(with_shortened_numbers, check.findings))})
        for check in report.checks
    ]
    return report.model_copy(update={"checks": tuple(checks)})


def _plain(where: str, report: Report) -> dict[str, object]:
    return {"file": where, "outcome": str(report.outcome), **report.model_dump(mode="json")}
