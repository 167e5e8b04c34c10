"""Why a leg ended, as Plivo names and numbers it (plivo-wire.md §7.6)."""

from __future__ import annotations

from typing import NamedTuple


class HangupCause(NamedTuple):
    """A cause: its number, and the carrier's words."""

    code: int
    name: str

    @property
    def standard(self) -> str:
        """The standard telephony cause, which Plivo tells besides its own."""
        return _STANDARD.get(self.code, "NORMAL_CLEARING")


_STANDARD = {
    1000: "ORIGINATOR_CANCEL",
    3000: "NO_ANSWER",
    3010: "USER_BUSY",
    3020: "CALL_REJECTED",
    3050: "UNALLOCATED_NUMBER",
    6010: "NO_ANSWER",
}

UNKNOWN = HangupCause(0, "Unknown")
CANCELED = HangupCause(1000, "Canceled")
LOOP_DETECTED = HangupCause(2060, "Loop Detected")
NO_ANSWER = HangupCause(3000, "No Answer")
BUSY_LINE = HangupCause(3010, "Busy Line")
REJECTED = HangupCause(3020, "Rejected")
UNALLOCATED_NUMBER = HangupCause(3050, "Unallocated number")
NORMAL_HANGUP = HangupCause(4000, "Normal Hangup")
END_OF_XML = HangupCause(4010, "End Of XML Instructions")
SCHEDULED_HANGUP = HangupCause(6000, "Scheduled Hangup")
RING_TIMEOUT = HangupCause(6010, "Ring Timeout Reached")
ANSWER_URL_UNREACHABLE = HangupCause(7011, "Error Reaching Answer URL")
ACTION_URL_UNREACHABLE = HangupCause(7012, "Error Reaching Action URL")
TRANSFER_URL_UNREACHABLE = HangupCause(7013, "Error Reaching Transfer URL")
REDIRECT_URL_UNREACHABLE = HangupCause(7014, "Error Reaching Redirect URL")
INVALID_ACTION_URL = HangupCause(7022, "Invalid Action URL")
INVALID_REDIRECT_URL = HangupCause(7024, "Invalid Redirect URL")
INVALID_ACTION_METHOD = HangupCause(7032, "Invalid Method For Action URL")
INVALID_REDIRECT_METHOD = HangupCause(7034, "Invalid Method For Redirect URL")
INVALID_ANSWER_XML = HangupCause(8011, "Invalid Answer XML")
INVALID_ACTION_XML = HangupCause(8012, "Invalid Action XML")
INVALID_TRANSFER_XML = HangupCause(8013, "Invalid Transfer XML")
INVALID_REDIRECT_XML = HangupCause(8014, "Invalid Redirect XML")
