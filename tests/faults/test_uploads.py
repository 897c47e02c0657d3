"""Faults 9 and 16 where SAEs are uploaded: who may send how much, in how much memory, and onto a full disk."""

import contextlib
import http.client
import resource
import threading
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import psutil
import pytest
from django.conf import settings
from django.contrib.auth.models import User

from explorer.actions.accounts import set_role
from explorer.models import Artifact, Job
from explorer.models.access import Role
from tests.conftest import cookie_of
from tests.processes import Web, until

pytestmark = pytest.mark.parametrize("broker_url", ["files"], indirect=True)
MIB = 1 << 20
LIMIT = 2 * MIB  # of forms
MOST = 8 * MIB  # of uploads
ADD = "/saes/add/"


@pytest.fixture(autouse=True)
def _limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORER_BODY_MIB", str(LIMIT // MIB))
    monkeypatch.setenv("EXPLORER_UPLOAD_MIB", str(MOST // MIB))


@pytest.fixture
def people(transactional_db: None) -> dict[str, User]:
    made = {}
    for role in (Role.VIEWER, Role.ANNOTATOR, Role.RESEARCHER):
        user = User.objects.create_user(str(role.label))
        set_role(user.pk, role, by=user)
        made[str(role.label)] = User.objects.get(pk=user.pk)
    return made


def pieces(token: str, size: int, typed: int = 0) -> Iterator[bytes]:
    """A form with one file, so many bytes in all, so many of them in a field."""
    head = b""
    for name, value in {"csrfmiddlewaretoken": token, "lm": "no/such/lm/..", "text": "x" * typed}.items():
        head += b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (name.encode(), value.encode())
    head += b'--b\r\nContent-Disposition: form-data; name="upload"; filename="w.safetensors"\r\n\r\n'
    tail = b"\r\n--b--\r\n"
    yield head
    left = size - len(head) - len(tail)
    while left > 0:
        yield bytes(min(MIB // 4, left))
        left -= MIB // 4
    yield tail


def sent(
    web: Web, size: int, user: User | None, path: str = ADD, *, declared: bool = True, typed: int = 0
) -> HTTPResponse:
    """What the sender of an upload gets to read."""
    cookie = cookie_of(user)["Cookie"] if user else ""
    page = web.get("/" if user else "/sign-in/", {"Cookie": cookie} if user else None)
    token = page.body.decode().split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]  # type: ignore[attr-defined]
    cookies = f"{cookie}; {page.headers['Set-Cookie'].split(';')[0]}".lstrip("; ")
    headers = {"Cookie": cookies, "Content-Type": "multipart/form-data; boundary=b", "Origin": web.address}
    client = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    if declared:
        client.request("POST", path, pieces(token, size, typed), headers | {"Content-Length": str(size)})
    else:
        headers["Transfer-Encoding"] = "chunked"
        client.request("POST", path, pieces(token, size, typed), headers, encode_chunked=True)
    answer = client.getresponse()
    answer.body = answer.read()  # type: ignore[attr-defined]
    return answer


@pytest.mark.parametrize("declared", [True, False])
def test_researchers_may_send_more_and_there_alone(web: Web, people: dict[str, User], *, declared: bool) -> None:
    researcher = people["researcher"]
    assert sent(web, MOST, researcher, declared=declared).status == 422  # it reached the form, which misses the text
    assert sent(web, MOST + 1, researcher, declared=declared).status == 413
    for path in ("/", "/saes/add", "/saes/add//", "/account/password/", "/api/v1/jobs/diagnose"):
        assert sent(web, LIMIT + 1, researcher, path, declared=declared).status == 413, path


@pytest.mark.parametrize("declared", [True, False])
def test_others_may_not(web: Web, people: dict[str, User], *, declared: bool) -> None:
    process = psutil.Process(web.process.popen.pid)
    written = process.io_counters().write_chars
    for user in (None, people["viewer"], people["annotator"]):
        assert sent(web, LIMIT + 1, user, declared=declared).status == 413
    assert process.io_counters().write_chars - written < (0 if declared else 3 * LIMIT) + MIB // 2


def test_a_session_that_is_no_longer_good_may_not(web: Web, people: dict[str, User]) -> None:
    """Its cookie is there, and the password was changed."""
    stale = cookie_of(people["researcher"])["Cookie"]
    people["researcher"].set_password("another one")
    people["researcher"].save()
    client = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    client.request("POST", ADD, headers={"Cookie": stale, "Content-Length": str(LIMIT + 1)})
    assert client.getresponse().status == 413


def test_much_at_once_takes_little_memory_and_leaves_nothing(web: Web, people: dict[str, User]) -> None:
    process, researcher = psutil.Process(web.process.popen.pid), people["researcher"]
    assert sent(web, MOST, researcher).status == 422  # what is made once is made
    memory, statuses = process.memory_info().rss, []
    clients = [
        threading.Thread(target=lambda size=size: statuses.append(sent(web, size, researcher).status))
        for size in (MOST, MOST, MOST, 6 * MOST)
    ]
    for client in clients:
        client.start()
    most = memory
    while any(client.is_alive() for client in clients):
        most = max(most, process.memory_info().rss)
        clients[0].join(0.005)
    assert sorted(statuses) == [413, 422, 422, 422]
    assert most - memory < 24 * MIB  # of the 72 that were sent
    assert list(settings.PLACES.uploads.iterdir()) == []
    until(lambda: not spooled(web), within=5)


def test_a_huge_field_beside_a_file_is_refused(web: Web, people: dict[str, User]) -> None:
    """What Django keeps in memory is a form's, however large an upload may be."""
    assert sent(web, MOST, people["researcher"], typed=LIMIT).status == 413
    assert sent(web, MOST, people["researcher"], typed=LIMIT // 2).status == 422


def test_a_body_that_the_disk_has_no_room_for_is_said(web: Web, people: dict[str, User]) -> None:
    limited = MIB + MIB // 2  # a file may not grow beyond
    resource.prlimit(web.process.popen.pid, resource.RLIMIT_FSIZE, (limited, resource.RLIM_INFINITY))
    answer = sent(web, MOST, people["researcher"])
    assert answer.status == 507
    assert b"<h1>The disk is full</h1>" in answer.body  # type: ignore[attr-defined]
    assert not Artifact.objects.exists()
    assert not Job.objects.exists()
    assert list(settings.PLACES.uploads.iterdir()) == []
    resource.prlimit(web.process.popen.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert sent(web, MOST, people["researcher"]).status == 422, "with room again, it is taken"


def test_temporary_files_lie_in_the_data_folder(web: Web, people: dict[str, User], tmp_path: Path) -> None:
    """While one is being sent, the process has it open there, without a name."""
    cookie = cookie_of(people["researcher"])["Cookie"]
    client = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    client.putrequest("POST", ADD)
    for name, value in {"Cookie": cookie, "Content-Length": str(MOST)}.items():
        client.putheader(name, value)
    client.endheaders()
    client.send(bytes(3 * MIB))
    until(lambda: spooled(web), within=5)
    client.close()
    until(lambda: not spooled(web), within=5)


def spooled(web: Web) -> bool:
    """Whether the web process holds a file open there."""
    for descriptor in Path(f"/proc/{web.process.popen.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if descriptor.readlink().is_relative_to(settings.PLACES.uploads):
                return True
    return False
