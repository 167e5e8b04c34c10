"""By what a session recognises its callers on its virtual number.

Each of these belongs to one live or cooling session per number, which storage holds as
leases. An exact number beats a PIN, and a PIN beats "anyone".
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from masking.domain.events import Side
from masking.domain.terms import Terms

Kind = Literal["number", "pin", "anyone", "question", "stranger"]

ANYBODY = "anyone"


class Identity(NamedTuple):
    """What a caller is known by.

    Attributes:
        kind: two recognise nobody, and mark what a session has for callers whom nothing else
            recognises: `question` that it asks them for a PIN, `stranger` that it has an announcement.
        value: the number (E.164), the PIN, or what stands for it.
        side: the party that such a caller is.
    """

    kind: Kind
    value: str
    side: Side


def identities(session_uuid: str, terms: Terms) -> tuple[Identity, ...]:
    """What a session needs to hold of its number."""
    held = [Identity("number", number, side) for side, number in terms.parties.items()]
    held += [Identity("pin", pin, side) for side, pin in terms.pins.items()]
    if terms.open_side is not None:
        held.append(Identity("anyone", ANYBODY, terms.open_side))
    if terms.speaks_to_strangers:
        held.append(Identity("stranger" if terms.pin is None else "question", session_uuid, Side.FIRST))
    return tuple(held)


def shares_a_number(kind: Kind, other: Kind) -> bool:
    """Whether sessions with these identities may live on one number.

    A session that is open to anyone cannot share it with one that speaks to strangers:
    a caller would be taken for the other's.
    """
    return "anyone" not in (kind, other) or not {kind, other} & {"question", "stranger"}
