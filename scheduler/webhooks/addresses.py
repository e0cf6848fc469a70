"""Where messages may be sent: not to what only this machine or its network can reach.

Whoever may add a webhook could else have the farm call its own database, or a cloud's metadata service.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from specs.errors import ReprofarmError

_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # for protocols (RFC 6890); Python knows its first eight (CVE-2024-4032)
        "::/96",  # IPv4-compatible (RFC 4291, section 2.5.5.1)
        "64:ff9b:1::/48",  # translation to IPv4 within a network (RFC 8215)
        "3fff::/20",  # documentation (RFC 9637)
        "5f00::/16",  # segment routing (RFC 9602)
        "fec0::/10",  # site-local (RFC 3879)
    )
)
"""Of a network's own, by standards that Python 3.11 does not know or that were given up."""

SCHEMES = {"https": 443, "http": 80}


class Unsendable(ReprofarmError):  # noqa: N818 - a condition, not a mistake
    """Nothing is sent to such an address."""


@dataclass(frozen=True)
class Target:
    """An address in its parts."""

    scheme: str
    host: str
    port: int
    path: str
    """With the query."""

    @property
    def authority(self) -> str:
        """For the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == SCHEMES[self.scheme] else f"{host}:{self.port}"


def split(url: str) -> Target:
    """The parts of an address.

    Raises:
        Unsendable: it is none that messages can be sent to.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Unsendable(f"not an address: {error}") from error
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise Unsendable("an address begins with https:// or http://, and names a host")
    if parts.username is not None or parts.password is not None:
        raise Unsendable("an address with a password in it is kept where many can read it; messages are signed instead")
    if not url.isascii() or any(character <= " " or character == "\x7f" for character in url):
        raise Unsendable("an address is plain ASCII without spaces; write others in percent signs")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, parts.hostname, SCHEMES[parts.scheme] if port is None else port, path)


def resolve(target: Target, *, private: bool) -> str:
    """One IP address of a target, which the caller must use as it is: asked again, a name may answer otherwise.

    Raises:
        Unsendable: it has none, or one of them is not public and `private` is not allowed.
    """
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unsendable(f"{target.host} is not found: {error}") from error
    addresses = [str(entry[4][0]) for entry in found]
    if not private:
        for address in addresses:
            if not is_public(address):
                raise Unsendable(f"{target.host} is {address}, which is not on the public internet")
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        # What is wrapped is what is reached.
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if inner is not None:
            return found.is_global and is_public(str(inner)) if found.ipv4_mapped is None else is_public(str(inner))
        # Translation prefix for IPv4 (RFC 6052), which a network may route to anything.
        if found in ipaddress.ip_network("64:ff9b::/96"):
            return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
    return found.is_global and not found.is_multicast and not any(found in network for network in _NOT_PUBLIC)
