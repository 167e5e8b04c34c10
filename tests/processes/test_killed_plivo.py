"""What a run that kills parts under sessions of Plivo's plans, and finds. `make chaos` runs it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest

from masking.domain.bill.charges import Bill, Charge
from masking.domain.events import Side
from masking.run.service import MANY_DEATHS
from tests.carriers.plivo.live import LivePlivo
from tests.carriers.plivo.stub import Made
from tests.carriers.plivo.truth import Talk, Truth
from tests.integration.stubbed_plivo import AUTH_ID, TOKEN
from tests.processes.killed_plan import plan
from tests.processes.killed_plivo import Masking
from tests.processes.killed_truth import faults
from tests.processes.killed_world import Lived
from tests.processes.test_killed import a_run

UUID = "2f0c2a52-1b44-4b6e-9d0b-6a4e3f0d8f11"


@pytest.mark.parametrize("seed", range(40))
def test_no_part_is_killed_so_often_that_it_is_not_started_again(seed: int) -> None:
    kills = plan(seed, 1, 40, 6.0, short=True, carrier="plivo").kills
    assert len(kills) == 40
    for kill in kills:
        assert sum(kill.at - 60 <= each.at <= kill.at and each.part == kill.part for each in kills) < MANY_DEATHS


def masked() -> tuple[Masking, Lived, Made]:
    """A right session, before its end: ours, and Plivo's."""
    plivo = LivePlivo(1, AUTH_ID, TOKEN)
    ride = plan(1, 1, 0, 4.0, short=True, carrier="plivo").rides[0]
    start = plivo.now() - timedelta(minutes=5)
    talk = Talk(10, talks=20, recorded=True)
    truth = Truth([talk], start, 7200, expired=False, parties={Side.FIRST: ride.first, Side.SECOND: ride.second})
    told = {
        "callback_url": f"https://masking.example/carrier/plivo/sessions/{UUID}/secret",
        "record_file_format": "mp3",
    }
    made = Made("at-plivo", ride.body | told, "12025550142", truth)
    plivo.sessions[made.uuid] = made
    charge = Charge(call_count=2, duration=45, billed_duration=120, amount=talk.amount)
    bill = Bill(
        session_uuid=UUID, account_id="a", currency="USD", calls=charge, session_amount=Decimal(0), duration=60,
        last_interaction_time=None, settled_at=start,
    )  # fmt: skip
    lived = Lived(ride, UUID, "+12025550142", bill=bill)
    lived.final = made.arguments | plivo.shown(made)
    return Masking(plivo), lived, made


def end(lived: Lived, made: Made) -> None:
    made.ended = made.truth.expired = True
    made.truth.lives = 100
    lived.final["expiry_time"] = made.truth.at(100)


def test_one_session_at_plivo_that_ended_as_ours_did_is_right() -> None:
    network, lived, made = masked()
    network.seen(lived, lived.final)
    assert lived.faults == []
    end(lived, made)
    assert list(network.faults([lived])) == []


def another(network: Masking, made: Made) -> None:
    network.plivo.sessions["another"] = Made("another", made.arguments, "12025550143", made.truth, ended=True)


WRONG: dict[str, Callable[[Masking, Lived, Made], object]] = {
    "it goes on at Plivo": lambda network, lived, made: setattr(made, "ended", False),
    "Plivo made it twice": lambda network, lived, made: another(network, made),
    "it ended at another time": lambda network, lived, made: setattr(made.truth, "lives", 101),
    "its bill is another": lambda network, lived, made: made.truth.talks.append(Talk(60)),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_at_plivo_is_found(wrong: Callable[[Masking, Lived, Made], object]) -> None:
    network, lived, made = masked()
    end(lived, made)
    wrong(network, lived, made)
    assert list(network.faults([lived]))


@pytest.mark.parametrize(
    ("name", "value"), [("ring_timeout", 30), ("expiry_time", "2026-11-28 03:00:00 +0000 UTC"), ("second_party", "1")]
)
def test_other_terms_than_plivos_are_found(name: str, value: object) -> None:
    network, lived, _ = masked()
    network.seen(lived, lived.final | {name: value})
    assert len(lived.faults) == 1


def test_what_plivo_told_in_vain_may_be_missing_if_its_record_does_not_tell_it() -> None:
    network, lived, made = masked()
    told = {each["EventName"]: each for each in made.truth.told_of(1)}
    network.plivo.told = [
        (made, told["SessionSecondPartyRing"], "lost"),
        (made, told["SessionFirstPartyHangup"], "lost"),
    ]
    network.plivo.told += [(made, told["SessionRecordingInitiated"], "taken")]
    assert [each["EventName"] for each in network.lost(lived)] == ["SessionSecondPartyRing"]


def test_a_callback_is_missed_unless_nobody_can_know_of_it() -> None:
    ran = a_run()
    ring = next(id_ for id_, each in ran.told["s"].items() if each.params["EventName"] == "SessionSecondPartyRing")
    ran.sessions[0].lost = [ran.told["s"].pop(ring).params]
    ran.counts["callbacks"] -= 1
    for n, each in enumerate(ran.told["s"].values(), 1):
        each.params["SequenceNumber"] = str(n)
    assert list(faults(ran)) == []
    ran.sessions[0].lost = []
    assert list(faults(ran))
