"""Callbacks pass the check of Standard Webhooks' libraries."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from masking.delivery.standard_webhooks import standard_headers, standard_signature


def test_the_example_of_the_specification_is_signed_as_there() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = standard_signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', key)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_valid_token_signs_and_without_one_nobody_does() -> None:
    headers = standard_headers("s:session:1", 1_700_000_000, b"A=1", ["old", "new"])
    assert headers == {
        "webhook-id": "s:session:1",
        "webhook-timestamp": "1700000000",
        "webhook-signature": " ".join(
            standard_signature("s:session:1", 1_700_000_000, b"A=1", token) for token in (b"old", b"new")
        ),
    }
    assert standard_headers("s:session:1", 1_700_000_000, b"A=1", []) == {}


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_another_body_another_signature(one: bytes, other: bytes) -> None:
    signed = [standard_signature("id", 1, body, b"key") for body in (one, other)]
    assert (signed[0] == signed[1]) == (one == other)
