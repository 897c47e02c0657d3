"""What a worker keeps loaded, so that nobody waits for it twice: as much as fits into a budget of bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from sae_core.devices import free, out_of_memory

T = TypeVar("T")


@dataclass(eq=False)
class _Kept:
    coming: Future[Any]
    n_bytes: int  # as expected, until it has come


class Ready:
    """Lms and SAEs alike; what was not asked for longest makes room. Threads that want the same wait for whoever came
    first, and nobody waits for what others want. What has made room lives on for as long as somebody works with it."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str, load: Callable[[], T], measure: Callable[[T], int], expected: int = 0) -> T:
        """`measure` says how many bytes it has once it is there; `expected` are those for which room is made before."""
        with self._lock:
            kept = self._kept.get(key)
            ours = kept is None
            if kept is None:
                kept = self._kept[key] = _Kept(Future(), expected)
                self._make_room(kept)
            self._kept.move_to_end(key)
        if ours:
            try:
                loaded = self._loaded(load, kept)
                n_bytes = measure(loaded)
            except BaseException as error:
                with self._lock:
                    self._let_go(kept)
                kept.coming.set_exception(error)
            else:
                with self._lock:
                    kept.n_bytes = n_bytes
                    kept.coming.set_result(loaded)
                    self._make_room(kept)
        found: T = kept.coming.result()
        return found

    def clear(self, but: _Kept | None = None) -> bool:
        """Whether there was anything to let go."""
        with self._lock:
            others = [each for each in self._kept.values() if each is not but]
            for each in others:
                self._let_go(each)
        return bool(others)

    def _loaded(self, load: Callable[[], T], kept: _Kept) -> T:
        """A device may have less memory than the budget: then whatever else is kept there is in the way."""
        try:
            return load()
        except (RuntimeError, MemoryError, OSError) as error:
            if not out_of_memory(error) or not self.clear(but=kept):
                raise
        free()
        return load()

    def _make_room(self, for_: _Kept) -> None:
        # To let go what is still to come would free nothing, and have it loaded twice.
        others = [each for each in self._kept.values() if each is not for_ and each.coming.done()]
        total = sum(each.n_bytes for each in self._kept.values())
        for each in others:
            if total <= self._budget:
                return
            self._let_go(each)
            total -= each.n_bytes

    def _let_go(self, which: _Kept) -> None:
        for key in [key for key, each in self._kept.items() if each is which]:
            del self._kept[key]
