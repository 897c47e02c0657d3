import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from explorer.supervisor import ports


@contextmanager
def listening(port: int, count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(each) for each in ports.listen("127.0.0.1", port, count)]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux spreads connections")
def test_connections_are_spread_over_all() -> None:
    with listening(0, 2) as listeners, ExitStack() as clients:
        address = listeners[0].getsockname()
        assert [each.getsockname() for each in listeners] == [address] * 2
        for _ in range(64):
            clients.enter_context(socket.create_connection(address))
        taken = [accepted(each, clients) for each in listeners]
    assert sum(taken) == 64
    assert min(taken) >= 16  # half of what is fair; by chance once in 40,000 times


def accepted(listener: socket.socket, clients: ExitStack) -> int:
    count = 0
    while True:
        try:
            client, _ = listener.accept()
        except BlockingIOError:
            return count
        clients.enter_context(client)
        count += 1


def test_a_port_that_is_listened_on_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ports.CannotListen, match="already in use"):
        ports.listen("127.0.0.1", taken.getsockname()[1], 2)


def test_a_port_that_could_be_shared_is_refused_too() -> None:
    """Another explorer's: both would answer in turn."""
    with listening(0, 2) as listeners, pytest.raises(ports.CannotListen, match="already in use"):
        ports.listen("127.0.0.1", listeners[0].getsockname()[1], 2)


def test_an_address_that_is_not_ours_is_refused() -> None:
    with pytest.raises(ports.CannotListen, match="PORT=… chooses another"):
        ports.listen("192.0.2.1", 8000, 2)
