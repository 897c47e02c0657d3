"""Fault 15: text that is none, or looks like something else, into every form; what is taken comes back whole."""

import html
import http.client
import re
from collections.abc import Iterator
from urllib.parse import quote_from_bytes

import pytest
from django.contrib.auth.models import User

from explorer.models import ApiToken
from tests.conftest import cookie_of
from tests.processes import Web

pytestmark = pytest.mark.parametrize("broker_url", ["files"], indirect=True)

# As bytes, percent-encoded by the form: not UTF-8, NUL, a lone surrogate, half a character, overlong, too far.
NO_TEXT = (b"\xff\xfe", b"a\x00b", b"\xed\xa0\x80", b"\xe8\xaa", b"\xc0\xaf", b"\xf4\x90\x80\x80")
ODD_TEXT = (
    "שלום עולם",
    "\u202eevil\u202c",
    "👩‍👩‍👧 e\u0301",
    "<script>alert(1)</script>",
    "'; DROP TABLE x; --",
    "a" * 80,
    "\ufeffbom",
)

FORMS = {
    "/sign-in/": ("username", "password"),
    "/people/invite/": ("username", "role"),
    "/account/tokens/": ("name", "scope", "lasts"),
    "/account/password/": ("new_password1", "new_password2"),
}
QUERIES = (
    "/audit/?actor=",
    "/audit/?action=",
    "/jobs/?state=",
    "/patterns/?words=",
    "/patterns/?sort=",
    "/events/?job=",
)


class Visitor:
    """Somebody with a browser that sends whatever bytes it is told to."""

    def __init__(self, web: Web, user: User) -> None:
        self._web = web
        self._cookie = cookie_of(user)["Cookie"]
        client = self._connection()
        client.request("GET", "/account/", headers={"Cookie": self._cookie})
        page = client.getresponse()
        self._token = page.read().decode().split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
        self._cookie += "; " + page.headers["Set-Cookie"].split(";")[0]

    def post(self, path: str, fields: dict[str, bytes]) -> tuple[int, str]:
        pairs = {"csrfmiddlewaretoken": self._token.encode(), **fields}
        body = "&".join(f"{name}={quote_from_bytes(value)}" for name, value in pairs.items())
        headers = {"Cookie": self._cookie, "Origin": self._web.address,
                   "Content-Type": "application/x-www-form-urlencoded"}  # fmt: skip
        return self._ask("POST", path, body, headers)

    def get(self, path: str) -> tuple[int, str]:
        return self._ask("GET", path, None, {"Cookie": self._cookie})

    def _ask(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> tuple[int, str]:
        client = self._connection()
        client.request(method, path, body=body, headers=headers)
        answer = client.getresponse()
        return answer.status, answer.read().decode()

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._web.port, timeout=20)


@pytest.fixture
def visitor(web: Web, admin: User) -> Iterator[Visitor]:
    yield Visitor(web, admin)
    assert "Internal Server Error" not in web.process.said


def test_bytes_that_are_no_text_fail_nowhere(visitor: Visitor, broker_url: None) -> None:
    for path, fields in FORMS.items():
        for odd in (*NO_TEXT, *(text.encode() for text in ODD_TEXT)):
            for field in fields:
                status, page = visitor.post(path, {name: odd if name == field else b"10" for name in fields})
                assert status in (200, 302, 422, 429), (path, field, odd)
                assert "<script>alert" not in page
    for query in QUERIES:
        for odd in (*NO_TEXT, *(text.encode() for text in ODD_TEXT)):
            status, page = visitor.get(query + quote_from_bytes(odd))
            assert status in (200, 400), (query, odd)
            assert "<script>alert" not in page


@pytest.mark.parametrize("name", ODD_TEXT)
def test_a_name_comes_back_as_it_was_given(visitor: Visitor, name: str, broker_url: None) -> None:
    status, _ = visitor.post("/account/tokens/", {"name": name.encode(), "scope": b"read", "lasts": b"7"})
    assert status == 200
    assert ApiToken.objects.get().name == name
    for path, cell in (
        ("/account/", r'<td class="long">(.*?)</td>'),
        ("/audit/", r'<td class="long">(.*?) \([0-9a-f]{12}…\)</td>'),
    ):
        _, page = visitor.get(path)
        found = re.search(cell, page)
        assert found
        assert html.unescape(found[1]) == name
