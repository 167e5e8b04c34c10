"""How log lines are written: without anything that looks like a phone number, a PIN or a token.

Our own records hold none. This is the second net, for what a library or an exception may say.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Literal

Format = Literal["text", "json"]

REMOVED = "[removed]"

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_CREDENTIALS = re.compile(r"(?i)\b(basic|bearer)\s+[A-Za-z0-9+/=._~-]{8,}")
_SECRET = re.compile(r"(?<![\w+-])(?:whsec_)?[A-Za-z0-9+_-]{32,}={0,2}(?![\w+-])")
_PIN = re.compile(r"(?i)\b(pins?|digits)(\W{1,4})[0-9]{4,15}\b")
_NUMBER = re.compile(r"(?<![\w.:/-])(?:\+[1-9][0-9 ().-]{6,20}[0-9]|[1-9][0-9]{9,14})(?![\w-])")


def redacted(text: str) -> str:
    """The text without what looks like a phone number, a PIN or a token; ids of sessions and workflows stay."""
    text = _CREDENTIALS.sub(rf"\1 {REMOVED}", text)
    text = _SECRET.sub(lambda found: found[0] if _UUID.search(found[0]) else REMOVED, text)
    text = _PIN.sub(rf"\1\2{REMOVED}", text)
    return _NUMBER.sub(REMOVED, text)


class LogFormatter(logging.Formatter):
    """Writes a record with its exception, as a line for people or as a JSON object for machines, redacted.

    Args:
        process: the name of the process.
    """

    def __init__(self, process: str, form: Format) -> None:
        super().__init__(f"%(asctime)s {process} %(levelname)s %(name)s: %(message)s")
        self._process, self._form = process, form

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        if self._form == "text":
            return redacted(super().format(record))
        told = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "process": self._process,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redacted(record.getMessage()),
        }
        if record.exc_info:
            told["exception"] = redacted(self.formatException(record.exc_info))
        return json.dumps(told)
