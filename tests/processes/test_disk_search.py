"""The search for what must not be readable on disk finds it."""

from __future__ import annotations

import base64
from pathlib import Path

from tests.processes.disk_search import forms, readable


def test_the_search_finds_a_secret_in_every_form(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 10_000_001)
    for form in forms("12025550101"):
        (tmp_path / "file").write_bytes(b"\0ab" + form + b"cd\0")
        assert readable(tmp_path, ["12025550101"]) == ["11 characters in file"], form
    many = [f"1202555{n:04}" for n in range(50)]
    assert readable(tmp_path, [*many, "8401937265", "a-token-of-forty-characters-0123456789-x"]) == []
    for secret in ("12025550007", "12025550049", "8401937265"):
        for form in forms(secret):
            (tmp_path / "file").write_bytes(form[:-1] + form + form[1:])
            assert readable(tmp_path, [*many, "8401937265"]) == [f"{len(secret)} characters in file"], form
    for before in (b"", b"a", b"ab"):
        (tmp_path / "file").write_bytes(base64.b64encode(before + b"12025550101" + before))
        assert readable(tmp_path, ["12025550101"]) == ["11 characters in file"], before
