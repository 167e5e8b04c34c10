"""Plivo's signatures, against its official vectors and its official SDK."""

from __future__ import annotations

from urllib.parse import urlencode

import plivo.utils
import pytest

from masking.carriers.signature import NONCE, SIGNATURE, is_signed_by, plivo_v3, signed_headers

# The official vectors: plivo-go's TestValidateSignatureV3Pass1 to 4 (plivo-wire.md §6.1).
VECTOR_TOKEN = "Y2Q2ZDgxZmY5YWRiOTI5YmQ1Njg0MTAxZWIyOTc4"
VECTOR_NONCE = "31627761595286130198"
VECTOR_URL = "https://plivobin.non-prod.plivops.com/api/v1/validate_signature03.xml"
VECTOR_UUID = "3e82ae9d-2c78-4d85-b1a4-6eae7dbafb36"
VECTOR_SIP = "sip:PlivoSignature382029104058171078704104"
VECTOR_PARAMS = {
    "Direction": "outbound",
    "From": "19792014278",
    "ALegUUID": VECTOR_UUID,
    "CallStatus": "in-progress",
    "BillRate": "0.002",
    "ParentAuthID": "MANWVLYTK4ZWU1YTY4QA",
    "To": f"{VECTOR_SIP}@phone-qa.voice.plivodev.com",
    "ALegRequestUUID": VECTOR_UUID,
    "CallUUID": VECTOR_UUID,
    "RequestUUID": VECTOR_UUID,
    "SIP-H-To": f"<{VECTOR_SIP}@52.9.11.55;transport=udp>;tag=1",
    "SessionStart": "2020-04-08 11:34:33.238707",
    "Event": "StartApp",
}


@pytest.mark.parametrize(
    ("method", "url", "signature"),
    [
        ("POST", f"{VECTOR_URL}/?a=b&c=d", "k7Pusd4OxCIjR5IfA9iedDNu/h/gbdYqdzG/MiYtd1c="),
        ("GET", f"{VECTOR_URL}/?a=b&c=d", "UBq8jAtd32wR8EK9VgxbBn4n5rpI/l1H9iN4WfSEHFQ="),
        ("POST", VECTOR_URL, "iAjE5QqI37mbkYe4w3jTMudqEzbDufdqi7sYwTu64e0="),
        ("GET", VECTOR_URL, "i/MQsaQSAd6fiKhOh2qeeeLHZ9faldADSb3/7+Akfbc="),
    ],
)
def test_the_official_vectors(method: str, url: str, signature: str) -> None:
    params = VECTOR_PARAMS
    if method == "GET":
        # A GET carries its parameters in the query, and that is how they are signed.
        url, params = f"{url}{'&' if '?' in url else '?'}{urlencode(VECTOR_PARAMS)}", {}

    assert plivo_v3(method, url, params, VECTOR_NONCE, VECTOR_TOKEN) == signature


PARAMS = {
    "CallUUID": "2dc9be5c-4b9f-4a06-8c0d-b7c0ce6a1c3e",
}

PARAMS = {"CallUUID": "c-1", "From": "12025550101", "Empty": "", "SIP-H-To": "<sip:x@y;transport=udp>;tag=1", "z": "é"}
URLS = [
    "https://customer.example/hook",
    "https://customer.example/hook?b=2&a=1",
    "https://customer.example:8443/h/?x=%20",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize(("method", "params"), [("POST", PARAMS), ("POST", {}), ("GET", {})])
def test_the_official_sdk_accepts_our_signature(url: str, method: str, params: dict[str, str]) -> None:
    signature = plivo_v3(method, url, params, VECTOR_NONCE, VECTOR_TOKEN)

    assert plivo.utils.validate_v3_signature(method, url, VECTOR_NONCE, VECTOR_TOKEN, signature, params)
    assert not plivo.utils.validate_v3_signature(method, url, VECTOR_NONCE, "another token", signature, params)


@pytest.mark.parametrize("url", URLS)
def test_what_is_signed_is_accepted_and_any_change_is_not(url: str) -> None:
    headers = signed_headers("POST", url, PARAMS, ["old", "new"])

    for token in ("old", "new"):
        assert is_signed_by("POST", url, PARAMS, headers, [token])
    assert not is_signed_by("POST", url, PARAMS, headers, ["another"])
    assert not is_signed_by("POST", url, {**PARAMS, "From": "12025550102"}, headers, ["new"])
    assert not is_signed_by("POST", url + "x", PARAMS, headers, ["new"])
    assert not is_signed_by("POST", url, PARAMS, {**headers, NONCE: "1"}, ["new"])
    assert not is_signed_by("POST", url, PARAMS, {NONCE: headers[NONCE]}, ["new"])
    assert not is_signed_by("POST", url, PARAMS, {SIGNATURE: headers[SIGNATURE]}, ["new"])
    assert not is_signed_by("POST", url, PARAMS, headers, [])


def test_what_is_no_text_is_not_signed() -> None:
    headers = signed_headers("POST", URLS[0], PARAMS, ["token"])
    for told in ({"From": "\ud800"}, {"\ud800": "1"}):
        assert not is_signed_by("POST", URLS[0], told, headers, ["token"])
    for name in (SIGNATURE, NONCE):
        assert not is_signed_by("POST", URLS[0], {}, {**headers, name: "\udcff"}, ["token"])
