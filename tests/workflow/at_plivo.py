"""What a session's workflow asks of Plivo, under the real names, with a memory instead of Plivo."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.plivo import ChangeAtCarrier, Done, OfSession, OpenedAtCarrier
from masking.carriers.plivo.callbacks import About, read_callback
from masking.carriers.plivo.session_resource import read_session
from masking.domain.counterpart.told import RULES, ToldSession
from masking.domain.events import AnyCarrierEvent
from masking.domain.session import REVISION, Session
from tests.carriers.plivo.truth import Talk, Truth, digest
from tests.workflow.conftest import Remembered


class AtPlivo:
    """A session at Plivo, as it is remembered.

    Attributes:
        orders: what was asked, in order.
        away: how many requests are not answered, from now on.
        refusal: what Plivo refuses everything with; empty when it does not.
        until: the second of the session's life at which its record stands still.
    """

    def __init__(self, remembered: Remembered) -> None:
        self._remembered = remembered
        self.truth = Truth([], expired=False)
        self.orders: list[str] = []
        self.away = 0
        self.refusal = ""
        self.until = math.inf
        self.session: Session | None = None

    def _asked(self, what: str) -> None:
        self.orders.append(what)
        if self.away:
            self.away -= 1
            raise ApplicationError("the carrier failed with 500", type="OutcomeUnknown")
        if self.refusal:
            raise ApplicationError(self.refusal, type="CarrierRefused", non_retryable=True)

    @property
    def told(self) -> ToldSession:
        return read_session(self.truth.resource(self.until))

    def events(self, *talks: Talk) -> list[AnyCarrierEvent]:
        """Plivo carries these calls, and would tell so by these events."""
        self.truth.talks += talks
        assert self.session is not None
        forever = datetime.max.replace(tzinfo=UTC)
        about = About(self.session.session_uuid, self.session.terms, lambda *_: None, forever, digest)
        only = Truth(list(talks), self.truth.start, self.truth.lives, expired=False)
        read = [read_callback(fields, about) for fields in only.callbacks()]
        return [event for event in read if event is not None]

    @activity.defn
    async def open_at_carrier(self, command: OfSession) -> OpenedAtCarrier:
        session = self.session = command.session
        if self.refusal:
            return OpenedAtCarrier(told=None, refusal=self.refusal)
        self._asked("open")
        self.truth.start = session.created_at.replace(microsecond=0)
        self.truth.lives = session.duration
        self._remembered.sessions[session.session_uuid] = session
        return OpenedAtCarrier(told=self.told, revision=REVISION, rules=RULES, outlives_cancel=True)

    @activity.defn
    async def abandon_at_carrier(self, command: OfSession) -> Done:
        self.orders.append("abandon")
        return Done()

    @activity.defn
    async def change_at_carrier(self, command: ChangeAtCarrier) -> ToldSession:
        self._asked("change")
        if command.change.session_expiry is not None:
            now = activity.info().current_attempt_scheduled_time
            self.truth.lives = int((now - self.truth.start).total_seconds()) + command.change.session_expiry
        return self.told

    @activity.defn
    async def expire_at_carrier(self, command: OfSession) -> Done:
        self._asked("expire")
        self.expire_by_hand(activity.info().current_attempt_scheduled_time)
        return Done()

    def expire_by_hand(self, at: datetime) -> None:
        """It ends at Plivo, whoever brought that about."""
        self.truth.expired = True
        self.truth.lives = max(0, int((at - self.truth.start) / timedelta(seconds=1)))

    @activity.defn
    async def look_at_carrier(self, command: OfSession) -> ToldSession:
        self._asked("look")
        # A session asks when its time is up, as far as it knows.
        if self.told.expires_at <= command.session.expires_at:
            self.truth.expired = True
        return self.told

    def activities(self) -> list[Callable[..., Any]]:
        """What to register with a worker, besides those that remember."""
        return [
            self.open_at_carrier,
            self.abandon_at_carrier,
            self.change_at_carrier,
            self.expire_at_carrier,
            self.look_at_carrier,
        ]
