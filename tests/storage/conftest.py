"""A database whose time can be let pass."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from benchmarks import misroutes
from masking.storage.migrate import migrate


@pytest.fixture
def clocked_url(postgres_url: str) -> Iterator[str]:
    """An empty database with our tables and a clock of its own (`UPDATE sim.clock SET now = …`)."""
    name = f"m{uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = postgres_url.replace("/postgres?", f"/{name}?")
    migrate(url)
    yield misroutes.with_clock(url)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
