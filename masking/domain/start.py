"""What a run of a session's workflow begins with."""

from __future__ import annotations

from pydantic import Field

from masking.domain.callbacks import Callback
from masking.domain.model import Model
from masking.domain.session import Session
from masking.domain.terms import SessionRequest


class Carried(Model):
    """What one run of a session's workflow hands to the next, when its history has grown long (continue-as-new).

    Or what an operator hands to a new run from the database, when the workflow was lost (`masking sessions resume`).

    Attributes:
        ending: the calls that the carrier was told to end already, by its ids.
        update_ids: the newest updates that were answered, so that one sent again happens once.
        written: the newest version of the session that is in the database; this one when None.
        callbacks, touched: what is still to be written with this one: callbacks to be queued, and the
            calls of which something is new, by the carrier's ids.
        outlives_cancel: whether cancelling the workflow ends the session early, instead of breaking it off.
        resumes: of a run that takes over from a lost one, the id of that one; empty where Temporal had none. None of a
            run to which the one before it handed over.
    """

    session: Session
    ending: tuple[str, ...] = ()
    update_ids: tuple[str, ...] = ()
    written: int | None = None
    callbacks: tuple[Callback, ...] = ()
    touched: tuple[str, ...] = ()
    outlives_cancel: bool = False
    resumes: str | None = Field(default=None, exclude_if=lambda resumes: resumes is None)


class SessionStart(SessionRequest):
    """What a run of the workflow begins with: what was asked for and, where it continues, what has been since."""

    carried: Carried | None = None
