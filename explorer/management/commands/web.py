import socket
from types import FrameType
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from explorer.hub import hub
from explorer.supervisor.leash import watch_standard_input

GRACE = 3  # seconds that a page may still take when the server is asked to end


class Server(uvicorn.Server):
    """uvicorn, told of streams: it waits for open connections, and they for events."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        hub.close_streams_soon()
        super().handle_exit(sig, frame)


class Command(BaseCommand):
    help = "Serves pages and streams, on EXPLORER_HOST and PORT or on a socket that the caller has opened."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--fd", type=int, help="the listening socket's file descriptor")
        parser.add_argument("--leashed", action="store_true", help="end when standard input does")

    def handle(self, *args: Any, fd: int | None, leashed: bool, **options: Any) -> None:
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
        Server(config).run(sockets=None if fd is None else [socket.socket(fileno=fd)])
