"""What the events of a workflow's history tell of its session."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from temporalio.api.common.v1 import Payload, SearchAttributes
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent, WorkflowExecutionSignaledEventAttributes
from temporalio.converter import DataConverter, decode_typed_search_attributes

from masking.client.events import (
    CallEvent,
    SessionChanged,
    SessionEvent,
    SessionExpired,
    SessionOpened,
    SessionSettled,
    SessionTurnedAway,
)
from masking.contract import (
    EVENTS,
    HEADER_TOLD,
    MEMO_RESUMES,
    SIGNAL_EVENTS,
    UPDATE_EXTEND,
    UPDATE_MODIFY,
    UPDATE_OPENED,
)
from masking.domain.bill.charges import Bill
from masking.domain.events import CarrierEvents
from masking.domain.limits import within_calendar
from masking.domain.model import Model
from masking.domain.session import Phase
from masking.domain.snapshot import SessionSnapshot
from masking.domain.start import SessionStart
from masking.domain.told_calls import ToldCall, ToldCalls, told_calls
from masking.errors import KeysAway, MaskingError
from masking.lookup import EXPIRY, STATUS

OPENING = "open_session"
"""The local activity whose marker tells that the session is open."""

LOCAL_ACTIVITY = "core_local_activity"

ModelT = TypeVar("ModelT", bound=Model)


class _Opened(Model):
    virtual_number: str | None = None


class _Recorded(Model):
    """As much as is needed of what an activity is to write down."""

    class State(Model):
        """Of the session."""

        phase: Phase
        expires_at: datetime

    session: State


class RunReader:
    """Reads one run of a session's workflow, event by event, from its first.

    Args:
        converter: of the session's payloads.
    """

    def __init__(self, converter: DataConverter, session_uuid: str) -> None:
        self._converter, self._session_uuid = converter, session_uuid
        self.rewind()

    def rewind(self) -> None:
        """Begin at the run's first event again."""
        self._expires_at = datetime.min.replace(tzinfo=UTC)
        self._has_expired = self._has_opened = False
        self._updates: dict[str, str] = {}
        self._heard: set[str] = set()

    async def read(self, event: HistoryEvent) -> list[SessionEvent]:
        """What the next event tells; its `position` is the caller's to fill in."""
        match event.event_type:
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
                await self._begin(event)
                return []
            case EventType.EVENT_TYPE_MARKER_RECORDED:
                return await self._marker(event)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
                return await self._signal(event)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
                accepted = event.workflow_execution_update_accepted_event_attributes.accepted_request
                self._updates[accepted.meta.update_id] = accepted.input.name
                return []
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:
                return await self._updated(event)
            case EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
                return await self._listed(event)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                return await self._written(event)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
                return await self._ended(event)
        return []

    async def _begin(self, event: HistoryEvent) -> None:
        started = event.workflow_execution_started_event_attributes
        if MEMO_RESUMES in started.memo.fields or started.continued_execution_run_id:
            self._has_opened = True
            known = await self._decoded(started.input.payloads, SessionStart)
            if known is None:
                # What the session is by now is not for whoever started it.
                return
            start = known
        else:
            (start,) = await self._converter.decode(started.input.payloads, [SessionStart])
        self._expires_at = _moment(event) + within_calendar(start.session_expiry)
        self._has_expired = start.carried is not None and start.carried.session.phase is not Phase.ACTIVE

    async def _marker(self, event: HistoryEvent) -> list[SessionEvent]:
        marker = event.marker_recorded_event_attributes
        if marker.marker_name != LOCAL_ACTIVITY or "data" not in marker.details or "result" not in marker.details:
            return []
        (about,) = await self._converter.decode(marker.details["data"].payloads, [dict[str, Any]])
        if about.get("activity_type") != OPENING:
            return []
        opened = await self._decoded(marker.details["result"].payloads, _Opened)
        if opened is None or opened.virtual_number is None:
            # That it was refused, the run's end tells.
            return []
        return [self._opened(event, opened.virtual_number)]

    def _opened(self, event: HistoryEvent, virtual_number: str) -> SessionOpened:
        self._has_opened = True
        return SessionOpened(**self._told(event), virtual_number=virtual_number, expires_at=self._expires_at)

    async def _listed(self, event: HistoryEvent) -> list[SessionEvent]:
        """Lists find the session as expired from now on: so it is."""
        fields = event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
        told = decode_typed_search_attributes(SearchAttributes(indexed_fields=fields))
        expired_at = told.get(EXPIRY)
        if self._has_expired or told.get(STATUS) != "expired" or expired_at is None:
            return []
        return [self._expired(event, expired_at)]

    async def _signal(self, event: HistoryEvent) -> list[SessionEvent]:
        told: list[SessionEvent] = []
        for call in await self._told_calls(event.workflow_execution_signaled_event_attributes):
            if call.event_id not in self._heard:
                self._heard.add(call.event_id)
                told.append(CallEvent(**{**self._told(event), **dict(call)}))
        return told

    async def _told_calls(self, signal: WorkflowExecutionSignaledEventAttributes) -> Sequence[ToldCall]:
        """What a signal tells: from its header where its content is not for whoever started the session."""
        if HEADER_TOLD in signal.header.fields:
            told = await self._decoded([signal.header.fields[HEADER_TOLD]], ToldCalls)
            return told.calls if told is not None else ()
        payloads = signal.input.payloads
        if signal.signal_name == SIGNAL_EVENTS:
            several = await self._decoded(payloads, CarrierEvents)
            return told_calls(several.events).calls if several is not None else ()
        if signal.signal_name in EVENTS:
            alone = await self._decoded(payloads, EVENTS[signal.signal_name])
            return told_calls([alone]).calls if alone is not None else ()
        return ()

    async def _updated(self, event: HistoryEvent) -> list[SessionEvent]:
        completed = event.workflow_execution_update_completed_event_attributes
        name = self._updates.pop(completed.meta.update_id, "")
        if name == UPDATE_OPENED and not self._has_opened and completed.outcome.HasField("success"):
            opened = await self._decoded(completed.outcome.success.payloads, SessionSnapshot)
            return [] if opened is None else [self._opened(event, opened.virtual_number)]
        if name not in (UPDATE_EXTEND, UPDATE_MODIFY) or not completed.outcome.HasField("success"):
            return []
        snapshot = await self._decoded(completed.outcome.success.payloads, SessionSnapshot)
        if snapshot is None:
            return []
        return [SessionChanged(**self._told(event), by=name, expires_at=snapshot.expires_at)]

    async def _written(self, event: HistoryEvent) -> list[SessionEvent]:
        """The session's end is written down by an activity, whose input tells it."""
        if self._has_expired:
            return []
        recorded = await self._decoded(event.activity_task_scheduled_event_attributes.input.payloads, _Recorded)
        if recorded is None or recorded.session.phase not in (Phase.DRAINING, Phase.SETTLED):
            return []
        return [self._expired(event, recorded.session.expires_at)]

    def _expired(self, event: HistoryEvent, at: datetime) -> SessionExpired:
        self._has_expired = True
        return SessionExpired(**{**self._told(event), "at": at})

    async def _ended(self, event: HistoryEvent) -> list[SessionEvent]:
        payloads = event.workflow_execution_completed_event_attributes.result.payloads
        bill = await self._decoded(payloads, Bill)
        if bill is None:
            return []
        if bill.refusal:
            return [SessionTurnedAway(**self._told(event), reason=bill.refusal)]
        # At the latest now: without lists' attributes nothing else may have told it.
        expired = [] if self._has_expired else [self._expired(event, _moment(event))]
        return [*expired, SessionSettled(**self._told(event), bill=bill)]

    def _told(self, event: HistoryEvent) -> dict[str, Any]:
        return {"session_uuid": self._session_uuid, "position": "", "at": _moment(event)}

    async def _decoded(self, payloads: Sequence[Payload], model_type: type[ModelT]) -> ModelT | None:
        if len(payloads) != 1:
            return None
        try:
            (found,) = await self._converter.decode(payloads, [model_type])
        except KeysAway:
            raise
        except (ValueError, RuntimeError, MaskingError):
            # What is not for whoever started the session is under a key of its own.
            return None
        return found if isinstance(found, model_type) else None


def _moment(event: HistoryEvent) -> datetime:
    return event.event_time.ToDatetime(tzinfo=UTC)
