"""What the events of a workflow's history tell of its session."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import DataConverter

from masking.client.events import (
    CallEvent,
    SessionChanged,
    SessionEvent,
    SessionExpired,
    SessionOpened,
    SessionSettled,
    SessionTurnedAway,
)
from masking.contract import EVENTS, SIGNAL_EVENTS, UPDATE_EXTEND, UPDATE_MODIFY
from masking.domain.events import (
    Answer,
    AnyCarrierEvent,
    CarrierEvents,
    Hangup,
    PinStatus,
    RecordingCompleted,
    RecordingFailed,
    RecordingInitiated,
)
from masking.domain.model import Model
from masking.domain.session import Bill, Phase, SessionSnapshot
from masking.domain.start import SessionStart

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
        self._has_expired = False
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
            case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                return await self._written(event)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
                return await self._ended(event)
        return []

    async def _begin(self, event: HistoryEvent) -> None:
        started = event.workflow_execution_started_event_attributes
        start = await self._decoded(started.input.payloads, SessionStart)
        if start is None:
            return
        self._expires_at = _moment(event) + timedelta(seconds=start.session_expiry)
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
        return [SessionOpened(**self._told(event), virtual_number=opened.virtual_number, expires_at=self._expires_at)]

    async def _signal(self, event: HistoryEvent) -> list[SessionEvent]:
        signal = event.workflow_execution_signaled_event_attributes
        payloads = signal.input.payloads
        if signal.signal_name == SIGNAL_EVENTS:
            several = await self._decoded(payloads, CarrierEvents)
            heard: Sequence[AnyCarrierEvent] = several.events if several is not None else ()
        elif signal.signal_name in EVENTS:
            alone = await self._decoded(payloads, EVENTS[signal.signal_name])
            heard = (alone,) if alone is not None else ()
        else:
            return []
        told: list[SessionEvent] = []
        for each in heard:
            if each.event_id not in self._heard and each.kind != "placed":
                self._heard.add(each.event_id)
                told.append(self._call(event, each))
        return told

    def _call(self, event: HistoryEvent, told: AnyCarrierEvent) -> CallEvent:
        details: dict[str, Any] = {}
        if isinstance(told, Answer | Hangup):
            details["leg"] = told.leg
        if isinstance(told, Hangup):
            details |= {"duration": told.duration, "cause": told.cause}
        if isinstance(told, PinStatus):
            details["pin"] = told.status
        if isinstance(told, RecordingInitiated | RecordingCompleted):
            details["recording_id"] = told.recording_id
        if isinstance(told, RecordingCompleted):
            details["duration"] = told.duration
        if isinstance(told, RecordingFailed):
            details["cause"] = told.reason
        return CallEvent(
            **{**self._told(event), "at": told.at},
            what=told.kind,
            event_id=told.event_id,
            call_uuid=told.call.call_uuid,
            caller=told.call.caller,
            reason=told.call.reason,
            **details,
        )

    async def _updated(self, event: HistoryEvent) -> list[SessionEvent]:
        completed = event.workflow_execution_update_completed_event_attributes
        name = self._updates.pop(completed.meta.update_id, "")
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
        return [SessionSettled(**self._told(event), bill=bill)]

    def _told(self, event: HistoryEvent) -> dict[str, Any]:
        return {"session_uuid": self._session_uuid, "position": "", "at": _moment(event)}

    async def _decoded(self, payloads: Sequence[Payload], model_type: type[ModelT]) -> ModelT | None:
        """What these payloads hold; None if it is something else."""
        if len(payloads) != 1:
            return None
        try:
            (found,) = await self._converter.decode(payloads, [model_type])
        except (ValueError, RuntimeError):
            return None
        return found if isinstance(found, model_type) else None


def _moment(event: HistoryEvent) -> datetime:
    return event.event_time.ToDatetime(tzinfo=UTC)
