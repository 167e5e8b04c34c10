"""Databases of a test's own, and one whose time can be let pass."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from benchmarks import misroutes
from masking.storage.migrate import migrate


@pytest.fixture
def own_url(postgres_url: str) -> Iterator[str]:
    """An empty database with our tables, for this test alone."""
    name = f"m{uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = postgres_url.replace("/postgres?", f"/{name}?")
    migrate(url)
    yield url
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def clocked_url(own_url: str) -> str:
    """Such a one with a clock of its own (`UPDATE sim.clock SET now = …`)."""
    return misroutes.with_clock(own_url)
