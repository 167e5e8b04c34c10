"""Every setting of every process, read from the environment once.

The table for people is docs/settings.md; a test holds the two together.
Temporal's own settings (`TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, TLS, API key …) are
read by `temporalio.envconfig`, not here.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from masking.errors import StartupError
from masking.objects.place import place_of

DEMO_AUTH_ID = "MAMASKINGDEMO0000000"


def _auth_id(value: str) -> str:
    if not re.fullmatch("MA[A-Z0-9]{18}", value):
        raise ValueError("must be MA followed by 18 characters A-Z or 0-9")
    return value


def _plivo_auth_id(value: str) -> str:
    if not re.fullmatch("(MA|SA)[A-Z0-9]{18}", value):
        raise ValueError("must be MA or SA followed by 18 characters A-Z or 0-9")
    return value


def _comma_separated(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _http_url(value: str) -> str:
    if not value.startswith(("http://", "https://")) or not urlsplit(value).hostname:
        raise ValueError("must be a URL that begins with http:// or https:// and names a host")
    return value


def _postgres_url(value: SecretStr) -> SecretStr:
    # Takes long to load, and not every command needs a database.
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        conninfo_to_dict(value.get_secret_value())
    except psycopg.ProgrammingError:
        # Its words hold the URL, and so the password.
        raise ValueError("must be a URL such as postgresql://user:password@host:5432/name") from None
    return value


def _at(host: str, port: int) -> str:
    """The URL of a port of this machine that listens on `host`."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 what to listen on, not we
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def age(written: str) -> timedelta:
    """A span of time, written in whole days or hours: `90d`, `36h`.

    Raises:
        ValueError: it is not written so.
    """
    match = _AGE.fullmatch(written)
    if match is None:
        raise ValueError("is a whole number of days or hours: 90d, 36h")
    return timedelta(days=int(match[1])) if match[2] == "d" else timedelta(hours=int(match[1]))


def _age(value: object) -> object:
    return age(value) if isinstance(value, str) else value


def _codec_tokens(value: SecretStr) -> SecretStr:
    pairs = _named_tokens(value)
    if not all(_NAMED_TOKEN.fullmatch(pair) for pair in pairs):
        raise ValueError(
            "must be name:token,name:token, each token at least 24 characters of A-Z, a-z, 0-9, - and _,"
            " each name at most 64 of these, . and @"
        )
    if len({pair.partition(":")[2] for pair in pairs}) < len(pairs):
        raise ValueError("must give everybody a token of their own")
    return value


def _named_tokens(value: SecretStr) -> list[str]:
    return [pair.strip() for pair in value.get_secret_value().split(",")]


_AGE = re.compile(r"([1-9][0-9]{0,4})([dh])", re.ASCII)
_NAMED_TOKEN = re.compile(r"[A-Za-z0-9._@-]{1,64}:[A-Za-z0-9_-]{24,}", re.ASCII)

ArchivePlace = Annotated[str, BeforeValidator(lambda value: str(place_of(str(value))))]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Age = Annotated[timedelta, BeforeValidator(_age)]
AtExpiry = Literal["finish", "warn", "drop", "extend"]
Port = Annotated[int, Field(ge=1, le=65535)]
AuthId = Annotated[str, AfterValidator(_auth_id)]
PlivoAuthId = Annotated[str, AfterValidator(_plivo_auth_id)]
CodecTokens = Annotated[SecretStr, AfterValidator(_codec_tokens)]
PostgresUrl = Annotated[SecretStr, AfterValidator(_postgres_url)]
Numbers = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_separated)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_comma_separated)]


