"""Takes connections from the socket that all web processes share: whoever has the fewest takes the next.

Left to race, one process can take a whole burst; and with a socket each, as Linux offers, chance spreads them: in three
of four starts eight are not four and four over two processes, and whoever is one of six waits for six pages
(benchmarks/README.md). What is queued for a process that has died would wait until another has started, too.
"""

import asyncio
import logging
import socket
from collections.abc import Callable

from explorer.supervisor.seats import Seats

log = logging.getLogger(__name__)

PAUSE = 0.005  # seconds between two looks at what the others have
PATIENCE = 10  # pauses; a process with fewer has died then, or is not well
OUT_OF_DESCRIPTORS = 1.0  # seconds until it is tried again, as asyncio does


class Door:
    def __init__(
        self,
        listener: socket.socket,
        seats: Seats,
        connected: Callable[[], int],
        protocol: Callable[[], asyncio.Protocol],
    ) -> None:
        self._listener, self._seats, self._connected, self._protocol = listener, seats, connected, protocol
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._pause: asyncio.TimerHandle | None = None
        self._greeting: asyncio.Task[None] | None = None  # held, as the loop alone would not keep it
        self.count()
        self._await_knock()

    def count(self) -> None:
        """What others go by: called whenever it may have changed, and from time to time, as connections end."""
        if self._open:
            self._seats.take(self._connected())

    def close(self) -> None:
        self._open = False
        if self._pause:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)
        self._seats.leave()

    def _await_knock(self) -> None:
        self._pause = None
        if self._open:
            self._loop.add_reader(self._listener, self._knocked)

    def _knocked(self) -> None:
        self._loop.remove_reader(self._listener)
        self._consider(PATIENCE)

    def _consider(self, patience: int) -> None:
        self.count()
        if patience and self._seats.others_have_fewer():
            self._pause = self._loop.call_later(PAUSE, self._consider, patience - 1)
        else:
            self._take()

    def _take(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            self._await_knock()  # another process took it, or the client has left
        except OSError as wrong:
            log.error("No connection can be taken: %s", wrong)
            self._pause = self._loop.call_later(OUT_OF_DESCRIPTORS, self._await_knock)
        else:
            connection.setblocking(False)
            self._seats.take(self._connected() + 1)
            self._greeting = self._loop.create_task(self._greet(connection))

    async def _greet(self, connection: socket.socket) -> None:
        """One after the other, or two would be counted as none."""
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError as wrong:
            log.info("A connection was lost before its first request: %s", wrong)
        finally:
            self._await_knock()
