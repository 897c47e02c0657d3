"""Fault 16: more is sent than is allowed. 413 in bounded memory, and the sender gets to read it."""

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import psutil
import pytest
from django.conf import settings
from django.contrib.auth.models import User

from explorer.front.bodies import DRAIN_BYTES, DRAIN_PAUSE
from tests.processes import Web, until

pytestmark = pytest.mark.parametrize("broker_url", ["files"], indirect=True)
MIB = 1 << 20
LIMIT = 3 * MIB  # more than Django lets through when it is not told
PATHS = ["/sign-in/", "/events/"]  # by WSGI on a thread, by ASGI
FORM = "Content-Type: application/x-www-form-urlencoded"
CHUNKED = "Transfer-Encoding: chunked"
CHUNK = b"%x\r\n%b\r\n" % (MIB, bytes(MIB))


@pytest.fixture(autouse=True)
def _limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORER_BODY_MIB", str(LIMIT // MIB))


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a web process that is started after this puts its temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@contextlib.contextmanager
def asked(web: Web, path: str, *lines: str, method: str = "POST") -> Iterator[socket.socket]:
    """A connection on which the head of a request was sent."""
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as client:
        head = [f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]
        client.sendall("\r\n".join(head).encode())
        yield client


def answer(client: socket.socket, method: str = "POST") -> HTTPResponse:
    response = HTTPResponse(client, method=method)
    response.begin()
    return response


def sign_in_form(web: Web) -> tuple[bytes, dict[str, str]]:
    """As somebody has it before them, with the headers that their browser sends."""
    page = web.open("/sign-in/")
    cookie = (page.headers["Set-Cookie"] or "").split(";")[0]
    token = page.read().decode().split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded", "Origin": web.address}
    return f"csrfmiddlewaretoken={token}&username=ann&password=a+password+of+ann".encode(), headers


