"""By what a session recognises its callers on its virtual number.

Each of these belongs to one live or cooling session per number, which storage holds as
leases. An exact number beats a PIN, and a PIN beats "anyone".
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from masking.domain.events import Side
from masking.domain.terms import Terms

Kind = Literal["number", "pin", "anyone", "stranger"]

ANYBODY = "anyone"


class Identity(NamedTuple):
    """What a caller is known by.

    Attributes:
        kind: `stranger` recognises nobody: it marks a session that has a question or an
            announcement for callers whom nothing else recognises.
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
        held.append(Identity("stranger", session_uuid, Side.FIRST))
    return tuple(held)


def shares_a_number(kind: Kind, other: Kind) -> bool:
    """Whether sessions with these identities may live on one number.

    A session that is open to anyone cannot share it with one that asks callers for a PIN:
    a caller would be taken for the other's.
    """
    return {kind, other} != {"anyone", "stranger"}
