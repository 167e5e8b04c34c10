"""How every process of ours talks to Temporal: one plugin for clients, workers and replayers."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.plugin import SimplePlugin
from temporalio.service import RPCError, RPCStatusCode

from masking.errors import StartupError
from masking.privacy.keyring import Keyring
from masking.privacy.payload_codec import EncryptingCodec

CONNECT_TIMEOUT_S = 10.0


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


async def connect(keyring: Keyring, *, lazy: bool = False, environment: Mapping[str, str] | None = None) -> Client:
    """Connect as the standard `TEMPORAL_*` settings say.

    Args:
        lazy: connect at the first call instead; not for workers.
        environment: the variables to go by; this process's when None.

    Raises:
        StartupError: Temporal cannot be reached there, refuses us, or lacks the namespace; or its settings are wrong.
    """
    config = _read_config(environment)
    # The port that every Temporal tool tries when no setting names another.
    address = config.setdefault("target_host", "localhost:7233")
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            client = await Client.connect(**config, lazy=lazy, plugins=[masking_plugin(keyring)])
            if not lazy:
                await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    except RPCError as error:
        raise _refusal(error, address) from None
    except (RuntimeError, OSError, ValueError):
        encrypted = ", over TLS as TEMPORAL_API_KEY or TEMPORAL_TLS asks" if config.get("tls") else ""
        raise StartupError(f"TEMPORAL_ADDRESS: no Temporal server answers at {address}{encrypted}") from None
    return client


def _read_config(environment: Mapping[str, str] | None) -> ClientConnectConfig:
    file = (os.environ if environment is None else environment).get("TEMPORAL_CONFIG_FILE")
    # Temporal's own reader takes a missing file for an empty one.
    if file and not Path(file).exists():
        raise StartupError(f"TEMPORAL_CONFIG_FILE: there is no file {file}")
    try:
        return ClientConfig.load_client_connect_config(override_env_vars=environment)
    except (ValueError, RuntimeError, OSError):
        raise StartupError("TEMPORAL_*: the settings cannot be read; check TEMPORAL_PROFILE and its file") from None


def _refusal(error: RPCError, address: str) -> StartupError:
    """What to tell when a Temporal server would not describe our namespace."""
    if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
        return StartupError(f"TEMPORAL_NAMESPACE: the Temporal server at {address} has no such namespace")
    if error.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED):
        return StartupError(f"TEMPORAL_API_KEY: the Temporal server at {address} does not let us into the namespace")
    return StartupError(f"TEMPORAL_ADDRESS: the Temporal server at {address} is not ready ({error.status.name})")
