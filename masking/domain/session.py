"""The state of a session, and the rules that it follows."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from pydantic import Field

from masking.domain.bill.money import ZERO, Rate
from masking.domain.counterpart.told import RULES, Counterpart
from masking.domain.events import AnyCarrierEvent, Declined, Hangup, PinStatus
from masking.domain.interaction import Interaction
from masking.domain.model import Model
from masking.domain.terms import AtExpiry, Carrier, Terms

REVISION = 5
"""The rules of today. A session follows those under which it was opened, so that its history replays.

1: callbacks were delivered by activities of the workflow; a call whose caller had left was waited for to its
   longest possible end; the carrier was never asked for what it had not told; each event came by itself.
2: the end was always written down first and the bill closed by another activity; what was told between that and
   the end of the workflow was left out.
3: what was told of a call after it had been given up, and before the bill was closed, was left out of the bill; what
   was told before the session was known to be open made callbacks without number and price; the format of a recording
   was told without its dot.
4: a callee's leg that never was, as its caller left before anybody was dialled, counted as one of 0 seconds, whose end
   was told; a long history grew by a timer all the time while the carrier was asked for something; while a session that
   had ended waited for the carrier's record, nothing was written down and no update was answered.
"""


class NewerRules(Exception):
    """A session follows rules that are newer than this code."""


class Phase(StrEnum):
    """Where a session is in its life."""

    OPENING = "opening"
    ACTIVE = "active"
    DRAINING = "draining"
    SETTLED = "settled"
    REFUSED = "refused"


class Status(StrEnum):
    """What Plivo's API calls the state of a session."""

    ACTIVE = "active"
    IN_PROGRESS = "in-progress"
    EXPIRED = "expired"


class FormerParties(Model):
    """The parties that a single-party session had until a moment; E.164, one of them may be empty.

    Attributes:
        until: when the parties changed, UTC.
        held_until: the end of the grace in which nobody else gets the route of one that left, UTC.
    """

    until: datetime
    held_until: datetime
    first_party: str
    second_party: str


class Session(Model):
    """Everything a session is. The workflow holds one and replaces it at every step.

    Attributes:
        wrong_pins, declined: the newest tries that failed and calls that were not connected.
        rate: of legs whose calls have no rates of their own; its currency is that of the bill.
        session_fee: what the session costs by itself once it is open.
        remarks: what an operator should know, in words.
        former_parties: whom it had before its parties changed, oldest first.
        asked_expires_at: the expiry that was asked for, while the session goes on beyond it for a call (UTC).
        revision: the rules that it follows, see `REVISION`.
        version: counts the steps that changed something, so that a late write never overwrites a newer one.
        session_sequence, recording_sequence: the numbers of the last callbacks of each kind.
        carrier: who masks it.
        counterpart: the session at a carrier that does the masking itself; None until it is open, and elsewhere.
        resumed: when an operator had it go on from its stored state, because its workflow was lost, UTC. How often that
            was tells what the lost workflow still writes from what the one that goes on writes.
    """

    session_uuid: str
    account_id: str
    subaccount_id: str | None = None
    terms: Terms
    rate: Rate
    session_fee: Decimal = Field(default=ZERO, exclude_if=lambda fee: not fee)
    pair_grace: int
    recording_wait: int
    resource_base_url: str
    phase: Phase
    created_at: datetime
    modified_at: datetime
    expires_at: datetime
    virtual_number: str = ""
    interactions: dict[str, Interaction] = Field(default_factory=dict)
    wrong_pins: tuple[PinStatus, ...] = ()
    declined: tuple[Declined, ...] = ()
    remarks: tuple[str, ...] = ()
    former_parties: tuple[FormerParties, ...] = ()
    at_expiry: AtExpiry = "finish"
    asked_expires_at: datetime | None = None
    revision: int = 1
    refusal: str = ""
    settled_at: datetime | None = None
    session_sequence: int = 0
    recording_sequence: int = 0
    version: int = 0
    carrier: Carrier = Field(default="voice", exclude_if=lambda carrier: carrier == "voice")
    counterpart: Counterpart | None = Field(default=None, exclude_if=lambda counterpart: counterpart is None)
    resumed: tuple[datetime, ...] = Field(default=(), exclude_if=lambda resumed: not resumed)

    @property
    def owner_id(self) -> str:
        """Whose numbers the session uses, and whose token signs its callbacks."""
        return self.subaccount_id or self.account_id

    @property
    def held_until(self) -> datetime:
        """The end of its grace: until then nobody else gets its routes, however long its calls may last besides."""
        grace = max(self.pair_grace, self.terms.virtual_number_cooloff_period)
        return self.expires_at + timedelta(seconds=grace)

    @property
    def over(self) -> bool:
        """Whether it was open and has expired since."""
        return self.phase in (Phase.DRAINING, Phase.SETTLED)

    @property
    def status(self) -> Status:
        """The state in Plivo's words."""
        if self.phase not in (Phase.OPENING, Phase.ACTIVE):
            return Status.EXPIRED
        return Status.IN_PROGRESS if any(i.live for i in self.interactions.values()) else Status.ACTIVE

    def status_at(self, now: datetime) -> Status:
        """The state at a moment: expired means expired, also before the workflow could write it down."""
        return Status.EXPIRED if now >= self.expires_at else self.status

    @property
    def duration(self) -> int:
        """Whole seconds from creation to expiry (plivo-wire.md §5.1)."""
        return int((self.expires_at - self.created_at).total_seconds())

    @property
    def conversations(self) -> tuple[Interaction, ...]:
        """The interactions, oldest first."""
        return tuple(sorted(self.interactions.values(), key=lambda i: (i.first_seen_at, i.call.call_uuid)))


def check_known_rules(session: Session) -> None:
    """Raise `NewerRules` where a newer worker opened the session: this one would do other things than that began."""
    for what, theirs, ours in (
        ("revision", session.revision, REVISION),
        ("rules for its counterpart", session.counterpart.rules if session.counterpart is not None else 0, RULES),
    ):
        if theirs > ours:
            raise NewerRules(f"the session follows {what} {theirs}, and this worker knows {ours}: a newer one goes on")


def by_the_rules_of(session: Session, event: AnyCarrierEvent) -> AnyCarrierEvent:
    """What a session makes of what it is told: up to revision 4 it knows of no leg that never was."""
    if session.revision > 4 or not isinstance(event, Hangup) or not event.never_dialled:
        return event
    return event.model_copy(update={"never_dialled": False})
