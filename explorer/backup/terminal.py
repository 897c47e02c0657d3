"""What the two commands have in common at a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.core.management.base import CommandError, OutputWrapper
from django.db import Error

from explorer.backup import Failed, stopping
from explorer.supervisor.embedded import CannotRun
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
    stopping.interrupts()
    try:
        yield
    except (Failed, CannotRun, Taken, PostgresFailed) as why:
        raise CommandError(str(why)) from None
    except (Error, psycopg.Error) as wrong:
        raise CommandError(f"PostgreSQL: {wrong}") from None
    except KeyboardInterrupt:
        raise CommandError("stopped; nothing is left of what was begun", returncode=130) from None
