"""Who would have reached whom through a number at a past moment."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from masking.domain.events import Side
from masking.domain.leases import Kind
from masking.domain.session import Session
from masking.domain.terms import Terms


class Reach(NamedTuple):
    """How a session knew a caller at a moment.

    Attributes:
        recognised: by what: its number, the PIN it entered, as anyone; `stranger` by nothing,
            when the session had only a question or an announcement for it.
        party: which party the caller was; None for a stranger.
        live: whether a call could be forwarded; if not, the session had ended, or the caller was
            no party of it any more, and the grace went on.
    """

    session: Session
    recognised: Kind
    party: Side | None
    live: bool


def terms_at(session: Session, at: datetime) -> Terms:
    """The session's terms with the parties that it had at a moment."""
    for former in session.former_parties:
        if at < former.until:
            update = {"first_party": former.first_party, "second_party": former.second_party}
            return session.terms.model_copy(update=update)
    return session.terms


def reaches(sessions: Iterable[Session], caller: str, pin: str, at: datetime) -> list[Reach]:
    """The sessions of one number that a caller met at a moment, the one that decided about its call first.

    As for a call that happens now (`masking.storage.calls`): a caller's own route goes before a PIN, a PIN
    before "anyone", and only a caller whom no session knows is a stranger: to a live session that asks for
    a PIN, else to one that has an announcement, of several the one that ends last. Beside it stand the
    sessions whose grace still held the caller's route.

    Args:
        sessions: those on the number, with their final times. An extension is only taken before
            the expiry that it moves, so what was live at a moment is within them.
        caller: E.164; empty when it hid its number.
        pin: what it entered; empty for none.
        at: UTC.
    """
    around = [session for session in sessions if session.created_at <= at < session.held_until]
    found = [reach for session in around for reach in _known(session, caller, pin, at)]
    found.sort(key=lambda reach: (_ORDER.index(reach.recognised), not reach.live, reach.session.session_uuid))
    if found:
        return found
    strangers = [s for s in around if at < s.expires_at and terms_at(s, at).speaks_to_strangers]
    asks = {session.session_uuid: terms_at(session, at).pin is not None for session in strangers}
    strangers.sort(key=lambda s: (not asks[s.session_uuid], -s.expires_at.timestamp(), s.session_uuid))
    return [Reach(session, "stranger", None, live=True) for session in strangers[:1]]


_ORDER: tuple[Kind, ...] = ("number", "pin", "anyone")


def _known(session: Session, caller: str, pin: str, at: datetime) -> Iterable[Reach]:
    terms, live = terms_at(session, at), at < session.expires_at
    party = next((side for side, number in terms.parties.items() if number == caller), None)
    if party is not None:
        yield Reach(session, "number", party, live)
        return
    former = _former_party(session, caller, at)
    if former is not None:
        yield Reach(session, "number", former, live=False)
        return
    entered = next((side for side, known in terms.pins.items() if pin and known == pin), None)
    if entered is not None:
        yield Reach(session, "pin", entered, live)
    elif terms.open_side is not None:
        yield Reach(session, "anyone", terms.open_side, live)


def _former_party(session: Session, caller: str, at: datetime) -> Side | None:
    """The party that a caller had been until not long before; its route is kept from others like the session's."""
    for former in session.former_parties:
        for side, number in ((Side.FIRST, former.first_party), (Side.SECOND, former.second_party)):
            if caller and number == caller and former.until <= at < former.held_until:
                return side
    return None


def in_words(reach: Reach, at: datetime) -> str:
    """How the session treated the caller, for an operator."""
    terms = terms_at(reach.session, at)
    if reach.party is None:
        return "asks strangers for a PIN" if terms.pin is not None else "plays its announcement to strangers"
    known = {"number": f"knows it as its {reach.party} party", "pin": f"takes its PIN for the {reach.party} party's",
             "anyone": f"takes anyone for its {reach.party} party"}[reach.recognised]  # fmt: skip
    if not reach.live:
        return f"{known}, and says that it has ended"
    if terms.pin is not None and terms.pin.force and reach.recognised == "number":
        return f"{known}, and asks for a PIN before it connects"
    return (
        f"{known}, and connects it"
        if terms.parties.get(reach.party.other)
        else f"{known}, and connects the last caller"
    )
