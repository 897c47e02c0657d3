"""The C library's heap, for work that makes and drops the same large arrays over and over."""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # as glibc's malloc.h numbers them
KEPT, LARGEST = 256 << 20, 1 << 30  # bytes: free at the end of the heap; of one array that comes from there
USUAL_LARGEST = 32 << 20  # what glibc goes up to by itself; older ones take no more

_lock = threading.Lock()
_within = 0


@contextmanager
def kept() -> Iterator[None]:
    """What is freed stays for the next that asks. Else glibc gives large arrays back to the system and fetches each
    anew, page by page, which took up to a quarter of a pass. Afterwards it is given back. Elsewhere nothing changes."""
    global _within
    with _lock:
        _within += 1
        if _within == 1:
            _keep()
    try:
        yield
    finally:
        with _lock:
            _within -= 1
            if not _within:
                _give_back()


def _keep() -> None:
    if glibc := _glibc():
        glibc.mallopt(MMAP_THRESHOLD, LARGEST) or glibc.mallopt(MMAP_THRESHOLD, USUAL_LARGEST)
        glibc.mallopt(TRIM_THRESHOLD, KEPT)


def _give_back() -> None:
    if glibc := _glibc():
        glibc.mallopt(MMAP_THRESHOLD, USUAL_LARGEST)
        glibc.mallopt(TRIM_THRESHOLD, 2 * USUAL_LARGEST)
        glibc.malloc_trim(0)


@cache
def _glibc() -> Any:
    """None where the C library is another."""
    try:
        here = ctypes.CDLL(None)
        return here if here.gnu_get_libc_version and here.mallopt and here.malloc_trim else None
    except (AttributeError, OSError, TypeError):
        return None
