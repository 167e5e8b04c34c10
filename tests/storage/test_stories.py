"""Any story of creates, extensions, new parties, expiries and time: every call reaches whom a simple model says.

What an operator is told afterwards about a past call (`masking numbers who`) is held to the same.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from masking.domain.events import Side
from masking.domain.lifecycle import changed, elapsed, expired, opened, requested
from masking.domain.reach import reaches
from masking.domain.routing import (
    CallPolicy,
    Connect,
    Decision,
    Guesses,
    SayEnded,
    decide,
    decide_pin,
    decide_unknown,
)
from masking.domain.session import Session
from masking.domain.terms import Change, PinTerms
from masking.privacy.keyring import Keyring
from masking.storage import routes
from masking.storage.accounts import ensure_account, ensure_numbers
from masking.storage.call_routes import find_route, find_route_by_pin, find_route_for_strangers
from masking.storage.database import Connection, Database
from masking.storage.number_questions import sessions_around
from masking.storage.opening import Exhausted, open_session
from masking.storage.sessions import record_session
from tests.conftest import ACCOUNT, LOOKUP_KEY, MASTER_KEY, TOKEN
from tests.domain.conversation import request

KEYRING = Keyring({"k1": MASTER_KEY}, "k1", LOOKUP_KEY)
BEGIN = datetime(2026, 11, 23, tzinfo=UTC)
GRACE = 60
PARTIES = [f"+1202555010{n}" for n in range(4)]
STRANGERS = ["+12025550150", ""]
NUMBERS = [f"+1202555019{n}" for n in range(4)]
PINS = ["1111", "2222", "3333"]

STORIES = int(os.environ.get("STORIES", "25"))

parties, numbers, seconds = st.sampled_from(PARTIES), st.sampled_from(NUMBERS), st.integers(60, 600)


@dataclass
class Known:
    """What the model knows of a session. `left` says until when nobody else gets the route of who left."""

    uuid: str
    number: str
    first: str
    second: str
    pins: dict[str, Side]
    expires: datetime
    cooloff: int
    left: list[tuple[str, datetime]] = field(default_factory=list)

    @property
    def held(self) -> datetime:
        return self.expires + timedelta(seconds=max(GRACE, self.cooloff))

    def away(self, now: datetime) -> set[str]:
        """Who left, while nobody else gets its route: no longer than those of the parties that stayed."""
        return {party for party, until in self.left if now < min(until, self.held)}

    @property
    def present(self) -> list[str]:
        return [party for party in (self.first, self.second) if party]

    def other(self, side: Side) -> str:
        return self.second if side is Side.FIRST else self.first

    @property
    def open_side(self) -> Side | None:
        if self.pins or (self.first and self.second):
            return None
        return Side.SECOND if self.first else Side.FIRST


class Met(NamedTuple):
    """What the model expects of a call: whom it reaches, or that it hears of an end."""

    session: str | None
    reached: str | None
    ended: bool = False


class Called(NamedTuple):
    at: datetime
    number: str
    caller: str
    pin: str
    met: Met


NOBODY = Met(None, None)


class Stories(RuleBasedStateMachine):
    """Sessions of every kind on a small pool, and calls between and beside them."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.now, self.count = BEGIN, 0
        self.known: dict[str, Known] = {}
        self.sessions: dict[str, Session] = {}
        self.calls: list[Called] = []
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("TRUNCATE accounts, routes CASCADE")
            connection.execute("UPDATE sim.clock SET now = %s", (self.now,))
        self.database = Database(self.url, size=2)
        self.runner.run(self.database.__aenter__())
        self.write(self._stock)

    async def _stock(self, connection: Connection) -> None:
        await ensure_account(connection, KEYRING, ACCOUNT, TOKEN)
        await ensure_numbers(connection, ACCOUNT, [(number, "US") for number in NUMBERS])

    def write(self, work: Any, *given: object) -> Any:
        async def in_transaction() -> object:
            async with self.database.transaction() as connection:
                return await work(connection, *given)

        return self.runner.run(in_transaction())

    def teardown(self) -> None:
        try:
            self.operators_are_told_what_happened()
        finally:
            self.runner.run(self.database.__aexit__())
            self.runner.close()

    # What happens

    @rule(passed=st.integers(1, 400))
    def time_passes(self, passed: int) -> None:
        self.passes(passed)

    def passes(self, passed: int) -> None:
        until = self.now + timedelta(seconds=passed)
        for session in sorted(self.sessions.values(), key=lambda each: each.expires_at):
            if not session.over and session.expires_at <= until:
                self.turns(session.expires_at)
                self.step(elapsed(session, self.now).session)
        self.turns(until)

    def turns(self, now: datetime) -> None:
        self.now = now
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("UPDATE sim.clock SET now = %s", (self.now,))

    @rule(
        pair=st.lists(parties, min_size=2, max_size=2, unique=True),
        missing=st.sampled_from([None, None, Side.FIRST, Side.SECOND]),
        pins=st.none() | st.none() | st.permutations(PINS),
        cooloff=st.sampled_from([0, 0, 300]),
        expiry=seconds,
    )
    def somebody_creates(
        self, pair: list[str], missing: Side | None, pins: list[str] | None, cooloff: int, expiry: int
    ) -> None:
        first, second = ("" if missing is side else party for side, party in zip(Side, pair, strict=True))
        pin = None if pins is None else PinTerms(
            first_party=pins[0], second_party=pins[1], prompt_play="https://customer.example/pin.mp3"
        )  # fmt: skip
        update = {"first_party": first, "second_party": second, "single_party": missing is not None, "pin": pin}
        base = request(session_expiry=expiry)
        self.count += 1
        asked = base.model_copy(
            update={
                "session_uuid": str(UUID(int=self.count)),
                "pair_grace": GRACE,
                "terms": base.terms.model_copy(update={**update, "virtual_number_cooloff_period": cooloff}),
            }
        )
        session = requested(asked, self.now)
        opening = self.write(open_session, KEYRING, session, "US")
        if isinstance(opening, Exhausted):
            if missing is None and pin is None:
                free = [number for number in NUMBERS if self.could_have(number, pair)]
                assert not free, f"refused although {free} were free"
            return
        number = opening.virtual_number
        assert self.could_have(number, [p for p in (first, second) if p])
        session = opened(session, number).session
        self.write(record_session, KEYRING, session, ())
        self.sessions[session.session_uuid] = session
        by_pin = {} if pins is None else {pins[0]: Side.FIRST, pins[1]: Side.SECOND}
        self.known[session.session_uuid] = Known(
            session.session_uuid, number, first, second, by_pin, session.expires_at, cooloff
        )

    @rule(data=st.data(), expiry=seconds)
    def somebody_moves_the_expiry(self, data: st.DataObject, expiry: int) -> None:
        session = self.some_live(data)
        if session is not None:
            self.step(changed(session, Change(session_expiry=expiry), self.now).session)

    @rule(data=st.data())
    def somebody_expires_early(self, data: st.DataObject) -> None:
        session = self.some_live(data)
        if session is not None:
            self.step(expired(session, self.now).session)

    @rule(data=st.data(), party=parties)
    def somebody_names_a_party(self, data: st.DataObject, party: str) -> None:
        session = self.some_live(data, single=True)
        if session is None or party in session.terms.parties.values():
            return
        known = self.known[session.session_uuid]
        missing = "second_party" if known.first else "first_party"
        after = changed(session, Change(**{missing: party}), self.now).session
        before = changed(session, Change(), self.now).session
        if not self.write(routes.change_parties, KEYRING, before, after.terms):
            assert party in self.holders(known.number, besides=known)
            return
        left = set(known.present) - {after.terms.first_party, after.terms.second_party}
        known.left += [(one, known.held) for one in left]
        known.first, known.second = after.terms.first_party, after.terms.second_party
        self.step(after)

    @rule(caller=parties | st.sampled_from(STRANGERS), number=numbers)
    def somebody_calls(self, caller: str, number: str) -> None:
        decision = self.write(self._decided, number, caller)
        self.compare(Called(self.now, number, caller, "", self.expected(caller, number)), decision)

    @rule(data=st.data(), caller=st.sampled_from(STRANGERS), pin=st.sampled_from(PINS))
    def a_stranger_enters_a_pin(self, data: st.DataObject, caller: str, pin: str) -> None:
        asking = sorted({known.number for known in self.known.values() if known.pins and self.now < known.expires})
        if not asking:
            return
        number = data.draw(st.sampled_from(asking))
        decision = self.write(self._decided_by_pin, number, caller, pin)
        self.compare(Called(self.now, number, caller, pin, self.expected_by_pin(pin, number)), decision)

    # What is held

    @invariant()
    def no_caller_belongs_to_two_sessions(self) -> None:
        for number in NUMBERS:
            holding = [party for known in self.on(number) for party in known.present]
            assert len(holding) == len(set(holding))
            pins = [pin for known in self.on(number) for pin in known.pins]
            assert len(pins) == len(set(pins))
            assert sum(known.open_side is not None for known in self.on(number)) <= 1

    def operators_are_told_what_happened(self) -> None:
        for call in self.calls:
            around = self.write(sessions_around, KEYRING, call.number, call.at)
            found = reaches(around, call.caller, call.pin, call.at)
            first = found[0] if found else None
            uuid = first.session.session_uuid if first is not None and first.party is not None else None
            if call.met.session is None:
                assert uuid is None, call
            else:
                assert first is not None
                assert (uuid, first.live) == (call.met.session, not call.met.ended), call

    # How

    async def _decided(self, connection: Connection, number: str, caller: str) -> Decision:
        found = await find_route(connection, KEYRING, number, caller, "a call")
        found = found or await find_route_for_strangers(connection, KEYRING, number, caller)
        return decide(number, found.route, Guesses(), found.now, CallPolicy()) if found else decide_unknown()

    async def _decided_by_pin(self, connection: Connection, number: str, caller: str, pin: str) -> Decision:
        entered = await find_route_by_pin(connection, KEYRING, number, pin, caller, "a call")
        asked = await find_route_for_strangers(connection, KEYRING, number, caller)
        assert asked is not None
        entered_route = entered.route if entered is not None else None
        return decide_pin(number, asked.route, entered_route, 0, Guesses(), asked.now, CallPolicy())

    def compare(self, called: Called, decision: Decision) -> None:
        reached = decision.to if isinstance(decision, Connect) else None
        assert reached == called.met.reached, (called, decision)
        assert isinstance(decision, SayEnded) == called.met.ended, (called, decision)
        if isinstance(decision, Connect):
            assert decision.caller_id == called.number
        self.calls.append(called)
        # A past moment tells apart only what did not happen at once.
        self.passes(1)

    def expected(self, caller: str, number: str) -> Met:
        for known in self.on(number):
            if caller and caller in known.present:
                if self.now >= known.expires:
                    return Met(known.uuid, None, ended=True)
                return Met(known.uuid, known.other(Side.FIRST if caller == known.first else Side.SECOND) or None)
        for known in self.on(number):
            if caller in known.away(self.now):
                return Met(known.uuid, None, ended=True)
        for known in self.on(number):
            side = known.open_side
            if side is not None:
                return Met(known.uuid, known.other(side)) if self.now < known.expires else Met(known.uuid, None, True)
        return NOBODY

    def expected_by_pin(self, pin: str, number: str) -> Met:
        for known in self.on(number):
            if pin in known.pins:
                if self.now >= known.expires:
                    return Met(known.uuid, None, ended=True)
                return Met(known.uuid, known.other(known.pins[pin]) or None)
        return NOBODY

    def on(self, number: str) -> Iterator[Known]:
        """The sessions that hold routes on a number."""
        return (known for known in self.known.values() if known.number == number and self.now < known.held)

    def holders(self, number: str, besides: Known) -> set[str]:
        others = [known for known in self.on(number) if known is not besides]
        return {party for known in others for party in (*known.present, *known.away(self.now))}

    def could_have(self, number: str, pair: list[str]) -> bool:
        for known in self.known.values():
            if known.number != number:
                continue
            rests = known.expires <= self.now < known.expires + timedelta(seconds=known.cooloff)
            if rests or (self.now < known.held and {*known.present, *known.away(self.now)} & set(pair)):
                return False
        return True

    def some_live(self, data: st.DataObject, *, single: bool = False) -> Session | None:
        live = [s for s in self.sessions.values() if self.now < s.expires_at and (s.terms.single_party or not single)]
        return data.draw(st.sampled_from(live)) if live else None

    def step(self, session: Session) -> None:
        assert self.write(record_session, KEYRING, session, ())
        self.sessions[session.session_uuid] = session
        self.known[session.session_uuid].expires = session.expires_at


@pytest.mark.long
def test_every_call_of_any_story_reaches_whom_it_should(clocked_url: str) -> None:
    bound = type("Stories", (Stories,), {"url": clocked_url})
    # To make a story that fails shorter takes minutes, in which a run is given up and nothing of it is known: so it is
    # told as it was, with what plays it again.
    told_at_once = settings(
        max_examples=STORIES,
        stateful_step_count=40,
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
        print_blob=True,
    )
    run_state_machine_as_test(bound, settings=told_at_once)
