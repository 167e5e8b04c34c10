"""Certificates of erasure, signed with a key that follows from the key ring and is stored nowhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from masking.privacy.keyring import Keyring

Certificate = dict[str, object]


def _key(keyring: Keyring) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(keyring.derived_key("erasure certificates"))


def public_key(keyring: Keyring) -> str:
    """What certificates are checked with, 32 bytes in base64. It stays the same when master keys rotate."""
    return base64.b64encode(_key(keyring).public_key().public_bytes_raw()).decode()


def signed(keyring: Keyring, told: Mapping[str, object]) -> Certificate:
    """What is told, with the public key and an Ed25519 signature of all of it."""
    content = {**told, "public_key": public_key(keyring)}
    return {**content, "signature": base64.b64encode(_key(keyring).sign(_canonical(content))).decode()}


def is_genuine(certificate: Mapping[str, object], key: str) -> bool:
    """Whether the holder of this public key signed it, and nothing was changed since."""
    content = {name: value for name, value in certificate.items() if name != "signature"}
    try:
        signature = base64.b64decode(str(certificate.get("signature", "")), validate=True)
        Ed25519PublicKey.from_public_bytes(base64.b64decode(key, validate=True)).verify(signature, _canonical(content))
    except (ValueError, InvalidSignature):
        return False
    return content.get("public_key") == key


def _canonical(content: Mapping[str, object]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
