"""Bring a database's tables to the version this code needs."""

from __future__ import annotations

from pathlib import Path

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from masking.errors import StartupError

CONNECT_TIMEOUT_S = 5
MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(database_url: str) -> None:
    """Run every migration that this database has not had. Safe to run at the same time elsewhere.

    Raises:
        StartupError: the database cannot be reached, or refuses us.
    """
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(database_url, connect_timeout=CONNECT_TIMEOUT_S),
        poolclass=sqlalchemy.NullPool,
    )
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except sqlalchemy.exc.OperationalError:
        raise StartupError("DATABASE_URL: PostgreSQL does not answer there or refuses the login") from None
    except sqlalchemy.exc.DBAPIError as error:
        reason = type(error.orig).__name__
        raise StartupError(
            f"DATABASE_URL: PostgreSQL does not let us make the tables ({reason}); may this role create some there?"
        ) from None
    except CommandError:
        raise StartupError("DATABASE_URL: its tables are of a newer version of masking than this one") from None
