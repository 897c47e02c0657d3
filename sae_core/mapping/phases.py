"""How far a map is, and how long each phase of its making took."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OnStep = Callable[[int, int, str], None]  # done, of how much (0: nobody knows), what; what it raises ends the work
Tick = Callable[[int, int], None]  # the same within a phase


class Phases:
    def __init__(self, on_step: OnStep | None) -> None:
        self._on_step = on_step
        self._began = time.perf_counter()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str, what: str) -> Iterator[Tick]:
        def tick(done: int, total: int) -> None:
            if self._on_step:
                self._on_step(done, total, what)

        tick(0, 0)
        began = time.perf_counter()
        yield tick
        self._seconds[name] = time.perf_counter() - began

    def seconds(self) -> dict[str, float]:
        return {**self._seconds, "all": time.perf_counter() - self._began}
