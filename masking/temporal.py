"""How every process of ours talks to Temporal: one plugin for clients, workers and replayers."""

from __future__ import annotations

import asyncio
import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import (
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    NexusSerializationContext,
    PayloadCodec,
    SerializationContext,
)
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.plugin import SimplePlugin
from temporalio.service import RPCError, RPCStatusCode

from masking.admission import shut_out
from masking.contract import session_of
from masking.errors import StartupError
from masking.privacy.callers_codec import CallersCodec
from masking.privacy.keyring import Keyring
from masking.privacy.payload_codec import EncryptingCodec
from masking.privacy.payload_keys import PayloadKeys

CONNECT_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class _SessionsConverter(DataConverter):
    """Tells the codec whose payloads it has before it.

    Attributes:
        callers_in_clear: whether callers of our Nexus service may write in the clear; None where none are served.
    """

    callers_in_clear: bool | None = None

    def with_context(self, context: SerializationContext) -> Self:
        """The same for what belongs to a workflow. The SDK asks for each call, and would make all parts of it anew."""
        codec = self.payload_codec
        if not isinstance(codec, EncryptingCodec):
            return self
        if isinstance(context, NexusSerializationContext):
            if self.callers_in_clear is None:
                return self
            return self._with(CallersCodec(codec, takes_clear=self.callers_in_clear))
        of_session = codec.of_session(session_of(getattr(context, "workflow_id", None) or ""))
        return self if of_session is codec else self._with(of_session)

    def _with(self, codec: PayloadCodec) -> Self:
        converter = copy.copy(self)
        object.__setattr__(converter, "payload_codec", codec)
        return converter


def data_converter(
    keyring: Keyring, keys: PayloadKeys | None = None, *, callers_in_clear: bool | None = None
) -> DataConverter:
    """Pydantic models, encrypted; failures too.

    Args:
        keys: those of sessions and days; None where the key ring is all there is.
        callers_in_clear: in a worker that serves our Nexus service, whether its callers may write in the clear.
    """
    return _SessionsConverter(
        payload_converter_class=pydantic_data_converter.payload_converter_class,
        payload_codec=EncryptingCodec(keyring, keys),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
        callers_in_clear=callers_in_clear,
    )


def masking_plugin(
    keyring: Keyring,
    workflows: Sequence[type] | None = None,
    keys: PayloadKeys | None = None,
    *,
    callers_in_clear: bool | None = None,
) -> SimplePlugin:
    """What client, worker and replayer have in common. Give it to the client, or to a replayer.

    Args:
        keyring: ours, or one of ingress keys in other services.
        keys: those of sessions and days, in processes of ours.
        callers_in_clear: see `data_converter`.
    """
    converter = data_converter(keyring, keys, callers_in_clear=callers_in_clear)
    return SimplePlugin("masking", data_converter=converter, workflows=workflows)


def with_keys(client: Client, keyring: Keyring, keys: PayloadKeys, *, callers_in_clear: bool | None = None) -> Client:
    """The same connection, by which the payloads of sessions are under keys of their own.

    Args:
        callers_in_clear: see `data_converter`.
    """
    config = client.config()
    config["plugins"] = [masking_plugin(keyring, keys=keys, callers_in_clear=callers_in_clear)]
    return Client(**config)


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
    except (RuntimeError, OSError, ValueError) as error:
        raise _unreachable(error, address, over_tls=bool(config.get("tls"))) from None
    return client


def lacks_namespace(error: RPCError) -> bool:
    """Whether it is the namespace that Temporal does not know, of what it does not find, and not the workflow."""
    return any(detail.type_url.endswith("NamespaceNotFoundFailure") for detail in error.grpc_status.details)


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
    if shut_out(error):
        return _shut_out(address)
    return StartupError(f"TEMPORAL_ADDRESS: the Temporal server at {address} is not ready ({error.status.name})")


def _shut_out(address: str) -> StartupError:
    return StartupError(f"TEMPORAL_API_KEY: the Temporal server at {address} does not let us into the namespace")


def _unreachable(error: Exception, address: str, *, over_tls: bool) -> StartupError:
    """What to tell when there was no connection. The SDK says in its core's words what of TLS went wrong."""
    told = str(error)
    if shut_out(error):
        return _shut_out(address)
    if over_tls and "InvalidCertificate" in told:
        return StartupError(
            f"TEMPORAL_TLS_SERVER_CA_CERT_PATH: the certificate of the Temporal server at {address} is not one that we"
            " trust under this name; name the file of its authority, or its name by TEMPORAL_TLS_SERVER_NAME"
        )
    # Who refuses a client's certificate says so when the client takes the connection for made, or just hangs up.
    if over_tls and ("received fatal alert" in told or ("after connection" in told and "transport::Error" in told)):
        return StartupError(
            f"TEMPORAL_TLS_CLIENT_CERT_PATH: the Temporal server at {address} ends the TLS connection at once, as one"
            " does that wants another client certificate"
        )
    encrypted = ", over TLS as TEMPORAL_API_KEY or TEMPORAL_TLS asks" if over_tls else ""
    return StartupError(f"TEMPORAL_ADDRESS: no Temporal server answers at {address}{encrypted}")
