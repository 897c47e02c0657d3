"""Listening sockets, one for each web process, held by whoever starts those, so that a restart misses nothing.

Processes that share one socket race for connections, and a few clients can all end up with the same
process: in a third of the starts of a load of eight, measured. With a socket each, Linux spreads them.
"""

import socket
import sys


class CannotListen(Exception):
    """The port is taken, or not ours to take; for the person at the terminal."""


def listen(host: str, port: int, count: int) -> list[socket.socket]:
    """`count` sockets on one port; port 0 is any that is free."""
    alone = _listen(host, port)  # fails where anybody listens, also on a port that would let itself be shared
    if sys.platform != "linux":  # sharing a port does not spread connections there
        return [alone, *(alone.dup() for _ in range(count - 1))]
    port = alone.getsockname()[1]
    alone.close()
    return [_listen(host, port, shared=True) for _ in range(count)]


def _listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
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
