"""The system that a story is played on: the one that runs already, or one started for the occasion."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.console import Console

from masking.client import MaskingClient
from masking.errors import StartupError
from masking.health import is_healthy
from masking.operate.system import operated_system, with_keys_file
from masking.operate.temporal_client import operated_client
from masking.privacy.key_files import load_keyring
from masking.provision import DemoAccount, demo_account, provisioned_demo_account
from masking.run.system import ReadySystem, running_system, temporal_ui_url
from masking.settings import Settings


@asynccontextmanager
async def system_in_use(settings: Settings, console: Console) -> AsyncIterator[ReadySystem]:
    """The system that runs already with these settings, or one started for the occasion."""
    if not await is_healthy(settings.gateway_url):
        console.print("[bold]masking[/] is starting")
        async with running_system(settings, lambda step: console.print(f"  [dim]·[/] {step}")) as system:
            yield system
        return
    console.print(f"Using the system that runs at {settings.gateway_url}")
    settings = with_keys_file(settings)
    if not await is_healthy(settings.simulator_url):
        raise StartupError(f"the telephone simulator does not answer at {settings.simulator_url}: start it")
    yield ReadySystem(
        api_url=settings.base_url,
        account=await _account(settings),
        simulator_url=settings.simulator_url,
        temporal_ui_url=temporal_ui_url(settings),
        codec_url=None,
        sessions=MaskingClient(await operated_client(settings), lookup=settings.lookup),
        pids={},
    )


async def _account(settings: Settings) -> DemoAccount:
    """The demo account's credentials, also after its token was rotated, where its database can be reached."""
    try:
        async with operated_system(settings) as system, system.database.transaction() as connection:
            return await provisioned_demo_account(settings, connection, system.keyring)
    except StartupError:
        return demo_account(settings, load_keyring(settings))
