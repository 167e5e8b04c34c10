"""A wrong setting is told by its name and its rule; what it holds is not."""

from __future__ import annotations

import logging
from ipaddress import ip_network

import pytest

from masking.errors import StartupError
from masking.process import configure_logging
from masking.settings import Settings, load_settings


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("DATABASE_URL", "secret", "DATABASE_URL: must be a URL such as postgresql://"),
        ("DATABASE_URL", "postgresql://u:secret@[::1/x", "DATABASE_URL: must be a URL"),
        ("DATABASE_URL", "host=x password=very secret", "DATABASE_URL: must be a URL"),
        ("MASKING_DEMO_AUTH_ID", "MA" + "Ä" * 18, "MASKING_DEMO_AUTH_ID: must be MA followed by 18 characters"),
        ("MASKING_DEMO_AUTH_ID", "MA" + "٣" * 18, "MASKING_DEMO_AUTH_ID: must be MA followed by 18 characters"),
        ("MASKING_PUBLIC_URL", "masking.example", "MASKING_PUBLIC_URL: must be a URL that begins with"),
        ("MASKING_PUBLIC_URL", "https://", "MASKING_PUBLIC_URL: must be a URL that begins with"),
        ("MASKING_CODEC_TOKENS", "secret", "MASKING_CODEC_TOKENS: must be name:token,name:token"),
        ("MASKING_CODEC_TOKENS", "alice:secret", "MASKING_CODEC_TOKENS: must be name:token,name:token"),
        ("MASKING_CODEC_TOKENS", f"a:{'secret-' * 4},b:{'secret-' * 4}", "must give everybody a token of their own"),
        ("MASKING_CALLBACK_ALLOWED_NETWORKS", "10.0.0.1/8", "MASKING_CALLBACK_ALLOWED_NETWORKS"),
    ],
)
def test_a_wrong_value_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(StartupError, match=words) as refused:
        load_settings()
    assert "secret" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_networks_are_told_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKING_CALLBACK_ALLOWED_NETWORKS", "10.0.0.0/8, fd00::/8")
    assert load_settings().callback_allowed_networks == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASKING_DEMO_AUTH_TOKEN", "MASKING_CARRIER_AUTH_TOKEN", "DATABASE_URL", "MASKING_PORT"):
        monkeypatch.setenv(name, "")
    given = load_settings()
    assert (given.demo_auth_token, given.carrier_auth_token, given.database_url) == (None, None, None)
    assert given.port == 8080


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("10.0.0.7", "http://10.0.0.7:8080"),
    ],
)
def test_the_gateway_is_reached_here_where_it_listens_whatever_its_public_url(host: str, url: str) -> None:
    given = Settings(host=host, public_url="https://masking.example/")
    assert (given.gateway_url, given.base_url) == (url, "https://masking.example")
    assert Settings(host=host).base_url == url


def test_the_log_level_is_also_that_of_workflows_and_activities(monkeypatch: pytest.MonkeyPatch) -> None:
    loggers = [logging.getLogger(name) for name in ("masking", "temporalio.activity", "temporalio.workflow")]
    for logger in (*loggers, logging.getLogger("workflows"), logging.getLogger("activities")):
        monkeypatch.setattr(logger, "level", logger.level)

    configure_logging(Settings(log_level="error"), "worker")

    assert [logger.getEffectiveLevel() for logger in loggers] == [logging.ERROR] * 3
    assert logging.getLogger("temporalio.worker").getEffectiveLevel() == logging.WARNING
