"""The Temporal worker: `python worker.py`, or `masking worker`."""

from __future__ import annotations

from datetime import timedelta

import httpx
from temporalio.client import Client
from temporalio.worker import PollerBehaviorAutoscaling, Worker

from activities.callbacks import CallbackActivities
from activities.carrier import CarrierActivities
from activities.sessions import SessionActivities
from masking.carriers.voice.calls_api import CallsApi
from masking.carriers.voice.webhooks import PATH as WEBHOOKS
from masking.contract import TASK_QUEUE
from masking.privacy.keyring import Keyring, load_keyring
from masking.process import run_process, until_stopped
from masking.settings import Settings
from masking.storage.database import Database, database_url
from masking.temporal import connect
from workflows.masking_session import MaskingSession

WORKFLOWS = (MaskingSession,)

# After a killed worker, its sessions wait this long before another takes them (temporal-notes.md §2.15).
STICKY_TIMEOUT = timedelta(seconds=2)
GRACE = timedelta(seconds=20)


def build_worker(
    client: Client,
    database: Database,
    keyring: Keyring,
    http: httpx.AsyncClient,
    settings: Settings,
    task_queue: str = TASK_QUEUE,
) -> Worker:
    """The one place where our workflows and activities are put on a worker."""
    sessions = SessionActivities(database, keyring)
    callbacks = CallbackActivities(database, keyring, http)
    carrier = CarrierActivities(database, keyring, carrier_calls(settings, http), f"{settings.base_url}{WEBHOOKS}")
    return Worker(
        client,
        task_queue=task_queue,
        workflows=WORKFLOWS,
        activities=[
            sessions.open_session,
            sessions.change_parties,
            sessions.record_session,
            sessions.count_unreported,
            sessions.settle_session,
            callbacks.deliver_callbacks,
            carrier.call_first_party,
            carrier.warn_calls,
            carrier.end_calls,
        ],
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(),
        activity_task_poller_behavior=PollerBehaviorAutoscaling(),
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        graceful_shutdown_timeout=GRACE,
    )


def callback_http(settings: Settings) -> httpx.AsyncClient:
    """The HTTP client that talks to customers: time-outs everywhere, no redirects, no proxies of the environment."""
    timeout = httpx.Timeout(settings.callback_read_timeout, connect=settings.callback_connect_timeout)
    return httpx.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=False)


def carrier_calls(settings: Settings, http: httpx.AsyncClient) -> CallsApi | None:
    """The carrier that places and ends calls for us; None where the settings name none."""
    if settings.carrier_api_url is None or settings.carrier_auth_token is None:
        return None
    token = settings.carrier_auth_token.get_secret_value()
    return CallsApi(http, settings.carrier_api_url.rstrip("/"), settings.carrier_auth_id, token)


async def serve(settings: Settings) -> None:
    """Work until told to stop; what is under way is finished first."""
    keyring = load_keyring(settings)
    client = await connect(keyring)
    async with (
        Database(database_url(settings)) as database,
        callback_http(settings) as http,
        build_worker(client, database, keyring, http, settings),
    ):
        await until_stopped()


if __name__ == "__main__":
    run_process(serve, "worker")
