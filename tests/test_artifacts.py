import hashlib
import io
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.test import Client
from pytest_django import Settings

from explorer import artifacts
from explorer.models import Artifact

pytestmark = pytest.mark.django_db

CONTENT = b"<script>alert(1)</script>"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def put(content: bytes = CONTENT, name: str = "weights.safetensors") -> Artifact:
    return artifacts.put(io.BytesIO(content), name=name, media_type="text/html")


def test_a_file_is_kept_once_under_its_hash() -> None:
    first, second = put(), put(name="again")
    assert first == second
    assert (first.sha256, first.size, second.name) == (SHA256, len(CONTENT), "weights.safetensors")
    assert artifacts.path(SHA256).read_bytes() == CONTENT
    assert artifacts.path(SHA256) == settings.PLACES.artifacts / SHA256[:2] / SHA256


def test_a_removed_one_is_gone() -> None:
    artifacts.remove(put())
    assert not Artifact.objects.exists()
    with pytest.raises(artifacts.ArtifactMissing):
        artifacts.path(SHA256)


@pytest.mark.parametrize("name", ["../secret_key", "/etc/passwd", "..%2f", SHA256.upper(), SHA256 + "\n", "", "a" * 63])
def test_only_a_hash_names_one(name: str) -> None:
    with pytest.raises(ValueError, match="is no sha256"):
        artifacts.path(name)


def test_a_link_in_the_store_is_not_followed(tmp_path: Path) -> None:
    artifact = put()
    path = artifacts.path(artifact.sha256)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    path.unlink()
    path.symlink_to(secret)
    with pytest.raises(artifacts.ArtifactMissing):
        artifacts.path(artifact.sha256)
    path.unlink()


def test_a_download_is_an_attachment_that_no_browser_runs(client: Client, viewer: User) -> None:
    put(name='pay"load\r\nX-Evil: 1.html')
    client.force_login(viewer)
    answer = client.get(f"/artifacts/{SHA256}/")
    assert b"".join(answer.streaming_content) == CONTENT  # type: ignore[attr-defined]
    assert answer["Content-Disposition"].startswith("attachment;")
    assert "\n" not in answer["Content-Disposition"]
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "X-Evil" not in answer


@pytest.mark.parametrize(
    "name", ["..", "%2e%2e", "..%2fsecret_key", "..%5csecret_key", "%00", "a%23b", "%3f", "f" * 64]
)
def test_other_names_are_not_found(client: Client, viewer: User, name: str) -> None:
    client.force_login(viewer)
    assert client.get(f"/artifacts/{name}/").status_code == 404


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """Fault 9, by a real limit on what a process may write."""
    target = tmp_path / "kept"
    target.write_bytes(b"old")
    code = (
        "import pathlib; from explorer.artifacts import write_atomically;"
        f"write_atomically(pathlib.Path({str(target)!r}), (b'x' * 4096 for _ in range(100)))"
    )

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, 65_536))

    done = subprocess.run(
        [sys.executable, "-c", f"import django; django.setup()\n{code}"],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"},
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "File too large" in done.stderr
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_kept_elsewhere_a_local_copy_is_made_and_checked(settings: Settings) -> None:
    """Any Django storage will do; this one keeps files in memory, as an object store would out of reach."""
    elsewhere = {"BACKEND": "django.core.files.storage.InMemoryStorage"}
    settings.STORAGES = settings.STORAGES | {"artifacts": elsewhere}
    artifact = put()
    cached = artifacts.path(artifact.sha256)
    assert cached.is_relative_to(settings.PLACES.cache)
    assert cached.read_bytes() == CONTENT

    cached.unlink()
    storages["artifacts"].delete(artifacts.key(SHA256))
    storages["artifacts"].save(artifacts.key(SHA256), ContentFile(b"changed"))
    with pytest.raises(artifacts.ArtifactMissing, match="came back changed"):
        artifacts.path(artifact.sha256)
    assert not cached.exists()
