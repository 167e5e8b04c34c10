"""`masking numbers plan`, with neither a database nor keys."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from examples.demand import make
from masking.cli import app
from masking.domain.pool.simulation import Demand, Level
from masking.operate.csv_lines import MAX_TOLD
from masking.operate.plan import most_per_span, plot
from masking.operate.plan_history import read_history
from tests.domain.conversation import at

ROOT = Path(__file__).parent.parent.parent
HEADER = "created_at,ended_at,first_party,second_party,country,cooloff"
PARTIES = ("+12025550101", "+12025550102", "driver-17", "rider-4")

File = Callable[..., Path]


@pytest.fixture
def file(tmp_path: Path) -> File:
    def write(*lines: str, header: str = HEADER) -> Path:
        path = tmp_path / "history.csv"
        path.write_text("\n".join([header, *lines]) + "\n")
        return path

    return write


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting, no data folder, a terminal of a known width."""
    for name in ("DATABASE_URL", "MASKING_KEYS", "MASKING_KEYS_FILE", "MASKING_PAIR_GRACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MASKING_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("COLUMNS", "100")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["numbers", "plan", *map(str, arguments)])


def told(*arguments: str | Path) -> Any:
    result = run(*arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def refused(path: Path) -> str:
    """What a bad file is told, without its own name."""
    result = run("--history", path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert not any(party.removeprefix("+") in result.stderr for party in PARTIES)
    return result.stderr.replace(str(path), "FILE")


def test_a_history_is_read_in_its_own_words(file: File) -> None:
    path = file(
        "2026-11-23T14:00:00Z, 2026-11-23T14:30:00.5+00:00 ,driver-17,rider-4,us,600",
        "2026-11-23 19:30:00+05:30,2026-11-23T14:30,+12025550101,rider-4,,",
        "2026-11-23T14:00:00,2026-11-23T14:00:00,12025550101,+rider-4,IN,0",
    )
    two, half_past = datetime(2026, 11, 23, 14, tzinfo=UTC), datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
    assert read_history(path) == [
        Demand("US", "driver-17", "rider-4", two, half_past.replace(microsecond=500_000), 600),
        Demand("US", "12025550101", "rider-4", two, half_past),
        Demand("IN", "12025550101", "+rider-4", two, two),
    ]


def test_every_wrong_line_is_told_without_its_parties(file: File) -> None:
    good = "2026-11-23T14:00:00Z,2026-11-23T14:30:00Z"
    path = file(
        f"{good},driver-17,rider-4,US,",
        f"{good},driver-17,rider-4,,",
        f"{good},+12025550101,+12025550102,USA,",
        f"{good},+12025550101,12025550101,US,",
        f"{good},,rider-4,US,",
        f"{good},driver-17",
        f"{good},driver-17,rider-4,US,3601",
        f"{good},driver-17,rider-4,US,ten",
        "2026-11-23,2026-11-24T14:30:00Z,driver-17,rider-4,US,",
        "driver-17,2026-11-24T14:30:00Z,driver-17,rider-4,US,",
        "2026-11-23T14:00:00Z,9999-12-31T00:00:00Z,driver-17,rider-4,US,",
        "2026-11-23T14:00:00Z,0001-01-01T00:00:00+14:00,driver-17,rider-4,US,",
        "2026-11-23T14:00:00Z,2026-11-23T13:59:59Z,driver-17,rider-4,US,",
    )
    assert refused(path) == (
        "masking: FILE cannot be planned for:\n"
        "  line 3: country is missing, and first_party is not a phone number of a country in E.164\n"
        "  line 4: country must be an ISO country of two letters, such as US\n"
        "  line 5: first_party and second_party are the same\n"
        "  line 6: first_party is missing\n"
        "  line 7: second_party is missing\n"
        "  line 8: cooloff must be whole seconds, 0 to 3600\n"
        "  line 9: cooloff must be whole seconds, 0 to 3600\n"
        "  line 10: created_at must be a moment in ISO 8601, such as 2026-11-23T14:03:07Z\n"
        "  line 11: created_at must be a moment in ISO 8601, such as 2026-11-23T14:03:07Z\n"
        "  line 12: ended_at must be a moment in ISO 8601, such as 2026-11-23T14:03:07Z\n"
        "  line 13: ended_at must be a moment in ISO 8601, such as 2026-11-23T14:03:07Z\n"
        "  line 14: ended_at is before created_at\n"
    )


def test_of_many_wrong_lines_the_first_are_told(file: File) -> None:
    lines = refused(file(*[",,driver-17,rider-4,US,"] * (MAX_TOLD + 3))).splitlines()
    assert len(lines) == 1 + MAX_TOLD + 1
    assert lines[-1] == "  and 3 more"


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("created_at,ended_at,first_party", "(missing: second_party)"),
        (f"{HEADER},cool_off,fleet", "(unknown: column 7, 8)"),
        (f"{HEADER},country", "(some are named twice)"),
        # A file without a line of names tells parties there.
        ("2026-11-23T14:00:00Z,2026-11-23T14:30:00Z,driver-17,rider-4",
         "(missing: created_at, ended_at, first_party, second_party; unknown: column 1, 2, 3, 4)"),
        ("", "(missing: created_at, ended_at, first_party, second_party)"),
    ],
)  # fmt: skip
def test_the_columns_must_be_named(file: File, header: str, words: str) -> None:
    assert refused(file(header=header)) == (
        "masking: FILE: the first line must name the columns created_at, ended_at, first_party, second_party, "
        f"and may name country, cooloff, each once {words}\n"
    )


def test_a_file_that_cannot_be_read_is_told(file: File, tmp_path: Path) -> None:
    assert refused(tmp_path / "missing.csv").startswith("masking: FILE cannot be read: ")
    assert refused(tmp_path).startswith("masking: FILE cannot be read: ")
    assert refused(file()) == "masking: FILE has no sessions\n"
    assert refused(file('"driver-17" x,')).startswith("masking: FILE cannot be read: ")
    latin = tmp_path / "latin.csv"
    latin.write_bytes(f"{HEADER}\n\xe9driver-17".encode("latin-1"))
    assert refused(latin).startswith("masking: FILE cannot be read: 'utf-8'")


def test_machines_are_told_each_country(file: File) -> None:
    path = file(
        "2026-11-23T14:00:00Z,2026-11-23T14:10:00Z,driver-17,rider-4,US,",
        "2026-11-23T14:05:00Z,2026-11-23T14:10:00Z,driver-17,rider-5,US,",
        "2026-11-23T14:00:00Z,2026-11-23T14:10:00Z,driver-17,rider-4,IN,600",
    )
    answer = told("--history", path, "--grace", "60", "--refusal-rate", "0.5")

    assert (answer["refusal_rate"], answer["grace"]) == (0.5, 60)
    india, states = answer["countries"]
    assert states == {
        "country": "US",
        "sessions": 2,
        "most_sessions_of_a_party": 2,
        "needed": 1,
        "refused": 1,
        "refusal_rate": 0.5,
        "needed_to_refuse_none": 2,
        "bound": 3,
        "bound_is_proven": True,
        "proven": 3,
        "most_in_use": 1,
        "in_use": [
            {"since": "2026-11-23T14:00:00+00:00", "numbers": 1},
            {"since": "2026-11-23T14:11:00+00:00", "numbers": 0},
        ],
    }
    assert (india["country"], india["bound"], india["bound_is_proven"], india["proven"]) == ("IN", 1, False, 2)


def test_a_person_is_told_what_is_proven_and_what_is_not(file: File) -> None:
    path = file(
        "2026-11-23T14:00:00Z,2026-11-23T14:10:00Z,driver-17,rider-4,IN,600",
        "2026-11-23T14:00:00Z,2026-11-23T14:10:00Z,+12025550101,+12025550102,,",
    )
    result = run("--history", path)

    assert result.exit_code == 0
    assert re.search(r"^IN +1 +1 +1 +0 \(0 %\) +1 +1 \*$", result.stdout, re.MULTILINE)
    assert re.search(r"^US +1 +1 +1 +0 \(0 %\) +1 +1$", result.stdout, re.MULTILINE)
    assert (
        "* IN: not proven, since whole numbers rest, after up to 1 sessions at a time; 2 numbers are." in result.stdout
    )
    assert not any(party.removeprefix("+") in result.stdout for party in PARTIES)


def test_the_grace_is_the_setting_unless_given(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file("2026-11-23T14:00:00Z,2026-11-23T14:10:00Z,driver-17,rider-4,US,")
    assert told("--history", path)["grace"] == 1800
    monkeypatch.setenv("MASKING_PAIR_GRACE", "60")
    assert told("--history", path)["grace"] == 60
    assert told("--history", path, "--grace", "0")["grace"] == 0
    monkeypatch.setenv("MASKING_PAIR_GRACE", "soon")
    result = run("--history", path)
    assert result.exit_code == 2
    assert result.stderr.startswith("masking: MASKING_PAIR_GRACE: ")


@pytest.mark.parametrize("wrong", [["--refusal-rate", "2"], ["--grace", "-1"], []])
def test_wrong_options_are_refused(file: File, wrong: Sequence[str]) -> None:
    history = ["--history", str(file())] if wrong else []
    assert run(*history, *wrong).exit_code == 2


def test_a_history_that_holds_nothing_has_no_plot(file: File) -> None:
    result = run("--history", file("2026-11-23T14:00:00Z,2026-11-23T14:00:00Z,driver-17,rider-4,US,"), "--grace", "0")
    assert result.exit_code == 0
    assert "numbers in use" not in result.stdout


def test_the_plot_shows_the_most_of_each_span() -> None:
    levels = [
        Level(at(0), 1),
        Level(at(50), 4),
        Level(at(55), 2),
        Level(at(80), 0),
        Level(at(90), 1),
        Level(at(100), 0),
    ]
    assert most_per_span(levels, 10) == [1, 1, 1, 1, 1, 4, 2, 2, 0, 1]
    assert plot(levels, 40, 2) == [
        "    4 │                    ██",
        "      │▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄████████████    ▄▄▄▄",
        "    0 └────────────────────────────────────────",
        "       2026-11-23 14:00    2026-11-23 14:01 UTC",
    ]


@pytest.mark.parametrize(("name", "text"), list(make.contents()), ids=list(make.FILES))
def test_an_example_is_what_its_generator_makes(name: str, text: str) -> None:
    kept = (make.FOLDER / name).read_bytes()
    assert kept == text.encode()
    assert len(kept) < 300_000


def test_the_generator_writes_the_examples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make.main(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(make.FILES)
    assert all((tmp_path / name).read_bytes() == (make.FOLDER / name).read_bytes() for name in make.FILES)
    assert capsys.readouterr().out.count("sessions") == len(make.FILES)


@pytest.mark.parametrize("name", list(make.FILES))
def test_the_docs_show_what_the_command_prints(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page = (ROOT / "docs" / "numbers.md").read_text()
    (shown,) = re.findall(rf"(?ms)^\$ masking numbers plan --history examples/demand/{name}\n(.*?)^(?:\$|```)", page)

    printed = run("--history", make.FOLDER / name).stdout.splitlines()
    assert len(shown.split()) > 10
    for line in shown.splitlines():
        assert line in ("", "…") or line in printed
