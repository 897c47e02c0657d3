"""Behind a proxy and without one, through a real server: what pages and streams believe of a request."""

import http.client
import json
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes import Process, Web, environment, until
from tests.tls_proxy import TlsProxy

pytestmark = pytest.mark.parametrize("broker_url", ["files"], indirect=True)
PATHS = ["/whoami/", "/events/"]  # by WSGI on a thread, by ASGI
CLAIMS = {
    "X-Forwarded-For": "6.6.6.6, 203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X_Forwarded_For": "6.6.6.6",
    "X-Real-IP": "6.6.6.6",
    "Forwarded": "for=6.6.6.6;proto=https",
}


class Telling(Web):
    """A web process of tests/front/urls.py."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self._variables = variables | {"DJANGO_SETTINGS_MODULE": "tests.front.settings"}
        super().__init__(folder, None)

    def start(self) -> None:
        descriptor = self._listener.fileno()
        command = [sys.executable, "manage.py", "web", "--fd", str(descriptor)]
        self.process = Process(command, self.log, environment(None) | self._variables, pass_fds=(descriptor,))
        until(lambda: self.get("/readyz").status == 200)


@pytest.fixture
def alone(transactional_db: None, tmp_path: Path, broker_url: None) -> Iterator[Telling]:
    web = Telling(tmp_path)
    yield web
    web.close()


@pytest.fixture
def behind_one(transactional_db: None, tmp_path: Path, broker_url: None) -> Iterator[Telling]:
    web = Telling(tmp_path, EXPLORER_PROXIES="1")
    yield web
    web.close()


def told(answer: http.client.HTTPResponse) -> Any:
    return json.loads(answer.read())


def test_without_a_proxy_the_peer_stands(alone: Telling) -> None:
    for path in PATHS:
        assert told(alone.open(path, CLAIMS)) == {"address": "127.0.0.1", "scheme": "http", "claims": []}, path


def test_one_proxy_is_believed_and_nobody_before_it(behind_one: Telling) -> None:
    for path in PATHS:
        assert told(behind_one.open(path, CLAIMS)) == {"address": "203.0.113.9", "scheme": "https", "claims": []}, path
        assert told(behind_one.open(path)) == {"address": "127.0.0.1", "scheme": "http", "claims": []}, path


def test_a_client_cannot_talk_over_its_proxy(behind_one: Telling) -> None:
    proxy = TlsProxy(behind_one.port)
    try:
        for path in PATHS:
            client = http.client.HTTPSConnection("localhost", proxy.port, timeout=20, context=proxy.trust())
            client.request("GET", path, headers=CLAIMS | {"X-Forwarded-Proto": "http"})
            expected = {"address": "127.0.0.1", "scheme": "https", "claims": []}
            assert told(client.getresponse()) == expected, path
    finally:
        proxy.close()


@pytest.fixture
def production(
    transactional_db: None, tmp_path: Path, broker_url: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Web]:
    variables = {"PRODUCTION": "1", "SECRET_KEY": "k" * 60, "ALLOWED_HOSTS": "localhost,127.0.0.1", "PROXIES": "1"}
    for name, value in variables.items():
        monkeypatch.setenv(f"EXPLORER_{name}", value)
    web = Web(tmp_path, None)
    yield web
    web.close()


def test_in_production_https_ends_at_the_proxy(production: Web) -> None:
    plain = production.get("/sign-in/", {"Host": "localhost"})
    assert (plain.status, plain.headers["Location"]) == (301, "https://localhost/sign-in/")
    proxy = TlsProxy(production.port)
    try:
        with urllib.request.urlopen(f"{proxy.address}/healthz", context=proxy.trust(), timeout=20) as health:
            assert json.load(health)["ok"] is True
        client = http.client.HTTPSConnection("localhost", proxy.port, timeout=20, context=proxy.trust())
        client.request("GET", "/sign-in/")
        page = client.getresponse()
        assert page.status == 200
        assert "; Secure" in str(page.headers["Set-Cookie"])
        assert page.headers["Strict-Transport-Security"]
        assert page.read().endswith(b"</html>\n")
    finally:
        proxy.close()
