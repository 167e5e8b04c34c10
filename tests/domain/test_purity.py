"""The domain and the workflows read no clock, no chance, no environment, and do no I/O.

The workflow sandbox does not guard modules that are passed through it, so this test does.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FILES = sorted([*ROOT.glob("masking/domain/**/*.py"), *ROOT.glob("workflows/**/*.py"), ROOT / "masking/contract.py"])

FORBIDDEN_MODULES = {
    "os", "sys", "time", "random", "secrets", "socket", "subprocess", "threading", "pathlib", "io", "logging",
    "httpx", "aiohttp", "psycopg", "requests", "sqlalchemy", "cryptography",
}  # fmt: skip
FORBIDDEN_CALLS = {"now", "utcnow", "today", "uuid1", "uuid4", "urandom", "getenv", "open", "print", "input"}
ALLOWED_CALLS = {"workflow.now"}


def impurities(source: str) -> list[str]:
    """Every impure import and call in a module."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in FORBIDDEN_MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FORBIDDEN_MODULES:
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name.split(".")[-1] in FORBIDDEN_CALLS and name not in ALLOWED_CALLS:
                found.append(name)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_pure(path: Path) -> None:
    assert impurities(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import random",
        "from os import environ",
        "x = datetime.now(UTC)",
        "import datetime\nx = datetime.datetime.utcnow()",
        "from uuid import uuid4\nx = uuid4()",
        "open('f')",
    ],
)
def test_the_check_sees_an_impurity(source: str) -> None:
    assert impurities(source)


def test_there_is_something_to_check() -> None:
    assert len(FILES) > 12
