"""The client as somebody else's service sees it: what it loads, and its types."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
OUTSIDE = Path(__file__).parent / "outside.py"

NEEDLESS = ("psycopg", "aiohttp", "sqlalchemy", "alembic", "obstore", "prometheus_client", "typer", "rich")
ROOMS = (
    "masking.gateway",
    "masking.storage",
    "masking.carriers",
    "masking.settings",
    "workflows",
    "activities",
    "worker",
)


@pytest.mark.parametrize("module", ["masking.client", "masking.client.in_workflow", "masking.nexus"])
def test_it_loads_neither_the_gateway_nor_the_database(module: str) -> None:
    script = f"import sys, {module}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "temporalio.client" in loaded
    assert [name for name in loaded if name.split(".")[0] in NEEDLESS] == []
    assert [name for name in loaded if name.startswith(ROOMS)] == []


def test_its_types_hold_in_strict_mode_as_an_outside_user_runs_mypy(tmp_path: Path) -> None:
    """Without our settings and without pydantic's plugin; and a wrong use is seen."""
    wrong = OUTSIDE.read_text().replace(
        "await sessions.extend(session.session_uuid, 600)", "await sessions.extend(600)"
    )
    (tmp_path / "wrong.py").write_text(wrong)
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = true\nfollow_imports = silent\n")

    command = [sys.executable, "-m", "mypy", "--config-file", str(tmp_path / "mypy.ini")]
    files = [str(OUTSIDE), str(tmp_path / "wrong.py"), "--cache-dir", str(ROOT / ".mypy_cache" / "outside")]
    told = subprocess.run([*command, *files], cwd=ROOT, capture_output=True, text=True, check=False).stdout

    errors = [line for line in told.splitlines() if " error: " in line]
    assert 'Missing positional argument "session_expiry"' in errors[0]
    assert all("wrong.py:" in error for error in errors)
    assert told.endswith("(checked 2 source files)\n")


def test_an_installed_masking_tells_type_checkers_that_it_is_typed() -> None:
    assert (ROOT / "masking" / "py.typed").exists()
    assert 'masking = ["py.typed"]' in (ROOT / "pyproject.toml").read_text()
