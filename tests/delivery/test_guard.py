"""Which addresses a callback may be sent to."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masking.delivery.guard import NOT_PUBLIC, AddressGuard

INSIDE = [
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.0.2.1", "192.168.1.1",
    "192.0.0.8", "192.0.0.171", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "2001:db8::1",
    "64:ff9b:1::808:808", "2002:808:808::1", "2001::1", "3fff::1", "5f00::1",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "93.184.216.34", "172.32.0.1", "2606:4700:4700::1111", "2a00:1450:4001:80e::200e"]


@pytest.mark.parametrize("address", INSIDE)
def test_special_addresses_are_not_connected_to(address: str) -> None:
    assert not AddressGuard().admits(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are(address: str) -> None:
    assert AddressGuard().admits(ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_counts_the_same_in_every_disguise(address: IPv4Address) -> None:
    guard, number = AddressGuard(), int(address)
    disguises = [
        IPv6Address(f"::ffff:{address}"),
        IPv6Address((0x64FF9B << 96) | number),
    ]
    assert {guard.admits(disguise) for disguise in disguises} == {guard.admits(address)}


@given(st.ip_addresses())
def test_nothing_private_is_ever_public(address: IPv4Address | IPv6Address) -> None:
    if address.is_private or address.is_loopback or address.is_link_local or address.is_multicast:
        assert not AddressGuard().admits(address)


def test_what_an_operator_allows_is_connected_to_and_nothing_else() -> None:
    guard = AddressGuard([ip_network("10.1.0.0/16"), ip_network("fd00::/8")])
    admitted = [address for address in ("10.1.2.3", "10.2.2.3", "fd12::1", "::1") if guard.admits(ip_address(address))]
    assert admitted == ["10.1.2.3", "fd12::1"]
    assert guard.admits(ip_address("::ffff:10.1.2.3"))


def test_a_socket_is_made_for_what_is_admitted_only() -> None:
    guard = AddressGuard()
    with guard.socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 443))) as made:
        assert (made.family, made.type) == (socket.AF_INET, socket.SOCK_STREAM)
    for family, address in (
        (socket.AF_INET, ("127.0.0.1", 80)),
        (socket.AF_INET6, ("fe80::1%lo", 80, 0, 1)),
    ):
        with pytest.raises(OSError, match=NOT_PUBLIC):
            guard.socket((family, socket.SOCK_STREAM, 6, "", address))
