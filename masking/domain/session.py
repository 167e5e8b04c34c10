"""The state of a session, and the bill that follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from pydantic import Field

from masking.domain.events import Declined, PinStatus
from masking.domain.interaction import Interaction
from masking.domain.model import Model
from masking.domain.money import Rate, billed_seconds, leg_amount
from masking.domain.terms import AtExpiry, Terms

ZERO = Decimal(0)

REVISION = 3
"""The rules of today. A session follows those under which it was opened, so that its history replays.

1: callbacks were delivered by activities of the workflow; a call whose caller had left was waited for to its
   longest possible end; the carrier was never asked for what it had not told; each event came by itself.
2: the end was always written down first and the bill closed by another activity; what was told between that and
   the end of the workflow was left out.
"""


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
        remarks: what an operator should know, in words.
        former_parties: whom it had before its parties changed, oldest first.
        asked_expires_at: the expiry that was asked for, while the session goes on beyond it for a call (UTC).
        revision: the rules that it follows, see `REVISION`.
        version: counts the steps that changed something, so that a late write never overwrites a newer one.
        session_sequence, recording_sequence: the numbers of the last callbacks of each kind.
    """

    session_uuid: str
    account_id: str
    subaccount_id: str | None = None
    terms: Terms
    rate: Rate
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


class Charge(Model):
    """What calls cost: legs, seconds from answer, billed seconds, and money."""

    call_count: int = 0
    duration: int = 0
    billed_duration: int = 0
    amount: Decimal = ZERO

    def __bool__(self) -> bool:
        return any((self.call_count, self.duration, self.billed_duration, self.amount))

    def __sub__(self, other: Charge) -> Charge:
        return Charge(
            call_count=self.call_count - other.call_count,
            duration=self.duration - other.duration,
            billed_duration=self.billed_duration - other.billed_duration,
            amount=self.amount - other.amount,
        )

    def __add__(self, other: Charge) -> Charge:
        return Charge(
            call_count=self.call_count + other.call_count,
            duration=self.duration + other.duration,
            billed_duration=self.billed_duration + other.billed_duration,
            amount=self.amount + other.amount,
        )


class Bill(Model):
    """A session's totals (masking-session-api.txt, "The Session Object"). Final once `settled_at` is set.

    Attributes:
        calls: the charge of all legs.
        session_amount: the fee for the session itself.
        last_interaction_time: when the last conversation ended, UTC; None before the first has.
    """

    session_uuid: str
    account_id: str
    currency: str
    calls: Charge
    session_amount: Decimal
    duration: int
    last_interaction_time: datetime | None
    settled_at: datetime | None
    refusal: str = ""

    @property
    def total_amount(self) -> Decimal:
        """Calls and session fee together."""
        return self.calls.amount + self.session_amount


class SessionSnapshot(Model):
    """The short view of a session that queries and updates answer with."""

    session_uuid: str
    account_id: str
    status: Status
    phase: Phase
    virtual_number: str
    created_at: datetime
    modified_at: datetime
    expires_at: datetime
    interaction_count: int
    bill: Bill
    version: int


def leg_charge(answered_seconds: int, rate: Rate) -> Charge:
    """The charge of one leg that lasted `answered_seconds` from its answer."""
    billed = billed_seconds(answered_seconds, rate)
    return Charge(call_count=1, duration=answered_seconds, billed_duration=billed, amount=leg_amount(billed, rate))


def interaction_charge(interaction: Interaction, rate: Rate) -> Charge:
    """The charge of a conversation: each leg that has ended, billed on its own."""
    ended = (leg.hangup for _, leg in interaction.legs if leg.hangup is not None)
    return total(leg_charge(hangup.duration, rate) for hangup in ended)


def total(charges: Iterable[Charge]) -> Charge:
    """The sum of charges."""
    return sum(charges, Charge())


def bill(session: Session) -> Bill:
    """The totals that follow from the session's events so far."""
    ends = [i.ended_at for i in session.interactions.values() if i.ended_at is not None]
    return Bill(
        session_uuid=session.session_uuid,
        account_id=session.account_id,
        currency=session.rate.currency,
        calls=total(interaction_charge(i, session.rate) for i in session.interactions.values()),
        session_amount=ZERO,
        duration=session.duration,
        last_interaction_time=max(ends, default=None),
        settled_at=session.settled_at,
        refusal=session.refusal,
    )


def snapshot(session: Session) -> SessionSnapshot:
    """The short view of `session`."""
    return SessionSnapshot(
        session_uuid=session.session_uuid,
        account_id=session.account_id,
        status=session.status,
        phase=session.phase,
        virtual_number=session.virtual_number,
        created_at=session.created_at,
        modified_at=session.modified_at,
        expires_at=session.expires_at,
        interaction_count=len(session.interactions),
        bill=bill(session),
        version=session.version,
    )
