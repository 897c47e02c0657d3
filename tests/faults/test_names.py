"""Faults 18 and 15: names that would lead elsewhere, as bytes on the wire, at every place an address has for one."""

import io
import re
import socket
from collections.abc import Iterator
from email.message import Message
from email.utils import collapse_rfc2231_value

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.urls import URLPattern, URLResolver, get_resolver

from explorer import artifacts
from tests.conftest import cookie_of
from tests.explored import Explored, explored, read
from tests.laid_out import OnMap, on_map
from tests.processes import Web
from tests.studied import Studied, studied

__all__ = ["explored", "on_map", "read", "studied"]
pytestmark = pytest.mark.parametrize("broker_url", ["files"], indirect=True)

ODD = (
    *("../", "..", "../../manage.py", "/etc/passwd", "%2e%2e/", "%2e%2e%2fmanage.py", "..%5c..%5cmanage.py", "..\\"),
    *("%00", "1%00", "%23", "%3f", "1%3f", "%ff%fe", "%ed%a0%80", "%e2%80%ae1", "%252e%252e", "~root", "C:%5c", "-1"),
    *("1e3", "0x1", "%D9%A1", "9" * 40, "%0d%0aX-Evil:1", "<script>", "%3Cscript%3E", "null", "*", "1;2", "1,2", " "),
)


def with_places(resolver: URLResolver, known: dict[str, str], prefix: str = "/") -> Iterator[str]:
    """Addresses with a place for a name, marked by %s; of several places each in turn, with known names elsewhere."""
    for each in resolver.url_patterns:
        if isinstance(each, URLResolver):
            yield from with_places(each, known, prefix + str(each.pattern))
        elif isinstance(each, URLPattern):
            pattern = prefix + str(each.pattern)
            for name in each.pattern.converters:
                others = {other: known[other] for other in each.pattern.converters if other != name}
                yield re.sub(r"<\w+:(\w+)>", lambda place, others=others: others.get(place[1], "%s"), pattern)  # type: ignore[misc]


def ask(web: Web, path: str, cookie: str) -> tuple[int, bytes]:
    """As it stands; no client tidies it up."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as client:
        client.sendall(request.encode("latin-1"))
        answer = b"".join(iter(lambda: client.recv(65_536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"X-Evil" not in head
    return int(head.split(b" ", 2)[1]), body


@pytest.mark.slow
def test_odd_names_lead_nowhere(
    web: Web,
    admin: User,
    explored: Explored,
    on_map: OnMap,
    studied: Studied,
    broker_url: None,
) -> None:
    cookie = cookie_of(admin)["Cookie"]
    slug, item = explored.sae.slug, studied.items[0]
    known = {"slug": slug, "index": "0", "chart": "logits", "side": "decoder", "sheet": "csv",
             "other_slug": slug, "other": "1", "job_id": "1", "list_id": "1", "entry_id": "1", "reading_id": "1",
             "map_id": str(on_map.map.pk), "sha256": on_map.map.tiles_id, "part": "0", "z": "0", "x": "0", "y": "0",
             "study_id": str(studied.study.pk), "key": item.key, "version": "1"}  # fmt: skip
    places = sorted(set(with_places(get_resolver(), known)))
    assert len(places) > 12
    for place in places:
        for name in ODD:
            path = place % name
            status, body = ask(web, path, cookie)
            used = place == "/sign-in/%s/" and status == 302  # it may be a link used before, by whom it signed in
            assert 400 <= status < 500 or used, (path, status)
            assert b"DJANGO_SETTINGS_MODULE" not in body, path
            assert b"root:" not in body, path
            assert b"<script>" not in body.replace(b"<script src=", b""), path


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("report.json", "report.json"),
        ("語.txt", "語.txt"),
        ("../../evil.txt", "evil.txt"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\evil", "evil"),
        ("..", "file"),
        ("%2e%2e/", "file"),
        ("a#b?c%2f", "a#b?c%2f"),
        ('a"; filename="b', 'a"; filename="b'),
        ("a\r\nX-Evil: 1", "aX-Evil: 1"),
        ("a\x00b", "ab"),
        ("exe\u202egpj.exe", "exegpj.exe"),
        ("\ud800", "file"),
        ("<script>.txt", "<script>.txt"),
        ("a" * 300 + ".json", "a" * 195 + ".json"),
    ],
)
def test_a_files_name_is_a_name_and_no_more(web: Web, admin: User, name: str, called: str, broker_url: None) -> None:
    """The file lies where its content says, and goes out as an attachment of this name."""
    content = name.encode(errors="replace")
    artifact = artifacts.put(io.BytesIO(content), name=name)
    assert artifacts.path(artifact.sha256).relative_to(settings.PLACES.artifacts).parts[1] == artifact.sha256
    answer = web.get(f"/artifacts/{artifact.sha256}/", cookie_of(admin))
    assert (answer.status, answer.body) == (200, content)  # type: ignore[attr-defined]
    assert answer.headers["X-Evil"] is None
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    said = Message()
    said["Content-Disposition"] = answer.headers["Content-Disposition"]
    assert (said.get_content_disposition(), collapse_rfc2231_value(said.get_filename() or "")) == ("attachment", called)
