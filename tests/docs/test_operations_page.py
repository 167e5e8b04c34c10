"""docs/operations.md shows the session state machine as it is."""

from __future__ import annotations

import re
from pathlib import Path

from masking.domain.lifecycle import TABLE, Trigger
from masking.domain.session import Phase

PAGE = (Path(__file__).parent.parent.parent / "docs" / "operations.md").read_text()


def test_the_table_of_triggers_and_phases_is_the_domains() -> None:
    (head,) = re.findall(r"^\| Trigger \| (.+) \|$", PAGE, re.MULTILINE)
    phases = [Phase(name) for name in head.split(" | ")]
    assert set(phases) == set(Phase)
    for trigger in Trigger:
        (row,) = re.findall(rf"^\| {trigger} \| (.+) \|$", PAGE, re.MULTILINE)
        assert row.split(" | ") == [TABLE[phase][trigger] for phase in phases]
