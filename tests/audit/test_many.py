"""Many packs are verified on all cores."""

from __future__ import annotations

from pathlib import Path

import pytest

from masking.audit.many import FEW, Task, verify_many
from tests.audit.packed import KEYS, recorded

pytestmark = pytest.mark.anyio


async def test_many_packs_are_verified_by_several_processes_and_told_in_their_order(tmp_path: Path) -> None:
    content = (await recorded("quiet-r2")).content()
    paths = [tmp_path / f"{n}.evidence" for n in range(FEW + 2)]
    for path in paths[:-1]:
        path.write_bytes(content)
    paths[3].write_bytes(content.replace(b'"n":5,', b'"n":6,'))
    told = list(verify_many([[Task(str(tmp_path), path.name, KEYS) for path in paths]], processes=2))
    assert [task.name for task, _ in told] == [path.name for path in paths]
    assert [str(report.outcome) for _, report in told] == [
        "differs" if n in (3, len(paths) - 1) else "proven" for n in range(len(paths))
    ]
    assert "cannot read" in told[-1][1].checks[0].findings[0]
