"""Who sends a request, and by which scheme: as the configured proxies say, and nobody else.

Each proxy appends to X-Forwarded-For the peer it saw, so of N proxies the outermost wrote the N-th entry
from the right; whatever stands left of that one a client may have made up.
"""

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from explorer.front import Application
from explorer.pages import Headers, Receive, Scope, Send

# Left in place, they would be there for the next piece of software to believe.
CLAIMS = (b"x-forwarded-", b"x-real-ip", b"forwarded")
# 192.0.2.1, 192.0.2.1:80, 2001:db8::1, [2001:db8::1], [2001:db8::1]:80
ENTRY = re.compile(rb"([0-9.]+)(?::[0-9]{1,5})?|\[([0-9a-fA-F:.]+)\](?::[0-9]{1,5})?|([0-9a-fA-F:.]+)")


class Forwarded:
    def __init__(self, application: Application, proxies: int) -> None:
        self._application = application
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = believed(scope, self._proxies)
        await self._application(scope, receive, send)


def believed(scope: Scope, proxies: int) -> Scope:
    """The scope with what was claimed by headers taken from them, or dropped."""
    headers: Headers = scope["headers"]
    kept = [header for header in headers if not header[0].startswith(CLAIMS)]
    scope = scope | {"headers": kept}
    if client := scope.get("client"):
        scope["client"] = (_plain(client[0]), client[1])
    if proxies and len(kept) < len(headers):
        if address := _address(_entry(headers, b"x-forwarded-for", proxies)):
            scope["client"] = (address, 0)
        scheme = _entry(headers, b"x-forwarded-proto", proxies, one_for_all=True).lower()
        if scheme in (b"http", b"https"):
            scope["scheme"] = scheme.decode()
    return scope


def client_key(address: str) -> str:
    """Whom a rate limit counts: an IPv4 address, or an IPv6 /64, for that is what one customer is given."""
    try:
        found = _parsed(address.partition("%")[0])
    except ValueError:  # a socket without addresses
        return address
    return str(found) if found.version == 4 else str(IPv6Network((found, 64), strict=False))


def _entry(headers: Headers, name: bytes, place: int, *, one_for_all: bool = False) -> bytes:
    """The entry that stands so far from the right, or nothing; `one_for_all`: a single one stands for each."""
    line = b",".join([value for key, value in headers if key == name])
    entries = line.rsplit(b",", place)  # no more is looked at, however long the line
    if one_for_all and len(entries) == 1:
        return entries[0].strip(b" \t")
    return entries[-place].strip(b" \t") if len(entries) >= place else b""


def _address(entry: bytes) -> str:
    """An entry's address without its port; nothing for "unknown", "_hidden" and whatever else is none."""
    found = ENTRY.fullmatch(entry)
    if not found:
        return ""
    try:
        return str(_parsed((found[1] or found[2] or found[3]).decode()))
    except ValueError:
        return ""


def _parsed(address: str) -> IPv4Address | IPv6Address:
    found = ip_address(address)
    return found if found.version == 4 else found.ipv4_mapped or found


def _plain(peer: str) -> str:
    """A server that listens on :: reports IPv4 peers as ::ffff:192.0.2.1."""
    return peer.removeprefix("::ffff:") if "." in peer else peer