class Settings(BaseSettings):
    """The settings, by field; the environment variable is `MASKING_` plus the name in capitals.

    `DATABASE_URL` and the `TEMPORAL_*` variables carry their customary names instead. A variable
    that is empty counts as not set.
    """

    model_config = SettingsConfigDict(
        env_prefix="MASKING_", env_ignore_empty=True, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    # Where it listens and keeps its data
    host: str = "127.0.0.1"
    port: Port = 8080
    data: Path = Path(".masking")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"
    public_url: HttpUrl | None = None
    """Base URL under which carriers and customers reach the gateway; http://host:port when not set."""

    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(default=8082, ge=0, le=65535)
    """Where the gateway tells Prometheus its metrics; nowhere when 0."""

    codec_host: str = "127.0.0.1"
    codec_port: int = Field(default=8083, ge=0, le=65535)
    """Where the gateway decodes payloads of Temporal for those whom `codec_tokens` names; nowhere when 0."""

    archive: ArchivePlace | None = None
    """Where workers keep evidence packs of closed sessions, a folder's path or a URL; they keep none when not set."""
    archive_after: int = Field(default=3600, ge=0, le=7 * 86_400)

    recordings: ArchivePlace | None = None
    """Where workers keep recordings that they fetch from the carrier; they stay there alone when not set."""
    delete_carrier_recordings: bool = False
    """Whether the carrier is to delete a recording once it is fetched, where its account does not say."""

    # The services behind it
    database_url: PostgresUrl | None = Field(default=None, validation_alias="DATABASE_URL")
    temporal_port: Port = 7233
    temporal_ui_port: Port = 8233
    temporal_binary: Path | None = None
    deployment_name: str | None = None
    build_id: str | None = None
    """With the deployment's name, the version that the worker's sessions stay on; no versioning when not set."""
    ui_origin: str | None = None
    """Origin of the Temporal Web UI, `http://host:port`: the only one whose pages may have payloads decoded."""

    lookup: bool = True
    """Whether new sessions get search attributes, by which Temporal's lists find them."""
    nexus_clear: bool = False
    """Whether callers of the Nexus service may write in the clear, and are answered so."""
    sticky_timeout: int = Field(default=30, ge=1, le=600)
    """Seconds for which what happens to a session waits for the worker that has it in memory."""
    cached_sessions: int = Field(default=2000, ge=1, le=1_000_000)
    """How many sessions a worker keeps in memory."""

    # Secrets
    keys: SecretStr | None = None
    keys_command: str | None = None
    """Prints the key ring, as a key file holds it."""
    keys_file: Path | None = None
    operator: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,64}$")] | None = None
    """Who uses the command line, for the entries about looks; the login name when not set."""
    codec_tokens: CodecTokens | None = None
    """Who may have payloads decoded: `name:token`, separated by commas."""
    demo_auth_id: AuthId = DEMO_AUTH_ID
    demo_auth_token: SecretStr | None = None
    demo_numbers: Numbers = (
        "+12025550142",
        "+12025550143",
        "+12025550144",
        "+12025550145",
        "+912269947011",
        "+912269947012",
    )

    # Who masks, and Plivo where it does
    carrier: Literal["voice", "plivo"] = "voice"
    plivo_api_url: HttpUrl = "https://api.plivo.com"
    plivo_auth_id: PlivoAuthId | None = None
    plivo_auth_token: SecretStr | None = None

    # The carrier that delivers calls by Voice XML
    carrier_api_url: HttpUrl | None = None
    carrier_auth_id: AuthId = "MASIMULATEDCARRIER00"
    carrier_auth_token: SecretStr | None = None
    carrier_requests: int = Field(default=300, ge=1, le=1_000_000)
    carrier_request_window: float = Field(default=5.0, ge=0.001, le=3600)
    """Seconds in which all processes together may ask the carrier so often."""
    carrier_calls_per_second: int = Field(default=2, ge=1, le=10_000)
    carrier_failures: int = Field(default=5, ge=0, le=1000)
    """After so many failures in a row the carrier is asked nothing for `carrier_rest` seconds; 0 for never."""
    carrier_rest: float = Field(default=10.0, ge=0.1, le=600)
    simulator_port: Port = 8081
    simulator_speed: float = Field(default=1.0, gt=0, le=1000)

    # Sessions
    session_expiry: int = Field(default=3600, ge=60, le=86400)
    call_time_limit: int = Field(default=3600, ge=60, le=86400)
    ring_timeout: int = Field(default=120, ge=5, le=600)
    pair_grace: int = Field(default=1800, ge=60, le=86400)
    recording_wait: int = Field(default=300, ge=1, le=86400)
    retention: Age | None = None
    """How long a session is kept after its bill was closed, before it is erased; for ever when not set."""

    # Calls
    at_expiry: AtExpiry = "finish"
    ended_play_url: HttpUrl | None = None
    ended_answer_url: HttpUrl | None = None
    pin_failures_per_caller: int = Field(default=10, ge=1, le=10_000)
    pin_failures_per_number: int = Field(default=100, ge=1, le=1_000_000)
    pin_failure_window: int = Field(default=900, ge=1, le=86400)

    # The API
    request_limit: int = Field(default=300, ge=0, le=1_000_000)
    request_window: float = Field(default=5.0, gt=0, le=3600)

    # Money
    rate_card: Path | None = None
    rate_per_minute: Decimal = Field(default=Decimal("0.0085"), ge=0)
    billing_increment: int = Field(default=60, ge=1, le=3600)

    # Callbacks
    callback_connect_timeout: float = Field(default=2.0, gt=0, le=60)
    callback_read_timeout: float = Field(default=10.0, gt=0, le=15)
    callback_give_up_after: int = Field(default=86_400, ge=1, le=7 * 86_400)
    callback_longest_pause: int = Field(default=600, ge=1, le=86_400)
    callback_allowed_networks: Networks = ()

    @property
    def names_keys(self) -> bool:
        """Whether any of the settings tells where the keys are."""
        return self.keys is not None or self.keys_command is not None or self.keys_file is not None

    @property
    def codec_users(self) -> dict[str, str]:
        """Who may have payloads decoded, by token."""
        pairs = _named_tokens(self.codec_tokens) if self.codec_tokens is not None else []
        return {token: name for name, _, token in (pair.partition(":") for pair in pairs)}

    @property
    def codec_url(self) -> str:
        """Where payloads are decoded on this machine, without a slash at the end."""
        return _at(self.codec_host, self.codec_port)

    @property
    def base_url(self) -> str:
        """Where carriers and customers reach the gateway, without a slash at the end."""
        return (self.public_url or self.gateway_url).rstrip("/")

    @property
    def closes_within(self) -> timedelta:
        """How long after a session's time, and its calls that we connected, are over its bill is closed if all is well.

        Calls that a carrier masks may go on for so long as calls last, recordings take their time, and events theirs.
        """
        return timedelta(seconds=self.call_time_limit + self.recording_wait, minutes=10)

    @property
    def archive_place(self) -> str:
        """Where the archive is, an absolute path or a URL; where `masking run` has it when not set."""
        return self.archive or str((self.data / "archive").absolute())

    @property
    def has_real_carrier(self) -> bool:
        """Whether calls are placed by a carrier that is not on this machine, and so no simulated one."""
        return self.carrier_api_url is not None and not _is_loopback(urlsplit(self.carrier_api_url).hostname or "")

    @property
    def gateway_url(self) -> str:
        """Where the gateway is reached on this machine, without a slash at the end."""
        return _at(self.host, self.port)

    @property
    def simulator_url(self) -> str:
        """Where the telephone simulator is reached, without a slash at the end."""
        return f"http://127.0.0.1:{self.simulator_port}"


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        StartupError: a value is wrong; names the variable and the rule, never the value.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        variable = name if name == "DATABASE_URL" else f"MASKING_{name.upper()}"
        raise StartupError(f"{variable}: {first['msg'].removeprefix('Value error, ')}") from None
