"""A file of ingress keys is all that a service holds, and no process of ours takes it for the key ring."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.exceptions import ApplicationError

from masking.errors import KeysAway, StartupError
from masking.privacy.callers_codec import CallersCodec
from masking.privacy.ingress import WRAPPING, IngressKeyring, ingress_day, ingress_file, ingress_key_id, must_be_whole
from masking.privacy.key_files import load_keyring
from masking.privacy.keyring import Keyring, Unreadable
from masking.privacy.payload_codec import EncryptingCodec
from masking.privacy.payload_keys import PayloadKey, Writing, of_ingress
from masking.settings import Settings
from tests.conftest import KEYRING, KEYS, LOOKUP_KEY, MASTER_KEY

pytestmark = pytest.mark.anyio


def key_of(*days: date) -> dict[str, bytes]:
    return {ingress_key_id(day): str(day).encode().ljust(32, b".") for day in days}


def loaded(path: Path, keys: dict[str, bytes]) -> Keyring:
    path.write_text(ingress_file(keys))
    return load_keyring(Settings(keys_file=path))


def test_todays_key_encrypts_and_the_others_still_decrypt(tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    before, after = today - timedelta(days=1), today + timedelta(days=1)
    ring = loaded(tmp_path / "keys.json", key_of(before, today, after))
    assert isinstance(ring, IngressKeyring)
    assert ring.current == ingress_key_id(today)
    key_id, ciphertext = ring.seal(b"told", "purpose")
    assert (key_id, ring.open(key_id, ciphertext, "purpose")) == (ingress_key_id(today), b"told")
    with pytest.raises(Unreadable):
        ring.open(ingress_key_id(before), ciphertext, "purpose")
    with pytest.raises(Unreadable):
        loaded(tmp_path / "other.json", key_of(before)).open(key_id, ciphertext, "purpose")


def test_without_todays_key_nothing_is_encrypted_and_the_remedy_is_told(tmp_path: Path) -> None:
    ring = loaded(tmp_path / "keys.json", key_of(date(2026, 1, 1)))
    with pytest.raises(Unreadable, match=r"newest here is ingress-2026-01-01.*`masking keys ingress export`"):
        ring.seal(b"told", "purpose")


def test_a_file_that_is_replaced_is_taken_up_while_it_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("masking.privacy.keyring.FOLLOW_EVERY_S", 0.0)
    today = datetime.now(UTC).date()
    ring = loaded(tmp_path / "keys.json", key_of(today - timedelta(days=1)))
    (tmp_path / "keys.json").write_text(ingress_file(key_of(today)))
    assert ring.current == ingress_key_id(today)


def test_no_process_of_ours_works_with_it(tmp_path: Path) -> None:
    ring = loaded(tmp_path / "keys.json", key_of(date(2026, 1, 1)))
    for use in (
        lambda: must_be_whole(ring),
        lambda: ring.lookup_hash("kind", "value"),
        lambda: ring.derived_key("purpose"),
        lambda: ring.derived_token("purpose"),
    ):
        with pytest.raises(StartupError, match="this process needs the key ring itself"):
            use()
    must_be_whole(load_keyring(Settings(keys=KEYS)))


@pytest.mark.parametrize(
    "ingress", [{}, {"k1": "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE="}, {"ingress-2026-01-01": "c2hvcnQ="}]
)
def test_what_is_no_such_file_is_no_key_ring_either(tmp_path: Path, ingress: dict[str, str]) -> None:
    (tmp_path / "keys.json").write_text(json.dumps({"ingress": ingress}))
    with pytest.raises(StartupError, match="MASKING_KEYS_FILE is no key ring"):
        load_keyring(Settings(keys_file=tmp_path / "keys.json"))


def test_a_day_is_known_by_its_key_and_no_other_key_is_a_day() -> None:
    assert ingress_day(ingress_key_id(date(2026, 2, 28))) == date(2026, 2, 28)
    assert [ingress_day(key_id) for key_id in ("k1", "2026-02-28", "ingress-", "ingress-2026-02-30")] == [None] * 4


async def test_a_caller_is_not_blamed_for_a_master_key_that_we_lack_for_now() -> None:
    """Nexus would never try again what is the caller's fault."""
    (key_id, key), *_ = key_of(datetime.now(UTC).date()).items()
    (told,) = await EncryptingCodec(IngressKeyring({key_id: key})).encode([Payload(data=b"told")])
    newer = Keyring({"k1": MASTER_KEY, "k2": b"2" * 32}, "k2", LOOKUP_KEY)
    wrapped = newer.seal(key, WRAPPING)

    class Stored:
        def __init__(self, ring: Keyring) -> None:
            self.ring = ring

        async def reading(self, key_id: str) -> PayloadKey:
            return of_ingress(key_id, self.ring.open(*wrapped, WRAPPING))

        async def writing(self, session_uuid: str) -> Writing:
            raise AssertionError(session_uuid)

        def note_start(self, session_uuid: str, key_id: str, *, bill_in_clear: bool = False) -> None:
            raise AssertionError(session_uuid, key_id, bill_in_clear)

    async def read(ring: Keyring, payload: Payload) -> list[Payload]:
        codec = EncryptingCodec(ring, Stored(ring))
        return await CallersCodec(codec, takes_clear=False).decode([payload])

    with pytest.raises(KeysAway, match="the key ring lacks"):
        await read(KEYRING, told)
    assert (await read(newer, told))[0].data == b"told"
    told.metadata["encryption-key-id"] = b"a key of their own"
    with pytest.raises(ApplicationError, match="cannot be read") as refused:
        await read(newer, told)
    assert refused.value.non_retryable
