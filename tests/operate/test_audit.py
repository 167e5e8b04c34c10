"""`masking audit` where there is neither a database nor a server: packs, keys, and what is told of wrong ones."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict
from typer.testing import CliRunner, Result

from masking.audit.keys import KeyFile
from masking.audit.pack import Record
from masking.audit.payloads import unsealed
from masking.cli import app
from tests.audit.packed import SIGNER, recorded

pytestmark = pytest.mark.anyio

PROVEN_BY = ("--signer", SIGNER.public_key)


async def runs(folder: Path, *arguments: object) -> Result:
    nowhere = {
        "MASKING_DATA": str(folder / "none"),
        "DATABASE_URL": "",
        "MASKING_KEYS": "",
        "MASKING_KEYS_FILE": "",
    }
    return await asyncio.to_thread(CliRunner().invoke, app, ["audit", *map(str, arguments)], env=nowhere)


async def test_a_pack_and_its_key_are_all_it_takes(tmp_path: Path) -> None:
    it, pack, key = await recorded("answered-r2"), tmp_path / "it.evidence", tmp_path / "it.key"
    pack.write_bytes(it.content())
    key.write_text(KeyFile.of(it.uuid, it.cipher).model_dump_json())

    proven = await runs(tmp_path, "verify", pack, "--key", key, *PROVEN_BY)
    assert (proven.exit_code, proven.stdout.splitlines()[-1]) == (0, "All of it is proven.")
    shown = await runs(tmp_path, "show", pack, "--key", key)
    assert shown.exit_code == 0, shown.output
    assert "+1 202 ••• ••01" in shown.stdout
    assert "Bill, closed: 2 legs, 240 s billed, 0.03400 USD" in shown.stdout

    without = await runs(tmp_path, "verify", pack, *PROVEN_BY)
    assert without.exit_code == 3
    assert "the session's key is not at hand; --key names its file (no database: " in without.stdout
    unread = await runs(tmp_path, "show", pack)
    assert (unread.exit_code, "it cannot be read: the session's key is not at hand" in unread.stderr) == (2, True)

    pack.write_bytes(it.content().replace(b'"eventId":"12"', b'"eventId":"13"'))
    altered = await runs(tmp_path, "show", pack, "--key", key)
    assert altered.exit_code == 1
    assert "the pack was altered: line 13: history event 12 was altered" in altered.stderr


async def test_of_a_session_that_was_refused_there_is_an_open_pack(tmp_path: Path) -> None:
    it, pack = await recorded("refused-r2"), tmp_path / "it.evidence"

    def opened(records: list[Record]) -> list[Record]:
        events = (MessageToDict(unsealed(record.body["event"], it.cipher)) for record in records)
        return [record._replace(body=record.body | {"event": event})
                for record, event in zip(records, events, strict=True)]  # fmt: skip

    pack.write_bytes(it.content(opened, is_open=True, data_key_id=""))
    assert (await runs(tmp_path, "verify", pack, *PROVEN_BY)).exit_code == 0
    told = json.loads((await runs(tmp_path, "show", pack, "--json")).stdout)
    assert [entry["what"] for entry in told["entries"]] == ["created", "refused"]
    assert told["entries"][1]["told"] == "Number pool exhausted or not available."


async def test_what_is_wrong_is_told_with_what_to_do(tmp_path: Path) -> None:
    it, pack, key = await recorded("quiet-r2"), tmp_path / "it.evidence", tmp_path / "it.key"
    pack.write_bytes(it.content())
    key.write_text("{}\n")
    for arguments, words in (
        (("verify",), "say which"),
        (("verify", tmp_path), "--all for every pack of an archive"),
        (("verify", pack, "--key", key), "this is no key of a session"),
        (("verify", "--all", tmp_path, "--key", key), "the keys of an archive come from this system"),
        (("verify", "--all"), "is no folder: name one, or set MASKING_ARCHIVE"),
        (("verify", "--all", pack), "is no folder"),
        (("show", key), "this is no evidence pack"),
        (("export", "x"), "no database"),
        (("key", "x"), "no database"),
    ):
        done = await runs(tmp_path, *arguments)
        assert (done.exit_code, words in done.stderr) == (2, True), (arguments, done.output)
    nothing = await runs(tmp_path, "verify", key)
    assert (nothing.exit_code, "line 1: this is no evidence pack" in nothing.stdout) == (1, True), nothing.output
    empty = tmp_path / "folder"
    empty.mkdir()
    assert "0 packs" in (await runs(tmp_path, "verify", "--all", empty)).stdout
