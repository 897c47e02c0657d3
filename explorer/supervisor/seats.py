"""How many connections each web process has, in memory that they share: a number each, written by its owner alone."""

import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

WIDTH = 4  # bytes
AWAY = 2**32 - 1  # has not opened yet, or closes


@contextmanager
def room(count: int) -> Iterator[int]:
    """The descriptor that they inherit, of a file without a name."""
    with tempfile.TemporaryFile() as file:
        file.write(b"\xff" * WIDTH * count)
        file.flush()
        yield file.fileno()


class Seats:
    def __init__(self, fd: int, own: int) -> None:
        self._numbers = memoryview(mmap.mmap(fd, 0)).cast("I")
        self._own = own
        self.leave()  # there may have been another process before this, which was killed

    def take(self, count: int) -> None:
        self._numbers[self._own] = count

    def leave(self) -> None:
        self.take(AWAY)

    def others_have_fewer(self) -> bool:
        return self._numbers[self._own] > min(self._numbers)
