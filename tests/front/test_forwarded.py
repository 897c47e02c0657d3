"""Who is believed to send a request, whatever its headers say."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.front.forwarded import believed, client_key
from explorer.pages import Headers, Scope

PEER = ("198.51.100.7", 5000)
CLAIMING = [b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded", b"x-real-ip"]

values = st.binary(max_size=40) | st.sampled_from([b"203.0.113.9", b"2001:db8::1", b"https", b"http", b"a, b", b","])
claims = st.lists(st.tuples(st.sampled_from(CLAIMING), values), max_size=6)
others = st.lists(st.tuples(st.sampled_from([b"host", b"cookie", b"x-forward", b"accept"]), values), max_size=4)


def scope(headers: Headers, client: tuple[str, int] | None = PEER) -> Scope:
    return {"type": "http", "path": "/", "scheme": "http", "client": client, "headers": headers}


def client_of(*lines: str, proxies: int) -> str:
    headers = [(b"x-forwarded-for", line.encode()) for line in lines]
    return str(believed(scope(headers), proxies)["client"][0])


def scheme_of(*lines: str, proxies: int) -> str:
    headers = [(b"x-forwarded-proto", line.encode()) for line in lines]
    return str(believed(scope(headers), proxies)["scheme"])


@pytest.mark.parametrize(
    ("proxies", "lines", "expected"),
    [
        (1, ["203.0.113.9"], "203.0.113.9"),
        (1, ["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
        (1, ["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
        (1, ["6.6.6.6 ,\t203.0.113.9 "], "203.0.113.9"),
        (2, ["203.0.113.9, 10.0.0.1"], "203.0.113.9"),
        (2, ["6.6.6.6, 203.0.113.9, 10.0.0.1"], "203.0.113.9"),
        (2, ["6.6.6.6, 203.0.113.9", "10.0.0.1"], "203.0.113.9"),
        (9, ["1.1.1.1,2.2.2.2,3.3.3.3,4.4.4.4,5.5.5.5,6.6.6.6,7.7.7.7,8.8.8.8,9.9.9.9"], "1.1.1.1"),
        (1, ["203.0.113.9:5678"], "203.0.113.9"),
        (1, ["2001:DB8:0::1"], "2001:db8::1"),
        (1, ["[2001:db8::1]"], "2001:db8::1"),
        (1, ["[2001:db8::1]:80"], "2001:db8::1"),
        (1, ["::ffff:203.0.113.9"], "203.0.113.9"),
        (1, ["[::ffff:cb00:7109]:80"], "203.0.113.9"),
    ],
)
def test_the_entry_that_the_outermost_proxy_wrote_is_the_client(proxies: int, lines: list[str], expected: str) -> None:
    assert client_of(*lines, proxies=proxies) == expected


@pytest.mark.parametrize(
    "line",
    [
        "",
        ",",
        "6.6.6.6,",
        "unknown",
        "_hidden",
        "6.6.6.6, unknown",
        "localhost",
        "203.0.113",
        "203.0.113.256",
        "203.0.113.09",
        "203.0.113.9:",
        "203.0.113.9:port",
        "203.0.113.9:123456",
        "203.0.113.9 6.6.6.6",
        "[203.0.113.9",
        "[]:80",
        "2001:db8::1::2",
        "fe80::1%eth0",
        "[2001:db8::1]80",
        "٣.٣.٣.٣",
        "for=203.0.113.9",
        "203.0.113.9\n",
    ],
)
def test_an_entry_that_is_no_address_leaves_the_peer(line: str) -> None:
    assert believed(scope([(b"x-forwarded-for", line.encode())]), 1)["client"] == PEER


@pytest.mark.parametrize(("proxies", "line"), [(2, "203.0.113.9"), (3, "203.0.113.9, 10.0.0.1")])
def test_fewer_entries_than_proxies_leave_the_peer(proxies: int, line: str) -> None:
    """Such a request has not come through all of them."""
    assert client_of(line, proxies=proxies) == PEER[0]


@pytest.mark.parametrize(
    ("proxies", "lines", "expected"),
    [
        (1, ["https"], "https"),
        (1, ["HTTPS"], "https"),
        (1, ["https, http"], "http"),
        (1, ["http", "https"], "https"),
        (2, ["https"], "https"),
        (2, ["https, http"], "https"),
        (2, ["https, http, https"], "http"),
        (3, ["https, https"], "http"),
        (1, [], "http"),
        (1, [""], "http"),
        (1, ["ftp"], "http"),
        (1, ["https://"], "http"),
        (1, ["https, wss"], "http"),
    ],
)
def test_the_scheme_is_the_one_the_outermost_proxy_saw(proxies: int, lines: list[str], expected: str) -> None:
    assert scheme_of(*lines, proxies=proxies) == expected


def test_a_proxy_may_also_say_that_it_was_plain_http() -> None:
    secure = scope([(b"x-forwarded-proto", b"http")]) | {"scheme": "https"}
    assert believed(secure, 1)["scheme"] == "http"


@settings(deadline=None)
@given(claims, others)
def test_without_proxies_no_header_is_believed_and_none_of_them_is_left(claimed: Headers, rest: Headers) -> None:
    before = scope([*claimed, *rest])
    assert believed(before, 0) == scope(rest)
    assert before == scope([*claimed, *rest]), "the server's own scope is not changed"


@settings(deadline=None)
@given(st.lists(st.ip_addresses(), min_size=1, max_size=9), st.lists(values, max_size=3), others)
def test_nothing_that_a_client_says_wins_over_its_proxies(
    appended: list[IPv4Address | IPv6Address], said: list[bytes], rest: Headers
) -> None:
    """Whatever stands on the left: each of the proxies has appended the peer it saw."""
    line = b", ".join([*said, *(str(address).encode() for address in appended)])
    client = getattr(appended[0], "ipv4_mapped", None) or appended[0]
    after = believed(scope([*rest, (b"x-forwarded-for", line)]), len(appended))
    assert after == scope(rest, client=(str(client), 0))


@settings(deadline=None)
@given(claims, others, st.integers(1, 9))
def test_whatever_is_said_the_client_is_an_address(claimed: Headers, rest: Headers, proxies: int) -> None:
    after = believed(scope([*claimed, *rest]), proxies)
    assert after["headers"] == rest
    assert after["scheme"] in ("http", "https")
    assert str(ip_address(after["client"][0])) == after["client"][0]


def test_a_peer_that_a_dual_socket_reports_is_said_plainly() -> None:
    assert believed(scope([], client=("::ffff:192.0.2.1", 80)), 0)["client"] == ("192.0.2.1", 80)
    assert believed(scope([], client=("::ffff:1", 80)), 0)["client"] == ("::ffff:1", 80)
    assert believed(scope([], client=None), 0)["client"] is None


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("fe80::%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
    ],
)
def test_limits_count_an_address_or_its_network(address: str, key: str) -> None:
    assert client_key(address) == key
