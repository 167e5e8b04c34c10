"""Where callbacks may go. Customers choose their URLs, so none may lead into our own network."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from errno import EACCES
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import AddrInfoType

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NOT_PUBLIC = "not a public address"

_NAT64 = IPv6Network("64:ff9b::/96")
"""IPv4 addresses as an IPv6-only network reaches them (RFC 6052)."""

_NOWHERE_PUBLIC: tuple[Network, ...] = (
    IPv4Network("192.0.0.0/24"),
    IPv6Network("64:ff9b:1::/48"),
    IPv6Network("2002::/16"),
    IPv6Network("3fff::/20"),
    IPv6Network("5f00::/16"),
)
"""What IANA's registries of special addresses have besides, and not every Python knows (CVE-2024-4032): addresses of
protocols, NAT64 within a network, 6to4, whose relays are gone (RFC 7526), documentation, segment routing."""


class AddressGuard:
    """Makes the sockets of an HTTP client, for public addresses only.

    It sees the very address that is about to be connected to, so it does not matter by which name, redirect or
    notation a URL leads there, nor whether the name meant another address a moment ago (DNS rebinding).

    Args:
        allowed: networks that may be reached all the same.
    """

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        self._allowed = tuple(allowed)

    def admits(self, address: Address) -> bool:
        """Whether this address may be connected to."""
        meant = _embedded(address) or address
        return any(meant in network for network in self._allowed) or _is_public(meant)

    def socket(self, info: AddrInfoType) -> socket.socket:
        """A socket for that address.

        Raises:
            OSError: `NOT_PUBLIC`.
        """
        family, kind, protocol, _, address = info
        if not self.admits(ip_address(str(address[0]).partition("%")[0])):
            raise OSError(EACCES, NOT_PUBLIC)
        return socket.socket(family=family, type=kind, proto=protocol)


def _is_public(address: Address) -> bool:
    return (
        address.is_global
        and not any(address in network for network in _NOWHERE_PUBLIC)
        and not address.is_multicast
        and not address.is_reserved
        and not (isinstance(address, IPv6Address) and address.is_site_local)
    )


def _embedded(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to, by mapping or NAT64. Those of 6to4 and Teredo are not public."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped
