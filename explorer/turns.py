"""The pages of a process are made one after the other, as long as each takes its moment and no longer.

Python runs one thread at a time. Four pages of 20 ms that are made at once are all there after 80; in turn the first is
there after 20, and none later than before.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 0.1  # seconds; behind a page that takes longer, such as one that waits for the database, others go on


class Turns:
    def __init__(self, patience: float = PATIENCE) -> None:
        self._lock, self._patience = threading.Lock(), patience

    @contextmanager
    def one(self) -> Iterator[None]:
        ours = self._lock.acquire(timeout=self._patience)
        try:
            yield
        finally:
            if ours:
                self._lock.release()
