"""What carriers tell a session, as signals."""

from __future__ import annotations

from abc import ABC, abstractmethod

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from masking.domain.events import (
        Answer,
        AnyCarrierEvent,
        CarrierEvents,
        Declined,
        Hangup,
        PinStatus,
        RecordingCompleted,
        RecordingFailed,
        RecordingInitiated,
        Ring,
        SessionEnded,
    )


class CarrierSignals(ABC):
    """The signals of a session's workflow.

    Synchronous, and the domain ignores what it knows already: a signal that is repeated, late or
    out of order does no harm.
    """

    @abstractmethod
    def _hear(self, event: AnyCarrierEvent) -> None:
        """Take in what was told. Never raises."""

    @workflow.signal(description="Several of the others at once, in their order.")
    def events(self, told: CarrierEvents) -> None:
        """Several of the others at once, in their order."""
        for event in told.events:
            self._hear(event)

    @workflow.signal(description="A leg was answered.")
    def answer(self, event: Answer) -> None:
        """A leg was answered."""
        self._hear(event)

    @workflow.signal(description="A call about this session was not connected.")
    def declined(self, event: Declined) -> None:
        """A call about this session was not connected."""
        self._hear(event)

    @workflow.signal(description="The callee's phone began to ring.")
    def ring(self, event: Ring) -> None:
        """The callee's phone began to ring."""
        self._hear(event)

    @workflow.signal(description="A leg ended.")
    def hangup(self, event: Hangup) -> None:
        """A leg ended."""
        self._hear(event)

    @workflow.signal(description="A caller was asked for a PIN, or did not need one.")
    def pin_status(self, event: PinStatus) -> None:
        """A caller was asked for a PIN, or did not need one."""
        self._hear(event)

    @workflow.signal(description="Both parties are connected and the recording began.")
    def recording_initiated(self, event: RecordingInitiated) -> None:
        """Both parties are connected and the recording began."""
        self._hear(event)

    @workflow.signal(description="The recording's file is ready.")
    def recording_completed(self, event: RecordingCompleted) -> None:
        """The recording's file is ready."""
        self._hear(event)

    @workflow.signal(description="No recording came of a conversation that was to be recorded.")
    def recording_failed(self, event: RecordingFailed) -> None:
        """No recording came of a conversation that was to be recorded."""
        self._hear(event)

    @workflow.signal(description="The session ended at a carrier that does the masking itself.")
    def session_ended(self, event: SessionEnded) -> None:
        """The session ended at a carrier that does the masking itself."""
        self._hear(event)
