"""How a process ends in which tests ran."""

from __future__ import annotations

import atexit

import pytest

from masking.process import end

_sessions: list[pytest.Session] = []


def end_without_shutting_down(session: pytest.Session) -> None:
    """Let this process end with the session's exit status, and without shutting its interpreter down.

    Threads of Temporal's core may abort one that does (`masking.process.end`): the status is 134 then, though every
    test has passed.
    """
    _sessions.append(session)


@atexit.register
def _end() -> None:
    # What is registered later, as by the servers of tests, was called before this.
    if _sessions:
        end(int(_sessions[0].exitstatus))
