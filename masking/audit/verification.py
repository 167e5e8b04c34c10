"""Whether a pack holds what it says: bytes, signature, history, state, callbacks, decisions, money.

Needs neither a server nor a database. Each check is proven, or differs, or could not be done, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

from masking.audit import comparison, resumed
from masking.audit.history import Run, faults, result_of, resumes, runs_of, start_of
from masking.audit.keys import Keys, cipher_of
from masking.audit.opening import Contents, WrongContents, opened
from masking.audit.pack import Code, Header, Pack, signed_part
from masking.audit.replay import Replayed, replay
from masking.audit.signing import is_signed
from masking.domain.bill.charges import Bill
from masking.domain.model import Model
from masking.domain.session import Session
from masking.privacy.keyring import Unreadable

MOST_TOLD = 50
"""So many differences of one check are told."""


class State(StrEnum):
    """What came of a check."""

    PROVEN = "proven"
    DIFFERS = "differs"
    NOT_DONE = "not done"


class Check(Model):
    """One check. `findings` are what differs, or why it could not be done."""

    name: str
    state: State
    findings: tuple[str, ...] = ()


class Report(Model):
    """What verifying a pack came to.

    Attributes:
        session_uuid, code, public_key: as the header names them; None where it cannot be read.
    """

    session_uuid: str | None
    code: Code | None
    public_key: str | None
    checks: tuple[Check, ...]

    @property
    def outcome(self) -> State:
        """Differs where anything does; proven where everything is."""
        states = {check.state for check in self.checks}
        return next((each for each in (State.DIFFERS, State.NOT_DONE) if each in states), State.PROVEN)


async def verify(pack: Pack, keys: Keys) -> Report:
    """Check everything about a pack that can be checked with these keys."""
    header = pack.header
    checks = [*_of_bytes(pack, keys)]
    if header is None or any(check.state is State.DIFFERS for check in checks[:2]):
        checks += _not_done("the pack was altered", "history", "replay", "bill", "state", "callbacks", "decisions",
                            "ledger")  # fmt: skip
    else:
        checks += await _of_contents(pack, header, keys)
    return Report(
        session_uuid=header and header.session_uuid,
        code=header and header.code,
        public_key=header and header.public_key,
        checks=tuple(checks),
    )


def _of_bytes(pack: Pack, keys: Keys) -> Iterator[Check]:
    """Bytes and signature, for which no key is needed."""
    yield _check("bytes", map(str, pack.faults))
    if pack.header is None or pack.seal is None:
        yield from _not_done("the header or the seal cannot be read", "signature", "signer")
        return
    public_key, seal = pack.header.public_key, pack.seal
    signed = is_signed(public_key, seal.signature, signed_part(seal.lines, seal.root))
    yield _check("signature", [] if signed else ["the signature is not that of the key in the header"])
    if keys.signer is None:
        yield from _not_done(f"nobody said whose it must be: compare {public_key}, or name it with --signer", "signer")
    else:
        yield _check("signer", [] if keys.signer == public_key else [f"it was signed by another key, {public_key}"])


async def _of_contents(pack: Pack, header: Header, keys: Keys) -> list[Check]:
    names = ("history", "replay", "bill", "state", "callbacks", "decisions", "ledger")
    try:
        cipher = cipher_of(header, keys)
        runs, held = runs_of(pack.records, cipher), opened(pack.records, cipher)
    except Unreadable as error:
        return list(_not_done(str(error), *names))
    except WrongContents as error:
        return [_check("history", [str(error)]), *_not_done("a record cannot be read", *names[1:])]
    wrong = list(faults(runs, header))
    if wrong:
        return [_check("history", wrong), *_not_done("the history is not whole", *names[1:])]
    replayed = await replay(header.session_uuid, [run.events for run in runs])
    unproven = replayed.resumed.unproven
    if replayed.failure:
        does_not_fit = f"the history does not fit the workflow code: {replayed.failure}"
        return [_check("history", []), _check("replay", [does_not_fit]), *_not_done("it was not replayed", *names[2:])]
    checks = [_check("history", []), *_recomputed(runs, held, replayed)]
    return [_as_far_as_it_goes(check, unproven) if check.name != "replay" else check for check in checks]


def _as_far_as_it_goes(check: Check, unproven: str) -> Check:
    """A check where something that was before is not proven: nothing differs, and that is all that can be said."""
    if not unproven or check.state is not State.PROVEN:
        return check
    return Check(name=check.name, state=State.NOT_DONE, findings=(unproven,))


def _recomputed(runs: Sequence[Run], held: Contents, replayed: Replayed) -> Iterator[Check]:
    handed = [start for run in runs[1:] if resumes(start := start_of(run)) is None]
    differing = comparison.differences("what a run handed to the next", handed, replayed.continued)
    yield _check("replay", [*map(str, differing), *replayed.resumed.wrong])
    if replayed.bill is None:
        yield _check("bill", ["the history does not end with a bill"])
        yield from _not_done("there is no bill", "state", "callbacks", "decisions", "ledger")
        return
    yield _check("bill", comparison.differences("the workflow's result,", result_of(runs[-1]), replayed.bill))
    if held.row is None or replayed.session is None:
        refused = held.row is None and replayed.session is None and replayed.bill.refusal != ""
        found = [] if refused else ["only one of the history and the database knows that the session was opened"]
        yield _check("state", found)
        stored = (("callbacks", held.callbacks), ("decisions", held.calls), ("ledger", held.settlement))
        for name, there in stored:
            yield _check(name, ["there is something of a session that was never opened"] if there else [])
        return
    state = comparison.of_session(held.row, held.number, held.terms, held.session, replayed.session)
    unheard = resumed.unheard(replayed.session, replayed.resumed.heard)
    lost = [f"event {each} reached a run that was lost, and is not in the session" for each in unheard]
    yield _check("state", [*map(str, state), *lost])
    before = replayed.resumed.told_before
    told = {
        record.callback_id: each
        for record, each in held.callbacks
        if each is not None and each.sequence > before.get(each.kind, 0)
    }
    yield _check("callbacks", comparison.of_callbacks(told, replayed.callbacks))
    decided = {record.call_uuid: each for record, each in held.calls if each is not None}
    yield _check("decisions", comparison.of_calls(decided, replayed.session))
    yield _of_ledger(held, replayed.bill, replayed.session)


def _of_ledger(held: Contents, replayed: Bill, session: Session) -> Check:
    if held.unknown:
        (check,) = _not_done(f"newer code wrote {', '.join(held.unknown)}", "ledger")
        return check
    if held.settlement is None:
        return _check("ledger", ["the bill is not stored"])
    corrections = {each.event_id: each for each in held.corrections}
    found = comparison.of_settlement(held.settlement, replayed)
    found += comparison.of_corrections(corrections, session, held.late)
    return _check("ledger", [*found, *comparison.of_entries(held.entries, session, held.late)])


def _check(name: str, found: Iterable[object]) -> Check:
    told = [str(each) for each in found]
    if len(told) > MOST_TOLD:
        told = [*told[:MOST_TOLD], f"and {len(told) - MOST_TOLD} more"]
    return Check(name=name, state=State.DIFFERS if told else State.PROVEN, findings=tuple(told))


def _not_done(why: str, *names: str) -> Iterator[Check]:
    for name in names:
        yield Check(name=name, state=State.NOT_DONE, findings=(why,))
