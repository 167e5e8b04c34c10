"""Whether a Temporal client encodes payloads as the service does."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from decimal import Decimal

from temporalio.client import Client
from temporalio.converter import DataConverter, WorkflowSerializationContext

from masking.client.errors import UnfitClient
from masking.contract import ENCRYPTED, session_workflow_id
from masking.domain.bill.charges import Bill, Charge

REMEDY = (
    "connect it with plugins=[masking_plugin(keyring)] or data_converter=data_converter(keyring),"
    " both of masking.temporal"
)

_SAMPLE = Bill(
    session_uuid="",
    account_id="",
    currency="USD",
    calls=Charge(amount=Decimal("0.00850")),
    session_amount=Decimal(0),
    duration=1,
    last_interaction_time=datetime(2026, 1, 1, tzinfo=UTC),
    settled_at=None,
)


def check_models(client: Client) -> None:
    """See that our models pass through the client's converter unchanged.

    Raises:
        UnfitClient: they do not.
    """
    converter = client.data_converter.payload_converter
    try:
        with warnings.catch_warnings():
            # The SDK warns of pydantic models without its pydantic converter; we tell it better.
            warnings.simplefilter("ignore")
            kept = converter.from_payload(converter.to_payload(_SAMPLE), Bill) == _SAMPLE
    except Exception:
        kept = False
    if not kept:
        raise UnfitClient(f"this Temporal client's converter does not keep pydantic models: {REMEDY}")


async def check_encryption(client: Client, session_uuid: str) -> None:
    """See that payloads leave the client as ciphertext that the service knows.

    Raises:
        UnfitClient: they would leave it in the clear, or under a codec of another kind.
    """
    context = WorkflowSerializationContext(namespace=client.namespace, workflow_id=session_workflow_id(session_uuid))
    converter: DataConverter = client.data_converter.with_context(context)
    (payload,) = await converter.encode([""])
    if payload.metadata.get("encoding") != ENCRYPTED:
        raise UnfitClient(f"this Temporal client would send phone numbers in the clear: {REMEDY}")
