"""`masking phones` against a running system, as a person at the bench uses it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes.test_run import FIRST, SECOND, Run, environment, until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Run]:
    run = Run(environment(tmp_path / "data", MASKING_SIMULATOR_SPEED="20"))
    yield run
    run.kill()


def phones(run: Run, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run.masking("phones", *arguments)


def told(run: Run, *arguments: str, code: int = 0) -> dict[str, Any]:
    return run.told("phones", *arguments, code=code)


def test_a_person_calls_watches_presses_keys_and_makes_chaos(bench: Run) -> None:
    pin = {"is_pin_authentication_required": True, "generate_pin": True, "pin_prompt_play": "https://x.example/p.mp3"}
    session = bench.create(**pin)
    number = f"+{session['virtual_number']}"

    seen = phones(bench, "call", FIRST, number, "--hangs-up-after", "5")
    assert seen.returncode == 0, seen.stderr
    assert f"caller {FIRST}" in seen.stdout
    assert f"callee {SECOND}" in seen.stdout
    assert f"its screen shows {number}" in seen.stdout
    assert "They talked for " in seen.stdout
    assert "4000 Normal Hangup" in seen.stdout

    told(bench, "behave", SECOND, "--hangs-up-after", "3")
    guest = told(
        bench, "call", "+12025550150", number, "--presses", "0000#", "--presses", session["first_party_pin"] + "#"
    )
    assert [leg["number"] for leg in guest["callees"]] == [SECOND]
    wrong = told(bench, "call", "+12025550188", number, code=1)
    assert wrong["callees"] == []

    assert told(bench, "show", "+12025550180")["behaviour"]["on_ring"] == "busy"
    assert [call["call_uuid"] for call in told(bench, "calls", "--limit", "2")["calls"]] == [
        wrong["call_uuid"],
        guest["call_uuid"],
    ]
    guests = phones(bench, "transcript", guest["call_uuid"])
    assert guests.returncode == 0, guests.stderr
    assert "caller  pressed    ****" in guests.stdout
    assert f"callee  rang       its screen shows {number}" in guests.stdout
    assert session["first_party_pin"] not in guests.stdout
    assert told(bench, "transcript", guest["call_uuid"]) == guest
    unknown = phones(bench, "transcript", "nothing")
    assert (unknown.returncode, unknown.stderr) == (2, "masking: the simulator refused: there is no such call\n")
    assert guest["call_uuid"] in phones(bench, "calls").stdout
    answer_url = f"{bench.ready['api_url']}/carrier/voice/answer"
    in_service = told(bench, "numbers")["numbers"]
    assert {(each["number"], each["answer_url"]) for each in in_service} >= {(number, answer_url)}
    assert f"{number}  {answer_url}\n" in phones(bench, "numbers").stdout

    assert told(bench, "chaos", "--drop", "0.5", "--seed", "7")["drop"] == 0.5
    assert phones(bench, "chaos").stdout == "Faults: none.\n"

    busy = phones(bench, "press", FIRST, "1")
    assert busy.returncode == 2
    assert busy.stderr == "masking: the simulator refused: it takes part in no call that could hear its keys\n"
    assert phones(bench, "call", FIRST, number, "--presses", "abc").returncode == 2
    assert phones(bench, "show", "12").returncode == 2


def test_a_plain_api_user_provokes_outcomes_with_magic_numbers(bench: Run) -> None:
    session = bench.create(first_party="+12025550180", initiate_call_to_first_party=True)

    def ended() -> dict[str, Any]:
        return bench.get(session["session_uuid"])

    until(lambda: ended()["total_call_count"] == 1)
    (interaction,) = ended()["interaction"]
    call = bench.http.get(interaction["first_party_resource_url"]).json()
    assert (call["hangup_cause_name"], call["call_state"]) == ("Busy Line", "NO_ANSWER")
