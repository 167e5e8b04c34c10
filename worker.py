"""The Temporal worker: `python worker.py`, or `masking worker`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError
from temporalio.worker import PollerBehaviorAutoscaling, Worker, WorkerDeploymentConfig

from activities.archive import ArchiveActivities
from activities.callbacks import CallbackActivities
from activities.carrier import CarrierActivities, Recordings
from activities.plivo import PlivoActivities
from activities.sessions import SessionActivities
from masking.audit.archive import Archive
from masking.audit.chosen_archive import open_archive
from masking.audit.export import code_commit
from masking.audit.schedule import ensure_schedule
from masking.carriers.chosen import orders_of
from masking.carriers.leave import forget_other_credentials, plivo_account, shared_leave, voice_account
from masking.carriers.plivo.configured import plivo_credentials, plivo_sessions
from masking.carriers.protocol import PATH as WEBHOOKS
from masking.carriers.rest import carriers_http
from masking.contract import ARCHIVE_TASK_QUEUE, TASK_QUEUE
from masking.delivery.guard import AddressGuard
from masking.delivery.request import customers_http
from masking.delivery.sender import CallbackSender, Patience
from masking.erasure.retention import retaining
from masking.errors import ArchiveAway
from masking.house import House
from masking.last_written import LastWritten
from masking.lifeline import until_stopped
from masking.nexus_handler import MaskingServiceHandler
from masking.privacy.key_files import load_keyring
from masking.privacy.keyring import Keyring
from masking.privacy.party_hash import party_hash
from masking.process import end_with, run_process
from masking.rate_card import load_rate_card
from masking.recordings.keeper import RecordingKeeper, keeping
from masking.recordings.store import open_store
from masking.set_back import SetBackWatch
from masking.settings import Settings
from masking.storage import key_checks, tables
from masking.storage.database import Database, database_url
from masking.storage.payload_keys import MOST, StoredPayloadKeys
from masking.temporal import connect, with_keys
from masking.workflow_runner import workflow_runner
from workflows.archive_sessions import ArchiveSessions
from workflows.masking_session import MaskingSession

WORKFLOWS = (MaskingSession,)

logger = logging.getLogger("masking.worker")

GRACE = timedelta(seconds=20)

WORKFLOW_TASKS = 16
"""At once. Python runs one after the other anyway, and whoever creates a session waits for those before its own."""
# A batch may be stopped anywhere; whoever waits for the worker to stop waits for both.
ARCHIVE_GRACE = timedelta(seconds=2)


def build_worker(
    client: Client,
    database: Database,
    keyring: Keyring,
    http: httpx.AsyncClient,
    settings: Settings,
    task_queue: str = TASK_QUEUE,
    sender: CallbackSender | None = None,
    keys: StoredPayloadKeys | None = None,
    written: LastWritten | None = None,
) -> Worker:
    """The one place where our workflows and activities are put on a worker.

    Args:
        http: for the carrier, with time-outs.
        sender: takes the callbacks that are queued here; None leaves them to other processes' senders.
        keys: what the client's codec has its keys from; None where it has the key ring alone.
        written: is told what is written of sessions.
    """
    card = load_rate_card(settings)
    house = House(settings, card)
    hashed = party_hash(keyring) if settings.lookup else None
    sessions = SessionActivities(database, keyring, sender, house, keys, hashed, written)
    callbacks = CallbackActivities(sender.wake if sender is not None else lambda: None)
    carrier = CarrierActivities(
        database,
        keyring,
        orders_of(settings, http, shared_leave(database, voice_account(keyring, settings), settings)),
        f"{settings.base_url}{WEBHOOKS}",
        card,
        Recordings(settings.delete_carrier_recordings) if settings.recordings is not None else None,
    )
    at_plivo = plivo_sessions(settings, http, shared_leave(database, plivo_account(keyring, settings), settings))
    plivo = PlivoActivities(database, keyring, at_plivo, settings.base_url, card, house, keys, hashed)
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
            sessions.put_back_events,
            callbacks.deliver_callbacks,
            carrier.call_first_party,
            carrier.warn_calls,
            carrier.end_calls,
            carrier.ask_missed,
            plivo.open_at_carrier,
            plivo.abandon_at_carrier,
            plivo.change_at_carrier,
            plivo.expire_at_carrier,
            plivo.look_at_carrier,
        ],
        nexus_service_handlers=[
            MaskingServiceHandler(client, task_queue, lookup=settings.lookup, party_hash=hashed, keys=keys)
        ],
        workflow_runner=workflow_runner(),
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(),
        activity_task_poller_behavior=PollerBehaviorAutoscaling(),
        nexus_task_poller_behavior=PollerBehaviorAutoscaling(initial=1),
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=settings.sticky_timeout),
        max_cached_workflows=settings.cached_sessions,
        max_concurrent_workflow_tasks=min(WORKFLOW_TASKS, settings.cached_sessions),
        graceful_shutdown_timeout=GRACE,
        deployment_config=deployment(settings),
    )


def build_archiver(
    client: Client, database: Database, keyring: Keyring, settings: Settings, archive: Archive, task_queue: str
) -> Worker:
    """The worker that archives closed sessions, apart from those that serve calls."""
    activities = ArchiveActivities(
        client,
        database,
        keyring,
        archive,
        timedelta(seconds=settings.archive_after),
        code_commit(settings.build_id),
    )
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[ArchiveSessions],
        activities=[activities.archive_batch],
        workflow_runner=workflow_runner(),
        max_concurrent_activities=1,
        graceful_shutdown_timeout=ARCHIVE_GRACE,
    )


@asynccontextmanager
async def archiving(client: Client, database: Database, keyring: Keyring, settings: Settings) -> AsyncIterator[None]:
    """Archive closed sessions by a Temporal Schedule, where the settings name an archive."""
    if settings.archive is None:
        yield
        return
    archive = open_archive(settings.archive_place)
    async with build_archiver(client, database, keyring, settings, archive, ARCHIVE_TASK_QUEUE):
        preparing = asyncio.create_task(_prepared(archive))
        try:
            await ensure_schedule(client, ARCHIVE_TASK_QUEUE)
        except RPCError as error:
            logger.error("Temporal did not take the archive's schedule (%s); the next start tries again", error.status)
        try:
            yield
        finally:
            preparing.cancel()


async def _prepared(archive: Archive) -> None:
    """Tell at the start what each batch would fail with. Calls are served meanwhile, and whatever comes of it."""
    try:
        await asyncio.to_thread(archive.prepare)
    except ArchiveAway as error:
        logger.error("the archive cannot be used: %s. Sessions are served, and archived once it can be", error)


def deployment(settings: Settings) -> WorkerDeploymentConfig | None:
    """The version that this worker is, where the settings name one; sessions stay on the version they began on."""
    if settings.deployment_name is None or settings.build_id is None:
        return None
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(deployment_name=settings.deployment_name, build_id=settings.build_id),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.PINNED,
    )


@asynccontextmanager
async def working(
    client: Client,
    database: Database,
    keyring: Keyring,
    settings: Settings,
    task_queue: str = TASK_QUEUE,
    *,
    keyed: bool = True,
) -> AsyncIterator[None]:
    """Run workflows and activities, send callbacks, fetch recordings, and erase what was kept long enough, until then.

    Workflows, activities and callbacks that are under way are finished.

    Args:
        client: its connection is used.
        keyed: whether payloads of sessions are under keys of their own; else they are as the client has them.
    """
    keys = None
    if keyed:
        most = max(MOST, 4 * settings.cached_sessions)
        keys = StoredPayloadKeys(database, keyring, runs_workflows=True, most=most)
        client = with_keys(client, keyring, keys, callers_in_clear=settings.nexus_clear)
    patience = Patience(
        timedelta(seconds=settings.callback_give_up_after), timedelta(seconds=settings.callback_longest_pause)
    )
    async with (
        carriers_http() as carrier_http,
        customers_http(
            settings.callback_connect_timeout,
            settings.callback_read_timeout,
            AddressGuard(settings.callback_allowed_networks),
        ) as http,
    ):
        written = LastWritten()
        sender = CallbackSender(database, keyring, http, patience)
        async with (
            sender.running(),
            retaining(database, keyring, client, settings.retention),
            keeping(recording_keeper(database, keyring, settings, carrier_http)),
            build_worker(client, database, keyring, carrier_http, settings, task_queue, sender, keys, written),
            SetBackWatch(database, client, written).running(),
        ):
            yield


def recording_keeper(
    database: Database, keyring: Keyring, settings: Settings, http: httpx.AsyncClient
) -> RecordingKeeper | None:
    """What fetches recordings; None where the settings name no place for them, or no carrier."""
    orders = orders_of(settings, http, shared_leave(database, voice_account(keyring, settings), settings))
    if settings.recordings is None or orders is None:
        return None
    return RecordingKeeper(database, keyring, orders, open_store(settings.recordings))


async def serve(settings: Settings) -> None:
    """Work until told to stop; what is under way is finished first."""
    keyring = load_keyring(settings)
    plivo_credentials(settings)
    client = await connect(keyring)
    async with Database(database_url(settings)) as database:
        await tables.must_be_there(database)
        await key_checks.must_fit(database, keyring)
        await forget_other_credentials(database, keyring, settings)
        async with working(client, database, keyring, settings), archiving(client, database, keyring, settings):
            await until_stopped()


if __name__ == "__main__":
    end_with(lambda: run_process(serve, "worker"))
