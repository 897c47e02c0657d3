"""The tar archive: written whole or not at all, read with nothing in it believed."""

import io
import os
import stat
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from explorer.backup import Failed
from explorer.backup.manifest import NAME, Manifest

MANIFEST_LIMIT = 256 << 20  # bytes; some two million artifacts
KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.DIRTYPE: "a folder",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Writer:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._now = int(time.time())

    def add(self, name: str, size: int, content: Readable) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, 0o600, self._now
        self._tar.addfile(info, content)  # type: ignore[arg-type]  # it is only read from

    def add_bytes(self, name: str, content: bytes) -> None:
        self.add(name, len(content), io.BytesIO(content))


@contextmanager
def written(target: Path) -> Iterator[Writer]:
    """`target` is replaced once everything is in the new archive and on the disk."""
    descriptor, draft = tempfile.mkstemp(dir=target.parent, prefix=".draft-")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
                yield Writer(tar)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(draft)
        raise
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Makes the coming and going of names in it outlive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Reader:
    """An archive whose member names are those of its manifest; what they hold is still to be checked."""

    def __init__(self, file: IO[bytes]) -> None:
        self.size = os.fstat(file.fileno()).st_size
        if self.size % tarfile.RECORDSIZE:
            raise Failed("it is cut short, or is no backup (its length is not that of a tar archive)")
        try:
            self._tar = tarfile.TarFile(fileobj=file)  # of plain tar alone
            self._members = _safe_members(self._tar)
        except (tarfile.TarError, ValueError, EOFError) as wrong:
            raise Failed(f"it is cut short, or is no backup ({wrong})") from None
        self.manifest = self._manifest()
        self._compare()

    def open(self, name: str) -> IO[bytes]:
        content = self._tar.extractfile(self._members[name])
        assert content is not None  # that is for members that are no files
        return content

    def _manifest(self) -> Manifest:
        info = self._members.get(NAME)
        if info is None:
            raise Failed(f"it holds no {NAME}: it is cut short, damaged, or no backup")
        if info.size > MANIFEST_LIMIT:
            raise Failed(f"its {NAME} is of {info.size:,} bytes; at most {MANIFEST_LIMIT:,} are read")
        return Manifest.from_json(self.open(NAME).read())

    def _compare(self) -> None:
        names = self.manifest.members
        expected = Counter(names)
        name, times = expected.most_common(1)[0]
        if times > 1:
            raise Failed(f"its {NAME} lists {name!r} twice")
        for name in self._members:
            if name not in expected:
                raise Failed(f"it holds {name!r}, which is not in its manifest")
        for name in names:
            if name not in self._members:
                raise Failed(f"it lacks {name!r}, which is in its manifest; it is cut short or damaged")
        for artifact in self.manifest.artifacts:
            size = self._members[artifact.member].size
            if size != artifact.size:
                raise Failed(f"{artifact.member} is of {size:,} bytes; the manifest says {artifact.size:,}")


@contextmanager
def opened(source: Path) -> Iterator[Reader]:
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for a writer
    except OSError as wrong:
        raise Failed(f"{source} cannot be read: {wrong.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Failed(f"{source} is not a file")
        try:
            reader = Reader(file)
        except Failed as why:
            raise Failed(f"{source} is refused: {why}") from None
        yield reader


def _safe_members(tar: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    members: dict[str, tarfile.TarInfo] = {}
    for info in tar:
        name = info.name
        if info.type != tarfile.REGTYPE or info.issparse():
            raise Failed(
                f"it holds {name!r}, {KINDS.get(info.type, 'no plain file')}; a backup holds plain files alone"
            )
        if name.startswith("/") or "\\" in name or ".." in PurePosixPath(name).parts:
            raise Failed(f"it holds {name!r}, a name that leads out of it")
        if name in members:
            raise Failed(f"it holds {name!r} twice")
        members[name] = info
    return members
