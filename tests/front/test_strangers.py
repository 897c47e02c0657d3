"""Another website that makes a browser send requests to a local explorer: pages and streams refuse them."""

import http.client

import pytest
from django.contrib.auth.models import User

from tests.conftest import cookie_of
from tests.processes import Web

pytestmark = pytest.mark.parametrize("broker_url", ["files"], indirect=True)
POSTED_TO = {"/sign-in/": 302, "/events/": 405}  # to a page and to a stream, and what they say to a form of ours


def with_token(web: Web, viewer: User) -> tuple[str, str]:
    """The cookies of somebody signed in, and the form that belongs to them."""
    cookie = cookie_of(viewer)["Cookie"]
    page = web.open("/", {"Cookie": cookie})
    token = page.read().decode().split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    return f"{cookie}; {(page.headers['Set-Cookie'] or '').split(';')[0]}", f"csrfmiddlewaretoken={token}"


def post(web: Web, path: str, cookie: str, form: str, **headers: str) -> int:
    client = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    kind = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie}
    client.request("POST", path, body=form, headers=kind | headers)
    return client.getresponse().status


@pytest.mark.parametrize("origin", ["http://evil.example", "https://127.0.0.1", "null", "http://127.0.0.1:1"])
def test_a_form_on_another_site_is_refused_even_with_a_token(web: Web, viewer: User, origin: str) -> None:
    cookie, form = with_token(web, viewer)
    for path, status in POSTED_TO.items():
        assert post(web, path, cookie, form, Origin=origin) == 403, path
        assert post(web, path, cookie, form, Origin=web.address) == status, path


def test_a_form_without_a_token_is_refused(web: Web, viewer: User) -> None:
    cookie, _ = with_token(web, viewer)
    for path in POSTED_TO:
        assert post(web, path, cookie, "", Origin=web.address) == 403, path
        assert post(web, path, cookie, "", Referer="http://evil.example/") == 403, path


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "a b"])
def test_a_name_that_somebody_else_points_here_is_refused(web: Web, viewer: User, host: str) -> None:
    cookie = cookie_of(viewer)
    for path in ["/", "/events/?job=1", "/sign-in/"]:
        assert web.get(path, cookie | {"Host": host}).status == 400, path
    answer = web.get("/", cookie | {"Host": "evil.example", "X-Forwarded-Host": "localhost"})
    assert answer.status == 400
