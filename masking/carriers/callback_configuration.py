"""How often and how long a webhook is tried: Plivo's callback configuration, which is the fragment of its URL.

https://www.plivo.com/docs/voice/concepts/callback-configurations. By itself Plivo tries again once, and only where it
had no answer in time. It names the URLs that may have one: `answer_url`, `fallback_url`, `hangup_url`, `action` and
`callback_url`; those of a `Redirect`, a `confirmSound` and a transfer are not among them. The fragment is part neither
of the request nor of its signature (plivo-wire.md §5.11).
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urldefrag

ASKED = "#rt=5000&rc=2&rp=5xx,ct,rt"
"""For URLs that tell what to do: somebody listens to nothing meanwhile."""
TOLD = "#rc=5&rp=5xx,ct,rt"
"""For URLs that are told something: it must not be lost while we cannot take it, PostgreSQL being away, say."""

_DEFAULTS = {"ct": 2_000, "rt": 40_000, "tt": 55_000, "rc": 1}
_RETRIED = ("ct", "rt")
_RANGES = {"ct": (100, 10_000), "rt": (100, 40_000), "tt": (100, 55_000), "rc": (0, 5)}
_POLICIES = frozenset({"4xx", "5xx", "ct", "rt"})
_REGIONS = frozenset({"nearest", "local", "n_california", "n_virginia", "frankfurt", "singapore", "mumbai"})


class CallbackConfiguration(NamedTuple):
    """Plivo's names.

    Attributes:
        ct, rt, tt: milliseconds to connect, to be answered, and for all tries together.
        rc: tries after the first.
        rp: after which failures: `4xx`, `5xx`, `ct` no connection, `rt` no answer.
    """

    ct: int
    rt: int
    tt: int
    rc: int
    rp: frozenset[str]


def configuration_of(url: str) -> CallbackConfiguration:
    """What the fragment of a URL says.

    Raises:
        ValueError: something that Plivo does not document.
    """
    numbers, policies = dict(_DEFAULTS), frozenset(_RETRIED)
    fragment = urldefrag(url).fragment
    for pair in fragment.split("&") if fragment else ():
        name, _, value = pair.partition("=")
        if name in _RANGES:
            lowest, highest = _RANGES[name]
            if not (value.isascii() and value.isdecimal() and lowest <= int(value) <= highest):
                raise ValueError(f"the fragment's {name} must be a whole number, {lowest} to {highest}")
            numbers[name] = int(value)
        elif name == "rp":
            policies = frozenset(value.split(","))
            if not policies <= _POLICIES | {"all"}:
                raise ValueError("the fragment's rp must be some of 4xx, 5xx, ct, rt, all")
        elif name != "er" or value not in _REGIONS:
            raise ValueError("the fragment may hold ct, rt, tt, rc, rp and er, each with a value that Plivo documents")
    return CallbackConfiguration(
        numbers["ct"], numbers["rt"], numbers["tt"], numbers["rc"], _POLICIES if "all" in policies else policies
    )
