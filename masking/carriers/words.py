"""What callers hear from us, in words."""

from __future__ import annotations

SESSION_ENDED = "This number is no longer connected to your call partner. Goodbye."
EXPIRY_WARNING = "This connection is about to end."
FAREWELL = "This connection ends now. Goodbye."
OUT_OF_ORDER = "Your call cannot be connected at the moment. Please try again in a minute."
