"""Files kept by their content's sha256: in the data folder, or in any Django storage with a local cache.

People and rows name an artifact by its hash, never by a path, so there is no path to smuggle.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.files import File
from django.core.files.storage import FileSystemStorage, storages

from explorer.models import Artifact

CHUNK = 1 << 20
SHA256 = re.compile(r"[0-9a-f]{64}")


class ArtifactMissing(Exception):
    """The row is there and the bytes are not, or not those of the row."""


class AtomicFileStorage(FileSystemStorage):
    """A file has its name once it is whole and on the disk; a full disk leaves what was there."""

    def _save(self, name: str, content: "File[Any]") -> str:
        target = Path(self.path(name))
        write_atomically(target, content.chunks(CHUNK))
        return name


def write_atomically(target: Path, chunks: Iterable[bytes], mode: int = 0o600) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=target.parent, prefix=".draft-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(draft, mode)
        os.replace(draft, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(draft)
        raise


def put(content: IO[bytes], *, name: str, media_type: str = "application/octet-stream") -> Artifact:
    """Stores a file once, however often it is put."""
    sha256, size = digest(content)
    content.seek(0)
    storage = storages["artifacts"]
    if not storage.exists(key(sha256)):
        storage.save(key(sha256), File(content))
    artifact, _ = Artifact.objects.get_or_create(
        sha256=sha256, defaults={"size": size, "name": plain_name(name), "media_type": media_type}
    )
    return artifact


def plain_name(name: str) -> str:
    """What a download may be called, of what somebody called it: no folders, nothing that cannot be seen."""
    last = re.split(r"[/\\]", name)[-1]
    seen = "".join(character for character in last if character.isprintable())
    return seen.strip(". ")[-200:] or "file"


def remove(artifact: Artifact) -> None:
    """Row and bytes; the row first, since a row without bytes is the worse half."""
    name = key(artifact.sha256)
    artifact.delete()
    storages["artifacts"].delete(name)
    (settings.PLACES.cache / name).unlink(missing_ok=True)


def path(sha256: str) -> Path:
    """Where a local copy of the artifact lies, fetched where artifacts are kept elsewhere."""
    storage = storages["artifacts"]
    if isinstance(storage, FileSystemStorage):
        found = Path(storage.path(key(sha256)))
        if found.is_symlink() or not found.is_file():
            raise ArtifactMissing(f"artifact {sha256} is not in {storage.location}")
        return found
    cached: Path = settings.PLACES.cache / key(sha256)
    if not cached.is_file():
        with storage.open(key(sha256)) as remote:
            write_atomically(cached, remote.chunks(CHUNK))
        with cached.open("rb") as file:
            if digest(file)[0] != sha256:
                cached.unlink()
                raise ArtifactMissing(f"artifact {sha256} came back changed from its storage")
    return cached


def key(sha256: str) -> str:
    if not SHA256.fullmatch(sha256):
        raise ValueError(f"{sha256[:80]!r} is no sha256")
    return f"{sha256[:2]}/{sha256}"


def digest(content: IO[bytes]) -> tuple[str, int]:
    hashed = hashlib.sha256()
    size = 0
    while chunk := content.read(CHUNK):
        hashed.update(chunk)
        size += len(chunk)
    return hashed.hexdigest(), size
