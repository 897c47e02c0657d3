import functools
import gc
import socket
from types import FrameType
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from explorer.hub import hub
from explorer.supervisor.door import Door
from explorer.supervisor.leash import watch_standard_input
from explorer.supervisor.seats import Seats

GRACE = 3  # seconds that a page may still take when the server is asked to end


class Server(uvicorn.Server):
    """uvicorn, told of streams: it waits for open connections, and they for events; and of the other processes."""

    def __init__(self, config: uvicorn.Config, seats: Seats | None) -> None:
        super().__init__(config)
        self._seats = seats
        self._doors: list[Door] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self._open(sockets)
        # What the application is made of stays, and need not be looked through: 60 ms for each few hundred pages.
        gc.collect()
        gc.freeze()

    async def _open(self, sockets: list[socket.socket] | None) -> None:
        if not sockets or not self._seats:
            await super().startup(sockets)
            return
        await super().startup([])
        of_uvicorn: Any = self.config.http_protocol_class
        protocol = functools.partial(
            of_uvicorn, config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        connections = self.server_state.connections
        self._doors = [Door(each, self._seats, lambda: len(connections), protocol) for each in sockets]

    async def on_tick(self, counter: int) -> bool:
        for door in self._doors:
            door.count()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for door in self._doors:
            door.close()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        hub.close_streams_soon()
        super().handle_exit(sig, frame)


class Command(BaseCommand):
    help = "Serves pages and streams, on EXPLORER_HOST and PORT or on a socket that the caller has opened."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--fd", type=int, help="the listening socket's file descriptor")
        parser.add_argument(
            "--seats", type=int, help="the file descriptor of what the processes have, where several do"
        )
        parser.add_argument("--seat", type=int, default=0, help="this one's number among them")
        parser.add_argument("--leashed", action="store_true", help="end when standard input does")

    def handle(self, *args: Any, fd: int | None, seats: int | None, seat: int, leashed: bool, **options: Any) -> None:
        if leashed:
            watch_standard_input()
        config = uvicorn.Config(
            "explorer.asgi:application",
            access_log=False,  # it would hold sign-in links
            log_config=None,
            host=settings.HOST,
            port=settings.PORT,
            timeout_graceful_shutdown=GRACE,
            proxy_headers=False,
            ws="none",  # an upgrade is then a request like any other
            server_header=False,
        )
        # uvicorn's own --fd calls the socket a Unix one, which costs TCP_NODELAY; this asks the kernel what it is.
        server = Server(config, None if seats is None else Seats(seats, seat))
        server.run(sockets=None if fd is None else [socket.socket(fileno=fd)])
