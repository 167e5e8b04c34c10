"""`masking accounts`, `masking numbers` and `masking phones` against a running system, as people use them: scenes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from masking.carriers.callback_configuration import ASKED
from tests.processes.running import FIRST, SECOND, Run, until

PEOPLE = (FIRST, SECOND, "+12025550111", "+12025550112", "+12025550150", "+12025550180", "+12025550188")
"""Whose phones the scenes use."""


def an_operator_makes_rotates_and_disables_accounts_of_a_running_system(run: Run, folder: Path) -> None:
    main = run.told("accounts", "create")
    sub = run.told("accounts", "create", "--parent", main["auth_id"])

    def status(account: dict[str, Any]) -> int:
        address = f"{run.ready['api_url']}/v1/Account/{account['auth_id']}/Masking/Session/"
        return httpx.get(address, auth=(account["auth_id"], account["auth_token"])).status_code

    assert (main["auth_id"][:2], sub["auth_id"][:2], len(sub["auth_id"])) == ("MA", "SA", 20)
    assert (status(main), status(sub)) == (200, 200)
    listed = {account["auth_id"]: account for account in run.told("accounts", "list")["accounts"]}
    assert listed[sub["auth_id"]]["parent_id"] == main["auth_id"]
    assert set(listed) == {run.ready["auth_id"], main["auth_id"], sub["auth_id"]}
    assert sub["auth_id"] in run.masking("accounts", "list").stdout

    rotated = run.told("accounts", "rotate-token", main["auth_id"], "--overlap", "0")
    assert (status(main), status(rotated)) == (401, 200)
    assert run.told("accounts", "disable", main["auth_id"]) == {"auth_id": main["auth_id"], "disabled": True}
    assert (status(rotated), status(sub)) == (401, 401)

    unknown = run.masking("accounts", "disable", "MA" + "X" * 18)
    assert unknown.exit_code == 2
    assert unknown.stderr == (
        "masking: there is no account with this auth id; list them with `masking accounts list`\n"
    )


def states(run: Run) -> dict[str, str]:
    return {number["number"]: number["state"] for number in run.told("numbers", "list")["numbers"]}


def an_operator_imports_drains_blocks_and_removes_numbers(run: Run, folder: Path) -> None:
    account = run.ready["auth_id"]
    before = states(run)

    wrong = folder / "wrong.csv"
    wrong.write_text(
        "number,country,area\n+12025550160,US,Washington\n+12025550161,IN,\ntwelve,,\n+12025550160,,\n+12025550162,US,\n"
    )
    refused = run.masking("numbers", "import", str(wrong), "--account", account)
    assert refused.exit_code == 2
    assert refused.stderr == (
        "masking: nothing was imported:\n"
        "  line 3: country is IN, but the number is of US\n"
        "  line 4: number must be a valid number in E.164, such as +12025550142\n"
        "  line 5: the same number as in line 2\n"
    )
    assert states(run) == before

    right = folder / "right.csv"
    right.write_text("number,area,capabilities\n+12025550160,Washington,voice sms\n+442079460001,London,\n")
    assert run.told("numbers", "import", str(right), "--account", account, "--dry-run") == {"checked": 2}
    assert run.told("numbers", "import", str(right), "--account", account) == {"added": 2, "known": 0}
    assert run.told("numbers", "import", str(right), "--account", account) == {"added": 0, "known": 2}
    (added,) = run.told("numbers", "list", "--country", "GB")["numbers"]
    assert (added["number"], added["area"], added["state"]) == ("+442079460001", "London", "available")
    assert "+12025550160" in run.masking("numbers", "list").stdout

    session = run.create()
    used = f"+{session['virtual_number']}"
    explained = run.told("numbers", "explain", FIRST, SECOND, "--account", account)
    obstacles = {each["number"]: each["obstacle"] for each in explained["numbers"]}
    assert obstacles[used].startswith("the first party meets it in another session until")
    assert obstacles["+442079460001"] == "it is of GB, not of US"
    assert obstacles[explained["next"]] is None
    assert "numbers could be had." in run.masking("numbers", "explain", FIRST, SECOND, "--account", account).stdout
    met = run.told("numbers", "who", used, SECOND)["sessions"]
    assert [(each["session_uuid"], each["party"], each["live"]) for each in met] == [
        (session["session_uuid"], "second", True)
    ]
    nobody = run.masking("numbers", "who", used, SECOND, "--at", "2020-01-01T00:00:00Z")
    assert (nobody.exit_code, nobody.stdout) == (
        1,
        "No session on this number had anything to do with this caller.\n",
    )
    metrics = run.http.get(f"http://127.0.0.1:{run.env['MASKING_METRICS_PORT']}/metrics").text
    assert f'masking_pool_in_use{{account="{account}",country="US"}} 1.0' in metrics
    blocked = run.masking("numbers", "block", used)
    assert blocked.exit_code == 1
    assert f"{used} is unchanged." in blocked.stdout
    assert session["session_uuid"] in blocked.stdout
    assert run.told("numbers", "remove", used, code=1)["live"][0]["session_uuid"] == session["session_uuid"]
    assert run.told("numbers", "block", used, "--drain")["state"] == "draining"
    assert states(run)[used] == "draining"
    other = run.create(first_party="+12025550111", second_party="+12025550112")
    assert f"+{other['virtual_number']}" != used, "no more sessions are opened on a draining number"

    run.expire(session["session_uuid"])
    assert run.told("numbers", "block", used) == {"number": used, "state": "blocked", "live": []}
    assert run.told("numbers", "reopen", used)["state"] == "available"
    assert run.told("numbers", "remove", used)["state"] == "removed"
    assert used not in states(run)
    unknown = run.masking("numbers", "drain", used)
    assert unknown.exit_code == 2
    assert unknown.stderr == (f"masking: {used} is not in the inventory; list it with `masking numbers list`\n")
    assert run.masking("numbers", "add", "+12025550163", "--account", "MA" + "X" * 18).exit_code == 2


def a_person_calls_watches_presses_keys_and_makes_chaos(run: Run, folder: Path) -> None:
    pin = {"is_pin_authentication_required": True, "generate_pin": True, "pin_prompt_play": "https://x.example/p.mp3"}
    session = run.create(**pin)
    number = f"+{session['virtual_number']}"

    seen = run.masking("phones", "call", FIRST, number, "--hangs-up-after", "5")
    assert seen.exit_code == 0, seen.stderr
    assert f"caller {FIRST}" in seen.stdout
    assert f"callee {SECOND}" in seen.stdout
    assert f"its screen shows {number}" in seen.stdout
    assert "They talked for " in seen.stdout
    assert "4000 Normal Hangup" in seen.stdout

    run.told("phones", "behave", SECOND, "--hangs-up-after", "3")
    guest = run.told(
        "phones", "call", "+12025550150", number, "--presses", "0000#", "--presses", session["first_party_pin"] + "#"
    )
    assert [leg["number"] for leg in guest["callees"]] == [SECOND]
    wrong = run.told("phones", "call", "+12025550188", number, code=1)
    assert wrong["callees"] == []

    assert run.told("phones", "show", "+12025550180")["behaviour"]["on_ring"] == "busy"
    assert [call["call_uuid"] for call in run.told("phones", "calls", "--limit", "2")["calls"]] == [
        wrong["call_uuid"],
        guest["call_uuid"],
    ]
    guests = run.masking("phones", "transcript", guest["call_uuid"])
    assert guests.exit_code == 0, guests.stderr
    assert "caller  pressed    ****" in guests.stdout
    assert f"callee  rang       its screen shows {number}" in guests.stdout
    assert session["first_party_pin"] not in guests.stdout
    assert run.told("phones", "transcript", guest["call_uuid"]) == guest
    unknown = run.masking("phones", "transcript", "nothing")
    assert (unknown.exit_code, unknown.stderr) == (2, "masking: the simulator refused: there is no such call\n")
    assert guest["call_uuid"] in run.masking("phones", "calls").stdout
    answer_url = f"{run.ready['api_url']}/carrier/voice/answer{ASKED}"
    in_service = run.told("phones", "numbers")["numbers"]
    assert {(each["number"], each["answer_url"]) for each in in_service} >= {(number, answer_url)}
    assert f"{number}  {answer_url}\n" in run.masking("phones", "numbers").stdout

    assert run.told("phones", "chaos", "--drop", "0.5", "--seed", "7")["drop"] == 0.5
    assert run.masking("phones", "chaos").stdout == "Faults: none.\n"

    busy = run.masking("phones", "press", FIRST, "1")
    assert busy.exit_code == 2
    assert busy.stderr == "masking: the simulator refused: it takes part in no call that could hear its keys\n"
    assert run.masking("phones", "call", FIRST, number, "--presses", "abc").exit_code == 2
    assert run.masking("phones", "show", "12").exit_code == 2


def a_plain_api_user_provokes_outcomes_with_magic_numbers(run: Run, folder: Path) -> None:
    session = run.create(first_party="+12025550180", initiate_call_to_first_party=True)

    def ended() -> dict[str, Any]:
        return run.get(session["session_uuid"])

    until(lambda: ended()["total_call_count"] == 1)
    (interaction,) = ended()["interaction"]
    call = run.http.get(interaction["first_party_resource_url"]).json()
    assert (call["hangup_cause_name"], call["call_state"]) == ("Busy Line", "NO_ANSWER")


SCENES: tuple[Callable[[Run, Path], None], ...] = (
    an_operator_makes_rotates_and_disables_accounts_of_a_running_system,
    an_operator_imports_drains_blocks_and_removes_numbers,
    a_person_calls_watches_presses_keys_and_makes_chaos,
    a_plain_api_user_provokes_outcomes_with_magic_numbers,
)
"""In this order. Each gets a running system, in which nobody has called anybody yet, and a folder for its files."""
