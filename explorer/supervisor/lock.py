"""One owner for a data folder: a lock that the kernel drops with its holder."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Taken(Exception):
    """Somebody else works on this data folder."""


@contextmanager
def hold(path: Path, doing: str) -> Iterator[None]:
    """Holds the lock file and removes it at the end; what it says is for people, the lock is flock's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _lock(path)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "doing": doing}).encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is still locked: nobody else can hold this name now
        os.close(descriptor)


def _lock(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise Taken(f"{path.parent} is in use: {holder}") from None
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)  # its former holder removed it between our open and our lock


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _holder(descriptor: int) -> str:
    try:
        said = json.loads(os.pread(descriptor, 4096, 0))
        return f"{said['doing']} (process {said['pid']})"
    except (ValueError, KeyError, TypeError):  # it has the lock and has not written yet
        return "by another process that is starting"
