"""How every process of ours talks to Temporal: one plugin for clients, workers and replayers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes
from temporalio.envconfig import ClientConfig
from temporalio.plugin import SimplePlugin
from temporalio.service import RPCError

from masking.errors import StartupError
from masking.privacy.keyring import Keyring
from masking.privacy.payload_codec import EncryptingCodec

CONNECT_TIMEOUT_S = 5.0


def data_converter(keyring: Keyring) -> DataConverter:
    """Pydantic models, encrypted; failures too."""
    return dataclasses.replace(
        pydantic_data_converter,
        payload_codec=EncryptingCodec(keyring),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


def masking_plugin(keyring: Keyring, workflows: Sequence[type] | None = None) -> SimplePlugin:
    """What client, worker and replayer have in common. Give it to the client, or to a replayer."""
    return SimplePlugin("masking", data_converter=data_converter(keyring), workflows=workflows)


async def connect(keyring: Keyring, *, lazy: bool = False) -> Client:
    """Connect as the standard `TEMPORAL_*` settings say.

    Args:
        lazy: connect at the first call instead; not for workers.

    Raises:
        StartupError: Temporal cannot be reached there, or its settings are wrong.
    """
    try:
        config = ClientConfig.load_client_connect_config()
    except (ValueError, RuntimeError, OSError):
        raise StartupError("TEMPORAL_*: the settings cannot be read; check TEMPORAL_PROFILE and its file") from None
    # The port that every Temporal tool tries when no setting names another.
    address = config.setdefault("target_host", "localhost:7233")
    try:
        return await Client.connect(**config, lazy=lazy, plugins=[masking_plugin(keyring)])
    except (RPCError, RuntimeError, OSError, ValueError):
        raise StartupError(f"TEMPORAL_ADDRESS: no Temporal server answers at {address}") from None
