"""What a session's history comes to, as Temporal has it now; its evidence need not be complete for that."""

from __future__ import annotations

from temporalio.client import Client

from masking.audit.export import chain, with_lost
from masking.audit.payloads import payloads_of
from masking.audit.replay import Replayed, replay
from masking.contract import session_workflow_id
from masking.privacy.payload_codec import EncryptingCodec


async def recomputed(client: Client, codec: EncryptingCodec, session_uuid: str) -> Replayed:
    """What today's workflow code makes of the history of a session, whether it runs or has ended.

    Args:
        codec: knows the keys of sessions.

    Raises:
        RPCError: Temporal does not answer, or knows no such session.
        KeysAway: PostgreSQL does not answer.
        Unreadable: a key of the history is not there.
    """
    described = await client.get_workflow_handle(session_workflow_id(session_uuid)).describe()
    runs = await with_lost(client, codec, session_uuid, await chain(client, session_uuid, described.run_id))
    payloads = [payload for run in runs for event in run for payload in payloads_of(event)]
    keys = await codec.keys_of(payloads)
    for payload in payloads:
        payload.CopyFrom(codec.decoded(payload, keys))
    return await replay(session_uuid, runs)
