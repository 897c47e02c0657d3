"""Sitting out a restart of PostgreSQL."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection, connections

T = TypeVar("T")
log = logging.getLogger(__name__)

PATIENCE = 120.0  # seconds
PAUSE = 0.5


def patiently(act: Callable[[], T], patience: float = PATIENCE) -> T:
    """Repeats an act, whole transactions only, until the database answers it."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return act()
        except (OperationalError, InterfaceError) as away:
            if connection.in_atomic_block or time.monotonic() > deadline:
                raise
            log.warning("PostgreSQL is away (%s); trying again", str(away).strip().splitlines()[0])
            connection.close()  # the pool drops it and makes another
            time.sleep(PAUSE)


def drop_broken_connections() -> None:
    """Once PostgreSQL is back. Left to itself the pool finds out one page at a time, and waits a second before it
    tries the next connection, then two, then four: with a handful in it a page gives up first."""
    connections["default"].pool.check()  # type: ignore[attr-defined]
