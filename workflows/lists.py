"""What lists of Temporal's find a session by. Each telling is an Action, so each thing is told once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from masking.domain.session import Session
    from masking.lookup import lacks_parties, told_at_end, told_when_open


def tell_lists(session: Session, status: Literal["expired", "refused"]) -> None:
    """Let lists find the session as what it is once it has ended."""
    if told := told_at_end(workflow.info().typed_search_attributes, status, session.expires_at):
        workflow.upsert_search_attributes(told)


def tell_parties(hashes: Sequence[str]) -> None:
    """Let lists find the session by its parties, where whoever started it cannot hash them."""
    if told := told_when_open(hashes):
        workflow.upsert_search_attributes(told)


def asks_parties() -> bool:
    """Whether the parties' hashes have yet to be told."""
    return lacks_parties(workflow.info().typed_search_attributes)
