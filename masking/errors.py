"""Errors that end a process, told to a person.

Exception
└── MaskingError                a fault this project names
    ├── Superseded              what a lost run of a workflow still writes, after its session was resumed
    ├── SessionGone             the database has lost a session whose workflow runs
    ├── StartupError            a process cannot start; the command line prints it as one line and exits with 2
    ├── DatabaseFailed          PostgreSQL failed while an operator's command used it
    ├── StorageAway             a place where files are kept cannot be used now
    │   └── ArchiveAway         that of the archive of evidence
    └── KeysAway                a key cannot be had at the moment; what needs it is tried again
"""

from __future__ import annotations


class MaskingError(Exception):
    """Base of every error this project raises on purpose."""


class StartupError(MaskingError):
    """A process cannot start: a bad setting, a port in use, a service that cannot be reached.

    The message is one sentence for a person: what is wrong, and what to do about it.
    It never holds a token, a phone number or a password.
    """


class Superseded(MaskingError):
    """A session was resumed in another run of its workflow: this one must write no more of it."""


class SessionGone(MaskingError):
    """The database has no row of a session that was opened: it was set back to a time before that."""


class DatabaseFailed(MaskingError):
    """PostgreSQL failed, or went away, while an operator's command used it.

    The message is one line that says what became of it, without any value of the database.
    """


class StorageAway(MaskingError):
    """A place where files are kept cannot be used now, whichever file is asked for.

    The message is one line that says what to do, without any credentials.
    """


class ArchiveAway(StorageAway):
    """The archive of evidence cannot be used now, whichever pack is asked for."""


class KeysAway(MaskingError):
    """The keys of Temporal's payloads cannot be read at the moment: the database that keeps them does not answer."""
