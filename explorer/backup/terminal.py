"""What the two commands have in common at a terminal."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.core.management.base import CommandError, OutputWrapper
from django.db import Error

from explorer.backup import Failed
from explorer.supervisor.lock import Taken
from explorer.supervisor.postgres import PostgresFailed


class Progress:
    def __init__(self, output: OutputWrapper) -> None:
        self._output = output

    def __call__(self, text: str) -> None:
        self._output.write(text)
        self._output.flush()


@contextmanager
def failures_told() -> Iterator[None]:
    """Whatever ends it, a request to stop included, ends it tidily and with one message."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    except (Failed, Taken, PostgresFailed) as why:
        raise CommandError(str(why)) from None
    except (Error, psycopg.Error) as wrong:
        raise CommandError(f"PostgreSQL: {wrong}") from None
    except KeyboardInterrupt:
        raise CommandError("stopped; nothing is left of what was begun", returncode=130) from None