def status_for(web: Web, path: str, size: int, *, chunked: bool) -> int:
    """Of a client that reads nothing before it has sent all."""
    with asked(web, path, FORM, CHUNKED if chunked else f"Content-Length: {size}") as client:
        for _ in range(size // MIB):
            client.sendall(CHUNK if chunked else bytes(MIB))
        if chunked:
            client.sendall(b"0\r\n\r\n")
        return answer(client).status


@pytest.mark.parametrize("path", PATHS)
def test_what_is_declared_too_large_is_refused_before_it_is_sent(web: Web, path: str) -> None:
    with asked(web, path, FORM, f"Content-Length: {LIMIT + 1}") as client:
        refused = answer(client)
        page = refused.read().decode()
    assert refused.status == 413
    assert dict(refused.headers) == {
        "content-type": "text/html; charset=utf-8",
        "content-length": str(len(page.encode())),
        "connection": "close",
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
        "content-security-policy": "default-src 'self'; frame-ancestors 'none'",
        "date": refused.headers["date"],
    }
    assert f"A form may have {LIMIT // MIB} MiB at most" in page
    assert "Back to the library</a>" in page


def test_a_program_is_told_by_a_problem(web: Web) -> None:
    with asked(web, "/api/anything", f"Content-Length: {LIMIT + 1}") as client:
        refused = answer(client)
        problem = json.loads(refused.read())
    assert (refused.status, refused.headers["Content-Type"]) == (413, "application/problem+json")
    assert problem == {
        "type": "about:blank",
        "title": "Content Too Large",
        "status": 413,
        "detail": f"A request may have {LIMIT // MIB} MiB at most.",
    }


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_no_method_may_send_more(web: Web, method: str) -> None:
    with asked(web, "/", f"Content-Length: {LIMIT + 1}", method=method) as client:
        refused = answer(client, method)
        assert refused.status == 413
        assert bool(refused.read()) == (method != "HEAD")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b"", "nothing follows, and the connection ends"


@pytest.mark.parametrize("chunked", [False, True])
def test_the_last_byte_counts(web: Web, broker_url: None, *, chunked: bool) -> None:
    """A form of just the size that is allowed signs somebody in; one byte more does not."""
    User.objects.create_user("ann", password="a password of ann")
    form, headers = sign_in_form(web)
    for size, status in ((LIMIT + 1, 413), (LIMIT, 302)):
        body = (form + b"&more=").ljust(size, b"x")
        client = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
        if chunked:
            pieces = (body[start : start + 100_000] for start in range(0, size, 100_000))
            client.request("POST", "/sign-in/", pieces, headers | {"Transfer-Encoding": "chunked"}, encode_chunked=True)
        else:
            client.request("POST", "/sign-in/", body, headers)
        assert client.getresponse().status == status, size


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_much_at_once_is_refused_in_little_memory(temporary: Path, web: Web, path: str, *, chunked: bool) -> None:
    """200 MiB by four clients, each of which gets to read its answer."""
    process = psutil.Process(web.process.popen.pid)
    assert status_for(web, path, LIMIT + MIB, chunked=chunked) == 413  # the page is made once
    files, memory, written = process.num_fds(), process.memory_info().rss, process.io_counters().write_chars
    statuses: list[int] = []
    clients = [
        threading.Thread(target=lambda: statuses.append(status_for(web, path, 50 * MIB, chunked=chunked)))
        for _ in range(4)
    ]
    for client in clients:
        client.start()
    most = memory
    while any(client.is_alive() for client in clients):
        most = max(most, process.memory_info().rss)
        clients[0].join(0.005)
    assert statuses == [413] * 4
    assert most - memory < 16 * MIB
    # What was spooled to files: of each body no more than is allowed, and of one that was declared nothing.
    assert process.io_counters().write_chars - written < (4 * LIMIT if chunked else 0) + MIB // 8
    assert list(temporary.iterdir()) == []
    until(lambda: process.num_fds() <= files, within=5)
    assert web.get("/healthz").status == 200


@pytest.mark.parametrize("path", PATHS)
def test_an_endless_body_is_cut_off(web: Web, path: str) -> None:
    sent = 0
    with asked(web, path, FORM, CHUNKED) as client, contextlib.suppress(ConnectionError):
        while sent < 4 * DRAIN_BYTES:
            client.sendall(CHUNK)
            sent += MIB
    assert DRAIN_BYTES < sent < DRAIN_BYTES + LIMIT + 32 * MIB  # the kernel's buffers hold some
    assert web.get("/healthz").status == 200


def test_a_client_that_stops_sending_is_let_go(web: Web) -> None:
    with asked(web, "/sign-in/", FORM, CHUNKED) as client:
        client.sendall(CHUNK * (LIMIT // MIB + 1))
        client.settimeout(DRAIN_PAUSE + 5)
        said = b"".join(iter(lambda: client.recv(65_536), b""))
    assert said.startswith(b"HTTP/1.1 413 ")
    assert said.endswith(b"</html>\n")


def test_who_asks_first_is_refused_before_sending(web: Web) -> None:
    with asked(web, "/sign-in/", FORM, f"Content-Length: {LIMIT + 1}", "Expect: 100-continue") as client:
        said = b"".join(iter(lambda: client.recv(65_536), b""))
    assert said.startswith(b"HTTP/1.1 413 ")
    assert said.count(b"HTTP/1.1 ") == 1


def test_who_asks_first_may_send_what_is_allowed(web: Web) -> None:
    with asked(web, "/sign-in/", FORM, "Content-Length: 3", "Expect: 100-continue") as client:
        assert client.recv(25, socket.MSG_WAITALL) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"a=b")
        assert answer(client).status == 403  # by Django, for want of a token


@pytest.mark.parametrize("path", PATHS)
def test_a_huge_field_of_a_form_is_refused(web: Web, path: str) -> None:
    """The same field, a little smaller, is let through to the form's other checks."""
    for size, status in ((LIMIT + 1, 413), (LIMIT - 1_000, 403)):
        part = b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n%b\r\n--b--\r\n' % (b"x" * size)
        client = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
        client.request("POST", path, part, {"Content-Type": "multipart/form-data; boundary=b"})
        assert client.getresponse().status == status, size


@pytest.mark.parametrize("path", PATHS)
def test_too_many_fields_are_malformed(web: Web, path: str) -> None:
    form, headers = sign_in_form(web)
    client = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    client.request("POST", path, form + b"&a=1" * settings.DATA_UPLOAD_MAX_NUMBER_FIELDS, headers)
    refused = client.getresponse()
    assert (refused.status, b"That request cannot be answered" in refused.read()) == (400, True)
