"""Requests to stop: each is a KeyboardInterrupt, so that what was begun is undone, and may be put off."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


def _heeded() -> list[signal.Signals]:
    """`nohup` and a shell's `&` start us with some ignored, and mean it."""
    requests = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return [number for number in requests if signal.getsignal(number) is not signal.SIG_IGN]


def interrupts() -> None:
    for number in _heeded():
        signal.signal(number, signal.default_int_handler)


@contextmanager
def put_off() -> Iterator[None]:
    """Until what must not be left half-done is done."""
    asked: list[int] = []
    before = {number: signal.signal(number, lambda number, _: asked.append(number)) for number in _heeded()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked:
        raise KeyboardInterrupt
