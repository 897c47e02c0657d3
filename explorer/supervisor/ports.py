"""The listening socket that web processes share, held by whoever starts those, so that a restart misses nothing."""

import socket


class CannotListen(Exception):
    """The port is taken, or not ours to take; for the person at the terminal."""


def listen(host: str, port: int) -> socket.socket:
    """Port 0 is any that is free. It fails where anybody listens, also on a port that would let itself be shared."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as wrong:
        listener.close()
        raise CannotListen(
            f"Port {port} of {host} cannot be used ({wrong.strerror}); PORT=… chooses another."
        ) from None
    listener.setblocking(False)
    return listener
