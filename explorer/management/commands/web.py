import signal
import socket
from types import FrameType
from typing import Any

import uvicorn
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
    help = "Serves pages and streams on a socket that was opened by the caller; `up` starts these."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--fd", type=int, required=True, help="the listening socket's file descriptor")
        parser.add_argument("--leashed", action="store_true", help="end when standard input does")

    def handle(self, *args: Any, fd: int, leashed: bool, **options: Any) -> None:
        if leashed:
            watch_standard_input()
        config = uvicorn.Config(
            "explorer.asgi:application",
            access_log=False,  # it would hold sign-in links
            log_config=None,
            timeout_graceful_shutdown=GRACE,
            proxy_headers=False,
            server_header=False,
        )
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor
        # fromfd would call the socket a Unix one and lose TCP_NODELAY; this asks the kernel what it is.
        Server(config).run(sockets=[socket.socket(fileno=fd)])
