"""What the telephone network records, and how it keeps it."""

from __future__ import annotations

import asyncio
import io
import wave
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from masking.carriers.simulator.audio import MAX_SECONDS
from masking.carriers.simulator.network import Network
from masking.carriers.simulator.phones import Behaviour
from masking.carriers.simulator.recordings import Recordings
from tests.carriers.conftest import ALICE, BOB, NUMBER, Application, connect, reported, until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("file_format", ["wav", "mp3"])
async def test_a_conversation_is_recorded_in_a_real_audio_file(
    network: Network,
    application: Application,
    file_format: str,
    tmp_path: Path,
    http: httpx.AsyncClient,
    address: str,
) -> None:
    connect(application, record=file_format)
    network.phone(BOB).behaviour = Behaviour(hangs_up_after=4)

    record = network.dial(ALICE, NUMBER)
    await until(lambda: bool(application.forms("/recording")))

    form = application.forms("/recording")[0]
    assert form["CallUUID"] == record.call_uuid
    assert form["RecordUrl"] == f"http://carrier.example/media/{form['RecordingID']}.{file_format}"
    seconds = int(form["RecordingDuration"])
    assert 4 <= seconds < 600
    assert 4000 <= int(form["RecordingEndMs"]) - int(form["RecordingStartMs"]) <= seconds * 1000
    name = f"{form['RecordingID']}.{file_format}"
    (file,) = (tmp_path / "recordings").iterdir()
    assert (file.name, file.stat().st_mode & 0o777) == (f"{name}.sealed", 0o600)
    served = await http.get(f"{address}/media/{name}")
    content = served.content
    assert served.headers["Content-Type"] == {"mp3": "audio/mpeg", "wav": "audio/wav"}[file_format]
    assert (await http.get(f"{address}/media/{name}.sealed")).status_code == 404
    assert content[100:200] not in file.read_bytes()
    if file_format == "mp3":
        assert content[0] == 0xFF
        assert content[1] & 0xE0 == 0xE0
        assert len(content) > 2000
    else:
        with wave.open(io.BytesIO(content)) as audio:
            assert (audio.getnchannels(), audio.getframerate()) == (2, 8000)
            assert audio.getnframes() == min(seconds, MAX_SECONDS) * 8000
            assert len(set(audio.readframes(8000))) > 50


def test_recordings_outlive_the_network_and_are_read_with_its_token_and_by_their_own_name_only(tmp_path: Path) -> None:
    one, other = (f"{uuid4()}.wav" for _ in range(2))
    recordings = Recordings(tmp_path / "kept", "a token")
    recordings.record(one, 2)
    audio = recordings.read(one)
    assert audio is not None
    assert Recordings(tmp_path / "kept", "a token").read(one) == audio
    assert Recordings(tmp_path / "kept", "another").read(one) is None
    (tmp_path / "kept" / f"{one}.sealed").rename(tmp_path / "kept" / f"{other}.sealed")
    assert [recordings.read(name) for name in (one, other, f"../{one}")] == [None] * 3


def test_audio_that_an_older_version_wrote_is_put_under_the_key(tmp_path: Path) -> None:
    name = f"{uuid4()}.mp3"
    (tmp_path / name).write_bytes(b"audio of an older version")
    recordings = Recordings(tmp_path, "a token")
    recordings.seal_plain()
    assert recordings.read(name) == b"audio of an older version"
    (file,) = tmp_path.iterdir()
    assert b"older" not in file.read_bytes()


async def test_a_conversation_that_never_was_is_not_recorded(
    network: Network, application: Application, tmp_path: Path
) -> None:
    connect(application, record="wav")
    network.phone(BOB).behaviour = Behaviour(on_ring="busy")

    await reported(application, network.dial(ALICE, NUMBER))
    await asyncio.sleep(0.1)

    assert application.forms("/recording") == []
    assert not (tmp_path / "recordings").exists()
