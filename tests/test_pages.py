"""The bridge from ASGI to Django's WSGI handler, through a real server."""

import http.client
import io
import os
import socket
import threading

import psutil
import pytest
from django.contrib.auth.models import User

from explorer import artifacts
from explorer.pages import _environ
from tests.conftest import cookie_of
from tests.processes import Web, until

pytestmark = pytest.mark.parametrize("broker_url", ["files"], indirect=True)


def raw(web: Web, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65_536), b""))


def test_a_body_that_comes_in_chunks_is_read_whole(web: Web, broker_url: None) -> None:
    client = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    client.request("GET", "/sign-in/")
    page = client.getresponse()
    cookie = (page.headers["Set-Cookie"] or "").split(";")[0]
    token = page.read().decode().split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    User.objects.create_user("ann", password="a password of ann")
    form = f"csrfmiddlewaretoken={token}&username=ann&password=a+password+of+ann"
    pieces = (form[start : start + 7].encode() for start in range(0, len(form), 7))
    headers = {
        "Cookie": cookie,
        "Content-Type": "application/x-www-form-urlencoded",
        "Transfer-Encoding": "chunked",
        "Origin": web.address,
    }
    client.request("POST", "/sign-in/", body=pieces, headers=headers, encode_chunked=True)
    answer = client.getresponse()
    assert (answer.status, answer.headers["Location"]) == (302, "/")


@pytest.mark.parametrize(
    "path",
    [
        "/%ff%fe",
        "/jobs/%e2%82",
        "/static/../manage.py",
        "/static/%2e%2e/manage.py",
        "/static/..%5cmanage.py",
        "/static/js/jobs.js%00",
        "//etc/passwd",
        "/\\",
    ],
)
def test_odd_paths_find_nothing(web: Web, viewer: User, path: str, broker_url: None) -> None:
    """Fault 18, as bytes on the wire; no client tidies them up."""
    cookie = cookie_of(viewer)["Cookie"]
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
    head, _, body = raw(web, request.encode()).partition(b"\r\n\r\n")
    assert head.split(b" ", 2)[1] in (b"400", b"404"), head
    assert b"DJANGO_SETTINGS_MODULE" not in body


def test_a_head_has_no_body(web: Web, viewer: User, broker_url: None) -> None:
    client = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    client.request("HEAD", "/jobs/", headers=cookie_of(viewer))
    answer = client.getresponse()
    assert (answer.status, answer.read()) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 1_000


@pytest.mark.slow
def test_a_long_download_is_whole_and_takes_no_memory(web: Web, viewer: User, broker_url: None) -> None:
    content = os.urandom(1 << 20) * 64
    artifact = artifacts.put(io.BytesIO(content), name="long.bin")
    process = psutil.Process(web.process.popen.pid)
    before = process.memory_info().rss
    answer = web.open(f"/artifacts/{artifact.sha256}/", cookie_of(viewer))
    assert answer.read(1) == content[:1]
    assert process.memory_info().rss - before < 16 << 20
    assert answer.read() == content[1:]


def test_slow_downloads_keep_no_page_waiting(web: Web, viewer: User, broker_url: None) -> None:
    artifact = artifacts.put(io.BytesIO(os.urandom(32 << 20)), name="slow.bin")
    cookie = cookie_of(viewer)
    slow = [web.open(f"/artifacts/{artifact.sha256}/", cookie) for _ in range(12)]
    assert [web.get("/jobs/", cookie).status for _ in range(10)] == [200] * 10
    for answer in slow:
        answer.close()


def test_a_download_ends_with_its_client(web: Web, viewer: User, broker_url: None) -> None:
    artifact = artifacts.put(io.BytesIO(os.urandom(64 << 20)), name="left.bin")
    path = str(artifacts.path(artifact.sha256))
    process = psutil.Process(web.process.popen.pid)
    answer = web.open(f"/artifacts/{artifact.sha256}/", cookie_of(viewer))
    assert path in [each.path for each in process.open_files()]
    answer.fp.raw._sock.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
    answer.close()
    until(lambda: path not in [each.path for each in process.open_files()], within=5)


def test_many_at_once(web: Web, viewer: User, broker_url: None) -> None:
    """More clients than threads and connections: they wait and are all answered."""
    cookie = cookie_of(viewer)
    statuses: list[int] = []

    def browse() -> None:
        statuses.extend(web.get("/jobs/", cookie).status for _ in range(5))

    clients = [threading.Thread(target=browse) for _ in range(24)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert statuses == [200] * 120


def scope(*headers: tuple[bytes, bytes]) -> dict[str, object]:
    return {
        "method": "GET",
        "path": "/übersicht/",
        "query_string": b"q=%C3%BC",
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 5000),
        "headers": headers,
    }


def test_a_header_cannot_pass_for_another(broker_url: None) -> None:
    environ = _environ(scope((b"x_forwarded_for", b"evil"), (b"x-forwarded-for", b"a"), (b"x-forwarded-for", b"b")),
                       io.BytesIO())  # fmt: skip
    assert environ["HTTP_X_FORWARDED_FOR"] == "a,b"


def test_the_dictionary_is_that_of_pep_3333(broker_url: None) -> None:
    headers = (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"content-type", b"text/plain"), (b"content-length", b"99")
    environ = _environ(scope(*headers), io.BytesIO(b"body"))
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/übersicht/"
    assert environ["HTTP_COOKIE"] == "a=1;b=2"
    assert (environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"]) == ("text/plain", "4")
    assert environ["wsgi.input"].read() == b"body"
