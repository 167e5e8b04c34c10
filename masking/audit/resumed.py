"""Runs of a session that were lost, and those that took over: whether the one leads to the other, without I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from temporalio.api.history.v1 import HistoryEvent

from masking.audit.history import resumes, start_in
from masking.domain.callbacks import Callback, Kind
from masking.domain.events import AnyCarrierEvent
from masking.domain.resuming import lacking, resumed
from masking.domain.session import Phase, Session
from masking.domain.start import SessionStart

Events = Sequence[HistoryEvent]


class Resumed(NamedTuple):
    """What there is to say of runs that were lost.

    Attributes:
        unproven: why what was before a run that took over is not proven; empty where all is.
        told_before: then the newest callback of each kind that was queued before; what these were is not proven.
        wrong: in what a run that took over contradicts the one before it.
        heard: what the lost runs had heard.
    """

    unproven: str = ""
    told_before: Mapping[Kind, int] = {}
    wrong: Sequence[str] = ()
    heard: Sequence[AnyCarrierEvent] = ()


@dataclass
class Led:
    """What runs that handed over to each other came to.

    Attributes:
        start: what the first of them began with.
        callbacks: what they had queued, or were about to, by the ids.
        heard: what they had heard, if another run took over.
        states: those they had of the version that this one took over.
        newest: the newest version that they are known to have had.
        was_reset: whether one was. What it had been before led to the state as well.
        failure: why they do not fit the code.
    """

    start: SessionStart | None
    callbacks: dict[str, Callback] = field(default_factory=dict)
    heard: list[AnyCarrierEvent] = field(default_factory=list)
    states: list[Session] = field(default_factory=list)
    newest: int = 0
    was_reset: bool = False
    failure: str = ""


def in_chains(runs: Sequence[Events]) -> list[list[Events]]:
    """The runs, together as long as each handed over to the next."""
    chains: list[list[Events]] = []
    for events in runs:
        if not chains or resumes(start_in(events)) is not None:
            chains.append([])
        chains[-1].append(events)
    return chains


def taken_version(start: SessionStart, before: SessionStart | None = None) -> int:
    """The version of the session that a run took over, before it counted as resumed."""
    session = _carried(start)
    return session.version - len(session.resumed) + _resumptions(before)


def combined(led: Sequence[Led]) -> tuple[dict[str, Callback], Resumed]:
    """All callbacks that were queued, and what there is to say of the runs that were lost."""
    callbacks: dict[str, Callback] = {}
    said = Resumed()
    for n, each in enumerate(led):
        if resumes(each.start) is not None and each.start is not None:
            before = led[n - 1] if n else None
            session, taken = _carried(each.start), taken_version(each.start, before.start if before else None)
            told_before: dict[Kind, int] = {
                "session": session.session_sequence,
                "recording": session.recording_sequence,
            }
            # What the lost run had decided beyond the state that was taken over, it never wrote.
            callbacks = {key: each for key, each in callbacks.items() if each.sequence <= told_before[each.kind]}
            if why := _unproven(before, taken, session):
                said = said._replace(unproven=why, told_before=told_before)
                callbacks.clear()
            elif before is not None and not _leads_to(before, session):
                what = f"a run took over version {taken} of the session, which is none to which the lost run led"
                said = said._replace(wrong=(*said.wrong, what))
        callbacks |= each.callbacks
        said = said._replace(heard=(*said.heard, *each.heard))
    return callbacks, said


def unheard(final: Session, heard: Sequence[AnyCarrierEvent]) -> list[str]:
    """The events that lost runs had heard and that are not in the session at its end, by their ids."""
    return [event.event_id for event in lacking(final.model_copy(update={"phase": Phase.DRAINING}), heard)]


def _unproven(before: Led | None, taken: int, session: Session) -> str:
    at = f"{session.resumed[-1]:%Y-%m-%d %H:%M:%S} UTC"
    if before is None:
        return f"the history begins in the middle: what was before the session was resumed, at {at}, is not in it"
    if before.failure:
        return f"the history of the run that was lost before {at} does not fit the workflow code: {before.failure}"
    if before.was_reset:
        return f"the run that was lost before {at} had been reset: what it had done before that is not in its history"
    if before.newest < taken:
        return f"the history of the run that was lost before {at} ends before version {taken}, which was taken over"
    return ""


def _leads_to(before: Led, session: Session) -> bool:
    """Whether a run had the state that was taken over, before it counted as resumed."""

    def as_resumed(state: Session) -> Session:
        # More than once, where the run that was to take over did not come about at first.
        for moment in session.resumed[len(state.resumed) :]:
            state = resumed(state, moment)
        return state

    return any(as_resumed(state) == session for state in before.states)


def _carried(start: SessionStart) -> Session:
    if start.carried is None:
        raise ValueError("a run that took over begins with a session")
    return start.carried.session


def _resumptions(start: SessionStart | None) -> int:
    return len(start.carried.session.resumed) if start is not None and start.carried is not None else 0
